"""Flat pictures as other cameras, lights and things before the face would have made them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLURRED, NOISY, HIDDEN = 0.25, 0.5, 0.25  # shares
NOISE = 6.0  # of 255, at most
LEAST_PX, MOST_PX = 8, 38  # of what hides
MOTTLED, MOTTLE, CELLS = 0.5, 0.1, (14, 36, 90)  # share, most of log brightness, cells across the picture


def spoil(grey: Tensor, random: torch.Generator) -> Tensor:
    """``(B, n, n)`` in 0–255, likewise: another gamma and exposure; some blurred, noisy, partly hidden or
    mottled."""
    count, side = grey.shape[:2]

    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, generator=random)

    gamma = torch.exp(0.8 * (uniform(count, 1, 1) - 0.5))
    out = 255 * (grey / 255).clamp(1e-3, 1) ** gamma * torch.exp(0.5 * (uniform(count, 1, 1) - 0.6))
    blurred = uniform(count) < BLURRED
    wide = nn.functional.pad(out[blurred][:, None], (1, 1, 1, 1), "replicate")
    out[blurred] = nn.functional.avg_pool2d(wide, 3, 1)[:, 0]
    strength = NOISE * uniform(count, 1, 1) * (uniform(count, 1, 1) < NOISY)
    out = out + strength * torch.randn(out.shape, generator=random)
    for index in torch.nonzero(uniform(count) < HIDDEN).ravel().tolist():
        height, width = (LEAST_PX + uniform(2) * (MOST_PX - LEAST_PX)).int().tolist()
        top, start = (uniform(2) * side).int().tolist()
        out[index, top : top + height, start : start + width] = 255 * uniform(1) ** 2
    amount = MOTTLE * uniform(count, len(CELLS)) * (uniform(count, 1) < MOTTLED)
    for k, cells in enumerate(CELLS):
        coarse = torch.randn(count, 1, cells, cells, generator=random)
        smooth = nn.functional.interpolate(coarse, (side, side), mode="bilinear")[:, 0]
        out = out * torch.exp(amount[:, k, None, None] * smooth)
    return out.clamp(0, 255)
