"""Per-vertex quantities of a head laid into its chart, and the reverse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.head.base import ParametricHead


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _lay(
    face_id: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    values: NDArray[np.float32],
) -> NDArray[np.float32]:
    rows, columns, channels = face_id.shape[0], face_id.shape[1], values.shape[1]
    out = np.zeros((rows, columns, channels), np.float32)
    for r in prange(rows):
        for c in range(columns):
            f = face_id[r, c]
            if f < 0:
                continue
            for corner in range(3):
                b = barycentric[r, c, corner]
                v = triangles[f, corner]
                for k in range(channels):
                    out[r, c, k] += b * values[v, k]
    return out


def to_chart(
    values: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    face_id: NDArray[np.int32],
    barycentric: F32,
) -> F32:
    """Vertex ``values`` ``(V[, C])`` interpolated to texels ``(S, S[, C])``; 0 outside the chart."""
    flat = np.ascontiguousarray(values, np.float32)
    out: F32 = _lay(
        np.ascontiguousarray(face_id),
        np.ascontiguousarray(barycentric, np.float32),
        np.ascontiguousarray(triangles),
        flat[:, None] if flat.ndim == 1 else flat,
    )
    return out[..., 0] if values.ndim == 1 else out


@njit(cache=True)  # type: ignore[untyped-decorator]
def _gather(
    image: NDArray[np.float32],
    weight: NDArray[np.float32],
    face_id: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    count: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    total = np.zeros((count, image.shape[2]), np.float64)
    mass = np.zeros(count, np.float64)
    for r in range(face_id.shape[0]):
        for c in range(face_id.shape[1]):
            f = face_id[r, c]
            w = weight[r, c]
            if f < 0 or w <= 0:
                continue
            for corner in range(3):
                v = triangles[f, corner]
                b = w * barycentric[r, c, corner]
                mass[v] += b
                for k in range(image.shape[2]):
                    total[v, k] += b * image[r, c, k]
    return total, mass


def to_vertices(
    image: F32,
    weight: F32,
    triangles: NDArray[np.int32],
    face_id: NDArray[np.int32],
    barycentric: F32,
    count: int,
) -> tuple[F32, F32]:
    """Weighted texel means ``(V, C)`` of ``image`` ``(S, S, C)`` around each vertex, and their weight.

    The weight ``(V,)`` is the summed texel weight; it is 0 and the mean 0 where nothing was seen.
    """
    total, mass = _gather(
        np.ascontiguousarray(image, np.float32),
        np.ascontiguousarray(weight, np.float32),
        np.ascontiguousarray(face_id),
        np.ascontiguousarray(barycentric, np.float32),
        np.ascontiguousarray(triangles),
        count,
    )
    mean = total / np.maximum(mass, 1e-12)[:, None]
    return mean.astype(np.float32), mass.astype(np.float32)


def region_map(
    head: ParametricHead, names: tuple[str, ...], face_id: NDArray[np.int32], barycentric: F32
) -> F32:
    """The union (maximum) of the head's regions called ``names``, ``(S, S)`` in [0, 1].

    A head that lacks a region simply has no weight there.
    """
    present = [head.regions[name] for name in names if name in head.regions]
    if not present:
        return np.zeros(face_id.shape, np.float32)
    weight = np.max(np.stack(present), axis=0)
    return np.clip(to_chart(weight, head.triangles, face_id, barycentric), 0, 1).astype(np.float32)
