"""Completion: the sampler against flows known in closed form, the domain switch, and what begins at zero."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from backend.fica.codec import FACTOR, TINY_CODEC, Codec
from backend.fica.completion import Completion, Sampling, flow_loss, integrate_domains
from backend.fica.dit import TINY_DIT, CompletionDiT, Domain
from backend.fica.maps import PARTIAL_CHANNELS
from backend.marcus import flow

MEAN = {Domain.TEXTURE: 0.7, Domain.GEOMETRY: -1.3}
SPREAD = {Domain.TEXTURE: 0.4, Domain.GEOMETRY: 1.8}


class GaussianFlow(nn.Module):
    """The exact velocity E[ε − x | x_σ] where each domain's data are N(mean, spread²)."""

    config = TINY_DIT

    def forward(
        self, noisy: Tensor, sigma: Tensor, domain: Tensor, partial: Tensor, semantic: Tensor
    ) -> Tensor:
        mean, spread = (
            torch.tensor([table[Domain(int(d))] for d in domain]).reshape(-1, 1, 1, 1)
            for table in (MEAN, SPREAD)
        )
        s = sigma.reshape(-1, 1, 1, 1)
        variance = (1 - s) ** 2 * spread**2 + s**2
        return -mean + (s - (1 - s) * spread**2) / variance * (noisy - (1 - s) * mean)


def _drawn(sampling: Sampling) -> float:
    """Largest distance from the exact end, mean + spread·ε, of 2 × 3 samples."""
    noise = torch.randn(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    partial, semantic = torch.zeros(3, PARTIAL_CHANNELS, 64, 64), torch.zeros(3, 32)
    made = integrate_domains(GaussianFlow(), partial, semantic, noise, sampling)  # type: ignore[arg-type]
    exact = torch.stack(
        [MEAN[d] + SPREAD[d] * noise[k] for k, d in enumerate((Domain.TEXTURE, Domain.GEOMETRY))]
    )
    return float((made - exact).abs().max())


def test_samples_of_gaussians_are_exact_in_the_limit_and_each_domain_has_its_own() -> None:
    errors = [_drawn(Sampling(steps, "euler")) for steps in (50, 100, 200)]
    assert errors[0] > 1.8 * errors[1] > 3 * errors[2]  # first order
    assert errors[2] < 0.08  # of values up to 7
    second = [_drawn(Sampling(steps, "adams2")) for steps in (50, 100)]
    assert second[0] > 3 * second[1]
    assert second[1] < 0.2 * errors[1]


def test_few_steps_of_the_better_solver_are_as_good_as_the_papers_fifty() -> None:
    assert _drawn(Sampling(12, "adams2")) < 1.5 * _drawn(Sampling(50, "euler"))


@pytest.fixture
def awake() -> CompletionDiT:
    """A tiny transformer whose zero layers have been filled, as after some training."""
    torch.manual_seed(0)
    network = CompletionDiT(TINY_DIT)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return network


def _inputs(count: int = 2) -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(1)
    return {
        "noisy": torch.randn(count, 8, 8, 8, generator=chance),
        "sigma": torch.full((count,), 0.5),
        "partial": torch.randn(count, PARTIAL_CHANNELS, 64, 64, generator=chance),
        "semantic": torch.randn(count, 32, generator=chance),
    }


def test_domain_level_maps_and_embedding_are_all_heard(awake: CompletionDiT) -> None:
    same = _inputs()
    texture, geometry = (torch.full((2,), d.value) for d in (Domain.TEXTURE, Domain.GEOMETRY))
    base = awake(**same, domain=texture)
    assert base.shape == (2, 8, 8, 8)
    torch.testing.assert_close(awake(**same, domain=texture), base)
    assert (awake(**same, domain=geometry) - base).abs().max() > 1e-3
    for name in ("sigma", "partial", "semantic"):
        other = {**same, name: same[name] + 0.3}
        assert (awake(**other, domain=texture) - base).abs().max() > 1e-4, name
    # A row does not hear the other rows' domain.
    mixed = awake(**same, domain=torch.tensor([Domain.TEXTURE.value, Domain.GEOMETRY.value]))
    torch.testing.assert_close(mixed[0], base[0])


def test_untrained_it_predicts_nothing_and_hears_no_control() -> None:
    network = CompletionDiT(TINY_DIT)
    assert network(**_inputs(), domain=torch.ones(2)).abs().max() == 0
    block = network.blocks[0]
    assert block.control(torch.randn(1, 4, TINY_DIT.width)).abs().max() == 0  # type: ignore[operator]


def test_checkpointed_blocks_give_the_same_gradients(awake: CompletionDiT) -> None:
    gradients = []
    for is_checkpointed in (False, True):
        awake.is_checkpointed = is_checkpointed
        awake.zero_grad()
        awake(**_inputs(), domain=torch.ones(2)).square().mean().backward()
        gradients.append([p.grad.clone() for p in awake.parameters() if p.grad is not None])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


def test_flow_loss_is_the_distance_to_noise_minus_data() -> None:
    """An untrained transformer says 0, so the loss is the mean square of the target, row by row."""
    completion = Completion(Codec(TINY_CODEC), CompletionDiT(TINY_DIT))
    clean, noise = torch.randn(2, 3, 8, 8, 8)
    given = _inputs(3)
    made = flow_loss(
        completion, clean, noise, given["sigma"], torch.ones(3), given["partial"], given["semantic"]
    )
    wanted = (flow.velocity_target(clean, noise) ** 2).mean((1, 2, 3))
    torch.testing.assert_close(made, wanted)


def test_the_codec_shrinks_eight_times_and_keeps_its_scale() -> None:
    torch.manual_seed(0)
    codec = Codec(TINY_CODEC)
    maps = torch.rand(2, 3, 64, 64)
    latents = codec.encode(maps)
    assert latents.shape == (2, TINY_CODEC.channels, 64 // FACTOR, 64 // FACTOR)
    made = codec.decode(latents)
    assert made.shape == maps.shape
    codec.scale.fill_(3.0)
    torch.testing.assert_close(codec.encode(maps), 3 * latents)
    torch.testing.assert_close(codec.decode(3 * latents), made)


def test_an_untrained_posterior_is_narrower_than_its_means_spread() -> None:
    """So that the decoder hears the maps from the first step on."""
    torch.manual_seed(0)
    with torch.no_grad():
        posterior = Codec(TINY_CODEC).network.encode(2 * torch.rand(2, 3, 64, 64) - 1).latent_dist
    assert float(posterior.std.max()) < 0.5 * float(posterior.mean.std())
