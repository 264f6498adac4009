"""Pairs, critic and mean of weights of the upscaler's trainer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from backend.marcus.superres.networks import RRDBNet
from backend.marcus.training.discriminator import PixelCritic, critic_loss, generator_loss
from backend.marcus.training.perceptual import gradient_distance
from backend.marcus.training.superres import CriticObjective, GeneratorObjective, worsened
from backend.training.recipe import SuperresRecipe, read_recipe


def recipe() -> SuperresRecipe:
    found = read_recipe("superres", "tiny")
    assert isinstance(found, SuperresRecipe)
    return found


def parts() -> tuple[GeneratorObjective, CriticObjective]:
    torch.manual_seed(0)
    network, critic = RRDBNet(8, 1, 4), PixelCritic(4)
    return GeneratorObjective(network, critic, recipe(), gradient_distance), CriticObjective(critic, network)


def batch() -> dict[str, torch.Tensor]:
    chance = torch.Generator().manual_seed(1)
    truth = torch.rand(2, 3, 32, 32, generator=chance)
    return {"truth": truth, "input": torch.stack([worsened(t, 4, chance) for t in truth])}


def test_the_input_is_the_truths_area_mean() -> None:
    """Blur and noise keep the mean; a flat map stays flat but for its noise of 2/255."""
    chance = torch.Generator().manual_seed(3)
    flat = torch.full((3, 32, 32), 0.4)
    small = worsened(flat, 4, chance)
    assert small.shape == (3, 8, 8)
    assert float((small - 0.4).abs().max()) < 5 * 2 / 255
    ramp = torch.linspace(0.2, 0.8, 32)[None, None, :].expand(3, 32, 32).contiguous()
    made = torch.stack([worsened(ramp, 4, torch.Generator().manual_seed(k)) for k in range(40)]).mean(0)
    wanted = ramp.reshape(3, 8, 4, 8, 4).mean((2, 4))
    np.testing.assert_allclose(made[..., 1:-1], wanted[..., 1:-1], atol=4e-3)


def test_losses_of_both_sides_in_numpy() -> None:
    real, fake = np.array([0.3, -1.2]), np.array([0.7, 0.1])

    def s(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return 1 / (1 + np.exp(-x))

    wanted = -np.log(s(real)).mean() - np.log(1 - s(fake)).mean()
    assert float(critic_loss(torch.tensor(real), torch.tensor(fake))) == pytest.approx(wanted)
    assert float(generator_loss(torch.tensor(fake))) == pytest.approx(-np.log(s(fake)).mean())
    assert float(critic_loss(torch.zeros(1), torch.zeros(1))) == pytest.approx(2 * math.log(2))


def test_neither_side_moves_the_other() -> None:
    upscaler, judge = parts()
    upscaler.is_adversarial = judge.is_adversarial = True
    upscaler(batch())[0].backward()
    assert all(p.grad is None and p.requires_grad for p in judge.critic.parameters())
    assert all(p.grad is not None for p in upscaler.network.parameters())
    for p in upscaler.network.parameters():
        p.grad = None
    judge(batch())[0].backward()
    assert all(p.grad is None for p in upscaler.network.parameters())
    assert any(float(p.grad.abs().max()) > 0 for p in judge.critic.parameters() if p.grad is not None)


def test_before_its_time_the_critic_stands_still() -> None:
    _, judge = parts()
    loss, _ = judge(batch())
    loss.backward()
    assert all(float(p.grad.abs().max()) == 0 for p in judge.critic.parameters() if p.grad is not None)


def test_the_slow_mean_is_exponential() -> None:
    upscaler, _ = parts()
    name, parameter = next(iter(upscaler.network.named_parameters()))
    start = parameter.detach().clone()
    with torch.no_grad():
        parameter += 1.0
    for _ in range(5):
        upscaler.follow()
    slow = upscaler.slow_state()[name]
    np.testing.assert_allclose(slow, start + 1 - recipe().ema ** 5, rtol=1e-4, atol=1e-6)
