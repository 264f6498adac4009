"""Distances between pictures and maps that FiCA's trainers share; all differentiable."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from backend.fica.maps import Frame, HeadMaps
from backend.fica.surface import normal_map

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity (Wang et al. 2004) of pictures ``(B, C, H, W)`` in [0, 1], ``(B,)``.

    Gaussian window of 11 pixels and deviation 1.5, only where it lies within the picture.
    """
    at = torch.arange(_WINDOW, dtype=a.dtype, device=a.device) - _WINDOW // 2
    line = torch.exp(-(at**2) / (2 * _SIGMA**2))
    line = line / line.sum()
    window = (line[:, None] * line)[None, None].expand(a.shape[1], 1, -1, -1)

    def blurred(x: Tensor) -> Tensor:
        return conv2d(x, window, groups=x.shape[1])

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    both = blurred(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + _C1) * (2 * both + _C2)
    likeness = likeness / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))
    return likeness.mean((1, 2, 3))


def laplacian(geometry: Tensor, frame: Frame) -> Tensor:
    """Distance of each texel from the mean of its neighbours of the same part, ``(B, 3, S, S)``."""
    total, count = torch.zeros_like(geometry), geometry.new_zeros(1, 1, *frame.part.shape)
    for dim in (-1, -2):
        for step in (1, -1):
            other = torch.roll(geometry, step, dim)
            same = (torch.roll(frame.part, step, dim) == frame.part) & (frame.part >= 0)
            same = same & _not_wrapped(frame.part, dim, step)
            total = total + other * same
            count = count + same
    return torch.where(count > 0, geometry - total / count.clamp_min(1), torch.zeros_like(geometry))


def deviation(made: HeadMaps, start: HeadMaps, frame: Frame) -> Tensor:
    """L1 of texture, Laplacian (coded) and normals between refined and first maps, over the atlas."""
    texture = (made.texture - start.texture).abs()
    bent = (
        laplacian(frame.coded(made.geometry), frame) - laplacian(frame.coded(start.geometry), frame)
    ).abs()
    turned = (normal_map(made.geometry, frame) - normal_map(start.geometry, frame)).abs()
    inside = frame.inside
    return ((texture + bent + turned) * inside).sum() / (3 * len(texture) * inside.sum())


def _not_wrapped(part: Tensor, dim: int, step: int) -> Tensor:
    index = torch.arange(part.shape[dim], device=part.device)
    fine = index > 0 if step == 1 else index < part.shape[dim] - 1
    return fine[None, :] if dim == -1 else fine[:, None]
