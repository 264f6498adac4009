"""Smooth vertex normals, weighted by corner angle (Thürmer & Wüthrich 1998), as Blender weights them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64


def corner_angles(vertices: NDArray[np.floating[Any]], triangles: NDArray[np.int32]) -> tuple[F64, F64]:
    """Angle at each corner ``(T, 3)`` in radians, and unit face normals ``(T, 3)`` (0 without area)."""
    p = np.asarray(vertices, np.float64)[triangles]
    edges = _unit(np.roll(p, -1, 1) - p)  # edge k runs from corner k to the next
    cosine = -np.einsum("tkc,tkc->tk", edges, np.roll(edges, 1, 1))
    return np.arccos(np.clip(cosine, -1, 1)), _unit(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]))


def vertex_normals(vertices: NDArray[np.floating[Any]], triangles: NDArray[np.int32]) -> F32:
    """Unit normals ``(V, 3)`` of a mesh wound counter-clockwise; (0, 0, 1) where no triangle says."""
    angles, faces = corner_angles(vertices, triangles)
    weighted = (angles[..., None] * faces[:, None]).reshape(-1, 3)
    rows = triangles.ravel()
    summed: F64 = np.stack([np.bincount(rows, weighted[:, c], len(vertices)) for c in range(3)], -1)
    normals = _unit(summed)
    normals[np.einsum("vc,vc->v", normals, normals) < 0.5] = (0, 0, 1)
    return normals.astype(np.float32)


def _unit(vectors: F64) -> F64:
    """Vectors over their length; 0 where there is none."""
    length = np.sqrt(np.einsum("...c,...c->...", vectors, vectors))[..., None]
    unit: F64 = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-30)
    return unit
