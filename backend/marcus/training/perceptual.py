"""Perceptual distances that are differentiable: LPIPS from its published files, and a stand-in.

``Perceptual`` is what a loss takes, so any network can be put there. ``gradients`` is no LPIPS and is never
called so: it has no learned part and compares where edges lie, at several sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from backend.errors import Missing

# Two batches of sRGB pictures (B, 3, H, W) in [0, 1]; distances (B,) ≥ 0, 0 for equal ones.
Perceptual = Callable[[Tensor, Tensor], Tensor]

_LEVELS = 4
_SMALLEST_PX = 8
_NOISE = 1e-3  # a difference of neighbours below this is no edge


def perceptual_distance(network: Literal["lpips", "gradients"]) -> Perceptual:
    """Raises: Missing when LPIPS' files are not on this machine, BadInput when they are others."""
    if network == "gradients":
        return gradient_distance
    from backend.evaluation.lpips_network import find_published, load_lpips

    found = find_published()
    if found is None:
        raise Missing(
            "LPIPS needs torchvision's AlexNet in torch's cache and the package lpips; "
            "or set the recipe's network to `gradients`, which is another distance"
        )
    return load_lpips(*found).of_pictures


def gradient_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of normalised gradients over up to four sizes of the picture, ``(B,)``.

    At each size g = (∂x, ∂y) by neighbours; compared is g / (|g| + mean|g| + noise), so that faint edges of
    a dark picture count as strong ones of a bright picture do.
    """
    total, levels = a.new_zeros(len(a)), 0
    for level in range(_LEVELS):
        if level:
            a, b = (torch.nn.functional.avg_pool2d(x, 2) for x in (a, b))
        if min(a.shape[-2:]) < _SMALLEST_PX and level:
            break
        total = total + (edges(a) - edges(b)).abs().mean((1, 2, 3))
        levels += 1
    return total / levels


def edges(x: Tensor) -> Tensor:
    """Differences of neighbours across and down, ``(B, 2C, H − 1, W − 1)``, strong ones near ±1."""
    g = torch.cat(
        [
            x[..., :-1, 1:] - x[..., :-1, :-1],
            x[..., 1:, :-1] - x[..., :-1, :-1],
        ],
        dim=1,
    )
    scale = g.detach().abs().mean((1, 2, 3), keepdim=True)
    return g / (g.abs() + scale + _NOISE)
