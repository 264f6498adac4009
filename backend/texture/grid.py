"""Moving images between the map's resolution and the smaller one on which fields are solved.

Appearance is split in two bands: what varies slowly is solved on a *working* grid of at most
``WORKING_SIZE`` texels a side, what varies quickly is carried over at the map's own resolution. So
the cost of a solve does not grow with the map. All grids share pixel centres at .5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps
from backend.colour import luminance
from backend.uvspace.kernels import compiled, in_bands
from backend.uvspace.sampling import write_bilinear

WORKING_SIZE = 512
LOG_FLOOR = 1e-3  # linear; below this a texel carries no usable colour ratio


@dataclass(frozen=True)
class WorkingChart:
    """A chart's geometry at the working resolution, ``W×W`` texels."""

    face_id: NDArray[np.int32]  # (W, W), −1 outside the chart
    barycentric: F32  # (W, W, 3)
    inside: NDArray[np.bool_]  # (W, W)
    position_head: F32  # (W, W, 3) metres
    normal_head: F32  # (W, W, 3) unit
    factor: int  # map texels per working texel, linear

    @property
    def size(self) -> int:
        return int(self.face_id.shape[0])


def working_chart(chart: ChartMaps, size: int = WORKING_SIZE) -> WorkingChart:
    """Every ``factor``-th texel of ``chart``, at most ``size`` a side (the chart itself when smaller)."""
    factor = reduction(chart.size, size)
    pick = slice(factor // 2, None, factor)
    return WorkingChart(
        face_id=np.ascontiguousarray(chart.face_id[pick, pick]),
        barycentric=np.ascontiguousarray(chart.barycentric[pick, pick]),
        inside=np.ascontiguousarray(chart.inside[pick, pick] & (chart.face_id[pick, pick] >= 0)),
        position_head=np.ascontiguousarray(chart.position_head[pick, pick]),
        normal_head=np.ascontiguousarray(chart.normal_head[pick, pick]),
        factor=factor,
    )


def reduction(map_size: int, working_size: int = WORKING_SIZE) -> int:
    """The smallest whole factor that divides ``map_size`` and brings it to ``working_size`` or less."""
    factor = max(1, -(-map_size // working_size))
    while map_size % factor:
        factor += 1
    return factor


@compiled
def _weighted_reduce(
    image: F32, weight: F32, factor: int, start: int, end: int, mean: F32, cover: F32
) -> None:
    channels = image.shape[2]
    for r in range(start, end):
        for c in range(mean.shape[1]):
            total = 0.0
            for i in range(factor):
                for j in range(factor):
                    w = weight[r * factor + i, c * factor + j]
                    total += w
                    for k in range(channels):
                        mean[r, c, k] += w * image[r * factor + i, c * factor + j, k]
            if total > 0:
                for k in range(channels):
                    mean[r, c, k] /= total
            cover[r, c] = total / (factor * factor)


def weighted_reduce(image: F32, weight: F32, factor: int) -> tuple[F32, F32]:
    """Mean of ``image`` ``(S, S, C)`` over ``factor²`` blocks, weighted; and the blocks' mean weight.

    Blocks without weight come back 0.
    """
    if factor == 1:
        filled = np.where(weight[..., None] > 0, image, np.float32(0))
        return filled.astype(np.float32), weight.astype(np.float32)
    fine, share = np.ascontiguousarray(image, np.float32), np.ascontiguousarray(weight, np.float32)
    size = image.shape[0] // factor
    mean, cover = np.zeros((size, size, image.shape[2]), np.float32), np.empty((size, size), np.float32)
    in_bands(
        lambda start, end: _weighted_reduce(fine, share, factor, start, end, mean, cover),
        size,
        max(16, 128 // factor),
    )
    return mean, cover


def enlarge(field: F32, size: int) -> F32:
    """Bilinear enlargement of ``(W, W[, C])`` to ``size``; values between texels of the edge are held."""
    import cv2

    if field.shape[0] == size:
        return field
    out: F32 = cv2.resize(
        np.ascontiguousarray(field, np.float32), (size, size), interpolation=cv2.INTER_LINEAR
    )
    return out


def blur(image: F32, sigma: float, weight: F32) -> F32:
    """Normalised Gaussian blur of ``(S, S[, C])`` with weights ``(S, S)``; 0 where no weight is near."""
    import cv2

    w = np.ascontiguousarray(weight, np.float32)
    lead = w[..., None] if image.ndim == 3 else w
    top = cv2.GaussianBlur(np.ascontiguousarray(image * lead, np.float32), (0, 0), max(sigma, 1e-3))
    bottom = cv2.GaussianBlur(w, (0, 0), max(sigma, 1e-3))
    bottom = bottom[..., None] if image.ndim == 3 else bottom
    out: F32 = np.where(bottom > 1e-6, top / np.maximum(bottom, 1e-6), 0).astype(np.float32)
    return out


def dilate(image: F32, known: NDArray[np.bool_]) -> F32:
    """``(S, S[, C])`` with every texel that is not ``known`` filled from those that are (pull-push)."""
    out = np.array(image, np.float32, order="C")
    fill_unknown(out, known)
    return out


def fill_unknown(image: F32, known: NDArray[np.bool_]) -> None:
    """``dilate`` in place: 4096² maps are too large to copy. ``image`` must be C-contiguous float32."""
    flat = image[..., None] if image.ndim == 2 else image
    if known.all():
        return
    if not known.any():
        flat[:] = 0
        return
    _pull_push(flat, known.astype(np.float32))


def _pull_push(image: F32, weight: F32) -> None:
    size = image.shape[0]
    if size % 2 or size <= 2 or image.shape[0] != image.shape[1]:
        total = max(float(weight.sum()), 1e-6)
        mean = np.einsum("rc,rck->k", weight, image) / total
        image[weight <= 0] = mean
        return
    coarse, cover = weighted_reduce(image, weight, 2)
    if float(cover.min()) <= 0:
        _pull_push(coarse, np.minimum(cover * 4, 1).astype(np.float32))
    in_bands(lambda start, end: _push(image, weight, coarse, start, end), size, 128)


@compiled
def _push(image: F32, weight: F32, coarse: F32, start: int, end: int) -> None:
    for r in range(start, end):
        for c in range(image.shape[1]):
            if weight[r, c] <= 0:
                write_bilinear(coarse, (c + 0.5) / 2, (r + 0.5) / 2, image[r, c])


def safe_log(linear: NDArray[np.floating[Any]]) -> F32:
    """Natural logarithm of linear colour, floored so that black stays finite."""
    out: F32 = np.log(np.maximum(np.asarray(linear, np.float32), LOG_FLOOR)).astype(np.float32)
    return out


def log_luminance(linear: F32) -> F32:
    """Logarithm of Rec. 709 luminance of ``(..., 3)``, floored."""
    return safe_log(luminance(linear))


@compiled
def _remap(image: F32, index: F32, start: int, end: int, out: F32) -> None:
    for r in range(start, end):
        for c in range(index.shape[1]):
            if index[r, c, 0] >= 0:
                write_bilinear(image, index[r, c, 1] + 0.5, index[r, c, 0] + 0.5, out[r, c])


def remap(image: F32, index: F32) -> F32:
    """``image`` ``(S, S[, C])`` at texel indices ``index`` ``(R, R, 2)`` (row, column); 0 where row < 0."""
    flat = image[..., None] if image.ndim == 2 else image
    source, where = np.ascontiguousarray(flat, np.float32), np.ascontiguousarray(index, np.float32)
    out = np.zeros((*index.shape[:2], flat.shape[2]), np.float32)
    in_bands(lambda start, end: _remap(source, where, start, end, out), len(out), 64)
    return out[..., 0] if image.ndim == 2 else out
