"""The sampler against the closed-form flow of a Gaussian, the schedule against diffusers' own."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

pytest.importorskip("diffusers")

from backend.marcus import flow
from backend.marcus.flow import Shift, clean_estimate, draw_sigmas, guided, integrate, interpolate, sigmas

MEAN, SPREAD = 0.7, 0.4  # clean data is N(MEAN, SPREAD²)


def deviation(sigma: float) -> float:
    return math.hypot((1 - sigma) * SPREAD, sigma)


def gaussian_velocity(z: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[ε − z_0 | z_σ = z] for Gaussian data."""
    gain = (sigma - (1 - sigma) * SPREAD**2) / deviation(sigma) ** 2
    return -MEAN + gain * (z - (1 - sigma) * MEAN)


def error(steps: int, solver: flow.Solver) -> float:
    """Farthest from the flow's exact end, which carries quantiles to quantiles."""
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    found = integrate(gaussian_velocity, noise, sigmas(steps, 0.9), solver)
    return float((found - (MEAN + SPREAD * noise)).abs().max())


def test_euler_reaches_the_gaussian_and_converges_at_first_order():
    assert error(400, "euler") < 0.01
    assert error(100, "euler") / error(200, "euler") == pytest.approx(2, rel=0.1)


def test_adams_converges_at_second_order_and_wins_with_few_steps():
    assert error(100, "adams2") / error(200, "adams2") == pytest.approx(4, rel=0.25)
    assert error(8, "adams2") < error(8, "euler") / 2


def test_levels_are_those_of_diffusers_scheduler():
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    assert Shift().mu(4096) == pytest.approx(1.15)
    mu = Shift().mu(1600)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / 30, 30).numpy(), mu=mu)
    torch.testing.assert_close(sigmas(30, mu).float(), scheduler.sigmas, atol=1e-6, rtol=0)


@pytest.mark.parametrize("tokens", [256, 1024, 2304, 4096])
def test_the_first_level_is_one_to_the_bit(tokens: int):
    """Guidance works up to 1: a level a rounding above would lose its first step."""
    assert float(sigmas(30, Shift().mu(tokens))[0]) == 1.0


def test_training_levels_are_shifted_logit_normal():
    drawn = draw_sigmas(4000, 1.15, torch.Generator().manual_seed(0))
    logit = torch.logit(drawn.double())
    assert float(logit.mean()) == pytest.approx(1.15, abs=0.05)  # the shift adds μ to the logit
    assert float(logit.std()) == pytest.approx(1.0, abs=0.05)


def test_estimate_undoes_interpolation():
    g = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(4, 6, 8, generator=g) for _ in range(2))
    sigma = torch.tensor([0.1, 0.4, 0.8, 1.0])
    noisy = interpolate(clean, noise, sigma)
    found = clean_estimate(noisy, flow.velocity_target(clean, noise), sigma)
    torch.testing.assert_close(found, clean, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(noisy[3], noise[3])


def test_guidance_of_one_is_the_conditional_alone():
    c, u = torch.tensor([2.0]), torch.tensor([1.0])
    assert guided(c, u, 1.0) == c
    assert guided(c, u, 2.0) == 3.0


def test_every_step_is_told_its_estimate_and_may_stop():
    seen = []

    def told(step: int, clean: torch.Tensor) -> None:
        seen.append(clean)
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        integrate(gaussian_velocity, torch.zeros(1, dtype=torch.float64), sigmas(10, 0.9), on_step=told)
    assert len(seen) == 4
    # E[z_0 | z] of the median is the mean all the way
    gaps = [float((clean - MEAN).abs()) for clean in seen]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(gaps))
    assert gaps[0] == pytest.approx(0, abs=1e-6)
