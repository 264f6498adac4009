"""Rectified flow: z_σ = (1−σ)·z_0 + σ·ε, its velocity ε − z_0, and the way back from σ = 1 to 0.

Noise levels follow FlowMatchEuler with LongCat's resolution-dependent exponential shift (facts: σ' =
e^μ / (e^μ + 1/σ − 1), μ linear in the number of noise tokens).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

Solver = Literal["euler", "adams2"]


@dataclass(frozen=True)
class Shift:
    """How far noise levels are shifted towards 1 with the picture's size (``scheduler_config.json``)."""

    base: float = 0.5
    top: float = 1.15
    base_tokens: int = 256
    top_tokens: int = 4096

    def mu(self, tokens: int) -> float:
        """The exponent for a picture of ``tokens`` noise tokens: 1.15 at 1024²."""
        slope = (self.top - self.base) / (self.top_tokens - self.base_tokens)
        return self.base + slope * (tokens - self.base_tokens)


def shifted(sigma: Tensor, mu: float) -> Tensor:
    """σ' of ``sigma`` in (0, 1]; 1 stays 1 to the bit, where guidance may begin."""
    return math.exp(mu) / (math.exp(mu) + (1.0 / sigma - 1.0))


def sigmas(steps: int, mu: float) -> Tensor:
    """The ``steps + 1`` noise levels of a way back, float64, from 1 to 0."""
    even = torch.linspace(1.0, 1.0 / steps, steps, dtype=torch.float64)
    return torch.cat([shifted(even, mu), torch.zeros(1, dtype=torch.float64)])


def draw_sigmas(count: int, mu: float, generator: torch.Generator) -> Tensor:
    """``count`` noise levels for training: logit-normal, shifted as at inference. Float32, in (0, 1)."""
    return shifted(torch.sigmoid(torch.randn(count, generator=generator)), mu)


def interpolate(clean: Tensor, noise: Tensor, sigma: Tensor | float) -> Tensor:
    """z_σ; ``sigma`` is one number or one for each row."""
    level = _per_row(sigma, clean)
    return (1 - level) * clean + level * noise


def velocity_target(clean: Tensor, noise: Tensor) -> Tensor:
    """What the network learns: ε − z_0."""
    return noise - clean


def clean_estimate(noisy: Tensor, velocity: Tensor, sigma: Tensor | float) -> Tensor:
    """ẑ_0 = z_σ − σ·v̂."""
    return noisy - _per_row(sigma, noisy) * velocity


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance without renormalisation: u + scale·(c − u)."""
    return unconditional + scale * (conditional - unconditional)


def integrate(
    velocity: Callable[[Tensor, float], Tensor],
    noise: Tensor,
    levels: Tensor,
    solver: Solver = "euler",
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """From ``noise`` at ``levels[0]`` along ``velocity(z, σ)`` to ``levels[-1]``.

    Sums are float32, what ``velocity`` is handed keeps the dtype of ``noise``. ``adams2`` is the
    two-step Adams-Bashforth method for uneven steps: second order for one evaluation a step.
    ``on_step(i, ẑ_0)`` is told the present estimate of the clean latents after step i; what it raises
    stops the sampling.
    """
    z = noise
    before: tuple[Tensor, float] | None = None  # the velocity of the last step, and the step's length
    steps = [float(level) for level in levels]
    for i, (sigma, following) in enumerate(pairwise(steps)):
        v = velocity(z, sigma).float()
        h = following - sigma
        slope = v
        if solver == "adams2" and before is not None:
            last, length = before
            slope = v + (h / (2 * length)) * (v - last)
        before = v, h
        if on_step is not None:
            on_step(i, z.float() - sigma * v)
        z = (z.float() + h * slope).to(noise.dtype)
    return z


def _per_row(sigma: Tensor | float, like: Tensor) -> Tensor:
    level = torch.as_tensor(sigma, device=like.device).to(like.dtype)
    return level if level.ndim == 0 else level.reshape(-1, *[1] * (like.ndim - 1))
