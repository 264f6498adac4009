"""Per-vertex quantities of a head laid into its chart, and the reverse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.head.base import ParametricHead
from backend.uvspace.kernels import compiled, in_bands


@compiled
def _lay(
    face_id: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    values: NDArray[np.float32],
    start: int,
    end: int,
    out: NDArray[np.float32],
) -> None:
    channels = values.shape[1]
    for r in range(start, end):
        for c in range(face_id.shape[1]):
            f = face_id[r, c]
            if f < 0:
                continue
            for corner in range(3):
                b = barycentric[r, c, corner]
                v = triangles[f, corner]
                for k in range(channels):
                    out[r, c, k] += b * values[v, k]


def to_chart(
    values: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    face_id: NDArray[np.int32],
    barycentric: F32,
) -> F32:
    """Vertex ``values`` ``(V[, C])`` interpolated to texels ``(S, S[, C])``; 0 outside the chart."""
    flat = np.ascontiguousarray(values, np.float32)
    flat = flat[:, None] if flat.ndim == 1 else flat
    ids = np.ascontiguousarray(face_id)
    weights = np.ascontiguousarray(barycentric, np.float32)
    corners = np.ascontiguousarray(triangles)
    out = np.zeros((*face_id.shape, flat.shape[1]), np.float32)
    in_bands(lambda start, end: _lay(ids, weights, corners, flat, start, end, out), len(out), 64)
    return out[..., 0] if values.ndim == 1 else out


@compiled
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
