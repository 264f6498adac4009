"""From per-pixel predictions to partial maps: each pixel's values laid where its atlas coordinates point.

UV_partial = [rgb, mask, normal, vertex] (method 2.1). Differentiable in the values, not in the places.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, normalize, pad

from backend.fica.maps import MASK, NORMAL, PARTIAL_CHANNELS, RGB, VERTEX, Frame, signed

_LEVELS = 3  # coarser sizes that close the gaps between pixels
_ENOUGH = 0.05  # pixels on a texel of the finest level, less is taken from coarser ones


@dataclass(frozen=True)
class DenseMaps:
    """What the dense predictor says of every pixel ``(B, ·, P, P)``."""

    uv: Tensor  # (B, 2, P, P) atlas coordinates in [0, 1], origin bottom-left
    vertex: Tensor  # (B, 3, P, P) metres, head space, as posed
    normal: Tensor  # (B, 3, P, P) unit, head space
    known: Tensor  # (B, 1, P, P) in [0, 1]: how surely a surface of the atlas is seen


def unwrap(picture: Tensor, dense: DenseMaps, frame: Frame) -> Tensor:
    """UV_partial ``(B, 10, S, S)`` of pictures ``(B, 3, P, P)`` in display sRGB.

    Colours lie in [−1, 1], normals are unit, vertices coded as ``Frame.coded``; all 0 where mask is 0.
    """
    values = torch.cat([signed(picture), dense.normal, dense.vertex], 1)
    sure = dense.known * (dense.known > 0.5)
    total, weight = _scattered(values, sure, dense.uv, frame.size)
    filled, mask = _without_gaps(total, weight)
    mask = mask * frame.inside
    made = picture.new_zeros(len(picture), PARTIAL_CHANNELS, frame.size, frame.size)
    made[:, RGB] = filled[:, :3] * mask
    made[:, MASK] = mask
    made[:, NORMAL] = normalize(filled[:, 3:6], dim=1, eps=1e-6) * mask
    made[:, VERTEX] = frame.coded(filled[:, 6:9]).clamp(-3, 3) * mask
    return made


def _scattered(values: Tensor, sure: Tensor, uv: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Values summed into the four texels about each pixel's place, and the weights summed."""
    b, c = values.shape[:2]
    x = (uv[:, 0] * size - 0.5).flatten(1)
    y = ((1 - uv[:, 1]) * size - 0.5).flatten(1)
    left, top = torch.floor(x), torch.floor(y)
    total = values.new_zeros(b, c, size * size)
    weight = values.new_zeros(b, 1, size * size)
    flat, share = values.flatten(2), sure.flatten(1)
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        at_x, at_y = left + column, top + row
        near = (1 - (x - at_x).abs()).clamp_min(0) * (1 - (y - at_y).abs()).clamp_min(0) * share
        near = near * ((at_x >= 0) & (at_y >= 0) & (at_x < size) & (at_y < size))
        at = (at_y.clamp(0, size - 1) * size + at_x.clamp(0, size - 1)).long()[:, None]
        total = total.scatter_add(2, at.expand(b, c, -1), flat * near[:, None])
        weight = weight.scatter_add(2, at, near[:, None])
    return total.reshape(b, c, size, size), weight.reshape(b, 1, size, size)


def _without_gaps(total: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean values, gaps filled from up to _LEVELS halvings, and where anything is known."""
    mean = total / weight.clamp_min(1e-6)
    known = (weight > _ENOUGH).to(total)
    sums, counts = mean * known, known
    for level in range(1, _LEVELS + 1):
        sums, counts = avg_pool2d(sums, 2), avg_pool2d(counts, 2)
        coarse = sums / counts.clamp_min(1e-6)
        wide = interpolate(coarse, scale_factor=2**level, mode="nearest")
        has = interpolate((counts > 0).to(total), scale_factor=2**level, mode="nearest")
        fills = (1 - known) * has * _closed(known, 2 ** (level - 1))
        mean = torch.where(known > 0, mean, wide * fills)
        known = torch.maximum(known, fills)
    return mean * known, known


def _closed(known: Tensor, reach: int) -> Tensor:
    """``known`` with gaps up to twice ``reach`` texels wide closed, and no further out than it was."""
    side = 2 * reach + 1
    grown = max_pool2d(known, side, 1, reach)
    beyond = (reach, reach, reach, reach)
    return 1 - max_pool2d(pad(1 - grown, beyond, value=1.0), side, 1)  # nothing is known beyond the edge
