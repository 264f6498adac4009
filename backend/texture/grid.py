"""Moving images between the map's resolution and the smaller one on which fields are solved.

Appearance is split in two bands: what varies slowly is solved on a *working* grid of at most
``WORKING_SIZE`` texels a side, what varies quickly is carried over at the map's own resolution. So
the cost of a solve does not grow with the map. All grids share pixel centres at .5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps
from backend.colour import luminance

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


@njit(cache=True)  # type: ignore[untyped-decorator]
def sample_bilinear(image: NDArray[np.float32], row: float, column: float, out: NDArray[np.float32]) -> None:
    """Write ``image`` ``(S, S, C)`` at a fractional texel index (0 is the first centre) into ``out``."""
    size_r, size_c = image.shape[0], image.shape[1]
    r = min(max(row, 0.0), size_r - 1.0)
    c = min(max(column, 0.0), size_c - 1.0)
    r0, c0 = int(r), int(c)
    r1, c1 = min(r0 + 1, size_r - 1), min(c0 + 1, size_c - 1)
    fr, fc = r - r0, c - c0
    for k in range(image.shape[2]):
        top = image[r0, c0, k] * (1 - fc) + image[r0, c1, k] * fc
        bottom = image[r1, c0, k] * (1 - fc) + image[r1, c1, k] * fc
        out[k] = top * (1 - fr) + bottom * fr


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _weighted_reduce(
    image: NDArray[np.float32], weight: NDArray[np.float32], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    size, channels = image.shape[0] // factor, image.shape[2]
    mean = np.zeros((size, size, channels), np.float32)
    cover = np.zeros((size, size), np.float32)
    for r in prange(size):
        for c in range(size):
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
    return mean, cover


def weighted_reduce(image: F32, weight: F32, factor: int) -> tuple[F32, F32]:
    """Mean of ``image`` ``(S, S, C)`` over ``factor²`` blocks, weighted; and the blocks' mean weight.

    Blocks without weight come back 0.
    """
    if factor == 1:
        filled = np.where(weight[..., None] > 0, image, np.float32(0))
        return filled.astype(np.float32), weight.astype(np.float32)
    mean, cover = _weighted_reduce(
        np.ascontiguousarray(image, np.float32), np.ascontiguousarray(weight, np.float32), factor
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
    _push(image, weight, coarse)


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _push(image: NDArray[np.float32], weight: NDArray[np.float32], coarse: NDArray[np.float32]) -> None:
    for r in prange(image.shape[0]):
        for c in range(image.shape[1]):
            if weight[r, c] <= 0:
                sample_bilinear(coarse, (r + 0.5) / 2 - 0.5, (c + 0.5) / 2 - 0.5, image[r, c])


def safe_log(linear: NDArray[np.floating[Any]]) -> F32:
    """Natural logarithm of linear colour, floored so that black stays finite."""
    out: F32 = np.log(np.maximum(np.asarray(linear, np.float32), LOG_FLOOR)).astype(np.float32)
    return out


def log_luminance(linear: F32) -> F32:
    """Logarithm of Rec. 709 luminance of ``(..., 3)``, floored."""
    return safe_log(luminance(linear))


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _remap(
    image: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    out = np.zeros((rows.shape[0], rows.shape[1], image.shape[2]), np.float32)
    for r in prange(rows.shape[0]):
        for c in range(rows.shape[1]):
            if rows[r, c] >= 0:
                sample_bilinear(image, rows[r, c], columns[r, c], out[r, c])
    return out


def remap(image: F32, index: F32) -> F32:
    """``image`` ``(S, S[, C])`` at texel indices ``index`` ``(R, R, 2)`` (row, column); 0 where row < 0."""
    flat = image[..., None] if image.ndim == 2 else image
    out: F32 = _remap(
        np.ascontiguousarray(flat, np.float32),
        np.ascontiguousarray(index[..., 0], np.float32),
        np.ascontiguousarray(index[..., 1], np.float32),
    )
    return out[..., 0] if image.ndim == 2 else out
