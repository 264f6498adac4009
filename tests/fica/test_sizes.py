"""Full sizes on the meta device: nothing is allocated."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from backend.fica.arithmetic import empty_frame
from backend.fica.atlas import Atlas
from backend.fica.codec import FACTOR, Codec, CodecConfig
from backend.fica.completion import Completion, flow_loss
from backend.fica.dense import DensePredictor, dense_losses
from backend.fica.dit import Block, CompletionDiT, ControlMLP, DiTConfig, Domain
from backend.fica.losses import deviation
from backend.fica.maps import PARTIAL_CHANNELS, HeadMaps
from backend.fica.prior import Drive, PriorConfig, UniversalPrior
from backend.fica.refinement import RefinementNetwork
from backend.fica.semantic import ClipEncoder
from backend.fica.sizes import dense_config, dit_config, prior_config, refinement_config, semantic_config
from backend.fica.surface import surfels
from backend.fica.unwrap import DenseMaps
from backend.gaussians.renderer import Gaussians

META = torch.device("meta")


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_transformer_is_the_papers() -> None:
    config = dit_config("full", 256)
    assert config == DiTConfig()
    assert (config.latent_size, config.latent_channels) == (32, 16)
    with META:
        network = CompletionDiT(config)
        made = network(
            torch.empty(2, 16, 32, 32),
            torch.empty(2),
            torch.full((2,), float(Domain.TEXTURE)),
            torch.empty(2, PARTIAL_CHANNELS, 256, 256),
            torch.empty(2, 768),
        )
    assert made.shape == (2, 16, 32, 32)
    assert len(network.blocks) == 28
    assert all(isinstance(b, Block) and isinstance(b.control, ControlMLP) for b in network.blocks)
    assert 1.9e9 < count(network) < 2.2e9


def test_the_autoencoder_has_sixteen_channels_and_eight_times_smaller_latents() -> None:
    with META:
        codec = Codec(CodecConfig())
        latents = codec.encode(torch.empty(1, 3, 256, 256))
    assert latents.shape == (1, 16, 256 // FACTOR, 256 // FACTOR)
    assert 80e6 < count(codec) < 90e6  # SDXL's has 84 M


def test_clip_and_the_dense_predictor_are_of_the_named_size() -> None:
    with META:
        clip, dense = ClipEncoder(semantic_config("full")), DensePredictor(dense_config("full"))  # type: ignore[arg-type]
        told, made = clip(torch.empty(1, 3, 256, 256)), dense(torch.empty(1, 3, 256, 256))
    assert told.shape == (1, 768)
    assert 300e6 < count(clip) < 310e6  # ViT-L/14's tower
    assert made.uv.shape == (1, 2, 256, 256)
    assert 0.9e9 < count(dense.encoder) < 1.5e9  # the paper's is Sapiens-1B


def test_the_refinement_runs_at_full_size() -> None:
    with META:
        network = RefinementNetwork(refinement_config("full"))
        portrait, size = torch.empty(1, 3, 256, 256), (1, 3, 256, 256)
        made = network(HeadMaps(torch.empty(size), torch.empty(size)), portrait, portrait, empty_frame(256))
        assert network._tokens(portrait, 0).shape[1] == 16 * 16
    assert made.texture.shape == made.geometry.shape == size
    assert count(network.encoder) > 0.9e9  # the paper looks through Sapiens-1B here, too
    assert 10e6 < count(network) - count(network.encoder) < 40e6


def test_the_prior_decodes_a_million_gaussians() -> None:
    config = prior_config("full", 1024)
    assert config == PriorConfig()
    frame, size = empty_frame(1024), (1, 3, 1024, 1024)
    with META:
        prior = UniversalPrior(config, frame)
        maps = HeadMaps(torch.empty(size), torch.empty(size))
        biases = prior.biases(maps, frame)
        (made,) = prior(maps, Drive(torch.empty(1, 52), torch.empty(1, 4), torch.empty(1, 3)), frame)
    assert [b.shape[-1] for b in biases] == [8 << k for k in range(8)]
    assert [b.shape[1] for b in biases] == [2 * w for w in config.widths]
    assert made.positions.shape == made.colours_srgb.shape == (1 << 20, 3)
    assert 5e6 < count(prior) < 30e6


@pytest.mark.slow
def test_every_network_takes_a_step_at_full_size() -> None:
    """Losses and gradients of all weights; drawing, which the meta device cannot, is left out."""
    size = (1, 3, 256, 256)
    with META:
        picture, frame = torch.empty(size), empty_frame(256)
        maps = HeadMaps(torch.empty(size), torch.empty(size))

        dense = DensePredictor(dense_config("full"))
        truth = DenseMaps(torch.empty(1, 2, 256, 256), picture, picture, torch.empty(1, 1, 256, 256))
        stepped(dense, torch.stack(list(dense_losses(dense.raw(picture), truth).values())).sum())
        del dense

        codec = Codec(CodecConfig())
        loss, _, _ = codec.loss(picture, frame.inside, torch.empty(1, 16, 32, 32), 1e-6)
        stepped(codec, loss)
        completion = Completion(codec.requires_grad_(False), CompletionDiT(dit_config("full", 256)))
        clean = completion.clean(maps, frame).flatten(0, 1)
        assert clean.shape == (2, 16, 32, 32)
        partial, told = torch.empty(2, PARTIAL_CHANNELS, 256, 256), torch.empty(2, 768)
        loss = flow_loss(completion, clean, clean, torch.empty(2), torch.empty(2), partial, told)
        stepped(completion.transformer, loss.mean())
        del completion, codec

        refinement = RefinementNetwork(refinement_config("full"))
        made = refinement(maps, picture, picture, frame)
        stepped(
            refinement, deviation(made, maps, frame) + drawn_of(surfels(made.texture, made.geometry, frame))
        )

        prior = UniversalPrior(prior_config("full", 256), frame)
        drive = Drive(torch.empty(1, 52), torch.empty(1, 4), torch.empty(1, 3))
        stepped(prior, drawn_of(prior(maps, drive, frame)))


def drawn_of(gaussians: list[Gaussians]) -> torch.Tensor:
    """Stands for a picture: it hears every number of every Gaussian."""
    total = torch.zeros((), device=META)
    for one in gaussians:
        for part in (one.positions, one.log_scales, one.rotations, one.opacity_logits, one.colours_srgb):
            total = total + part.sum()
    return total


def stepped(network: nn.Module, loss: torch.Tensor) -> None:
    """An AdamW step reaches every weight."""
    weights = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights)
    loss.backward()
    without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, without
    optimiser.step()


def test_the_embedded_prior_has_128_texels_and_fewer_fit_too(atlas: Atlas) -> None:
    from backend.fica.maps import frame_of

    assert prior_config("tiny", 128).texels == 128
    small = prior_config("tiny", 64)
    frame = frame_of(atlas)
    prior = UniversalPrior(small, frame)
    maps = HeadMaps(torch.rand(1, 3, 64, 64), frame.mean)
    (made,) = prior(maps, Drive(torch.zeros(1, 52), torch.zeros(1, 4), torch.tensor([[0.0, 0, 1]])), frame)
    assert len(made.positions) == int(atlas.inside.sum())
