"""Flow matching against the closed form for a Gaussian, and the diffusion trainers' objectives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.marcus import flow
from backend.marcus.training.uv_flow import flow_loss

SPREAD, MEAN = 0.7, 0.4


def velocity(z: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """E[ε − z_0 | z_σ] where z_0 ~ N(MEAN, SPREAD²): linear in z by Gaussian conditioning."""
    variance = (1 - sigma) ** 2 * SPREAD**2 + sigma**2
    slope = (sigma - (1 - sigma) * SPREAD**2) / variance
    return -MEAN + slope * (z - (1 - sigma) * MEAN)


def drawn(sigma: float, count: int = 400_000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(1)
    clean = MEAN + SPREAD * torch.randn(count, 1, generator=chance)
    noise = torch.randn(count, 1, generator=chance)
    return clean, noise, flow.interpolate(clean, noise, sigma)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 0.9])
def test_the_closed_form_field_leaves_its_conditional_variance(sigma: float) -> None:
    """min L_FM = Var(ε − z_0 | z_σ) = s² / ((1 − σ)² s² + σ²)."""
    clean, noise, noisy = drawn(sigma)
    level = torch.tensor(sigma)
    least = SPREAD**2 / ((1 - sigma) ** 2 * SPREAD**2 + sigma**2)
    best = velocity(noisy, level)
    found = float(flow_loss(best, clean, noise))
    assert found == pytest.approx(least, rel=0.01)
    for other in (1.2 * best, best + 0.1):
        assert float(flow_loss(other, clean, noise)) > found + 0.005


def test_descending_the_loss_finds_the_closed_form_field() -> None:
    """A line v = a z + b by Newton's step on the loss: its optimum is the conditional mean."""
    sigma = 0.6
    clean, noise, noisy = drawn(sigma)
    line = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    z = noisy.double()

    def loss(at: torch.Tensor) -> torch.Tensor:
        off = at[0] * z + at[1] - flow.velocity_target(clean, noise).double()
        return (off**2).mean()

    hessian = torch.autograd.functional.hessian(loss, line.detach())
    (slope,) = torch.autograd.grad(loss(line), line)
    found = line.detach() - torch.linalg.solve(hessian, slope)
    at = torch.tensor([0.0, 1.0])
    wanted = velocity(at, torch.tensor(sigma))
    np.testing.assert_allclose([found[1], found[0] + found[1]], wanted, atol=0.01)


def test_the_loss_is_the_mean_square_in_numpy() -> None:
    chance = np.random.default_rng(0)
    v, clean, noise = (chance.normal(size=(2, 5, 3)).astype(np.float32) for _ in range(3))
    wanted = ((v - (noise - clean)) ** 2).mean()
    made = flow_loss(*(torch.from_numpy(a) for a in (v, clean, noise)))
    assert float(made) == pytest.approx(wanted, rel=1e-6)
