"""Smooth normals of a triangle mesh."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64


def vertex_normals(vertices: NDArray[np.floating[Any]], triangles: NDArray[np.int32]) -> F64:
    """Area-weighted unit vertex normals ``(V, 3)``."""
    total = vertex_areas(vertices, triangles)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20))


def vertex_areas(vertices: NDArray[np.floating[Any]], triangles: NDArray[np.int32]) -> F64:
    """Along each vertex's normal ``(V, 3)``: twice the area of the triangles about it (m² for metres)."""
    v = np.asarray(vertices, np.float64)
    a, b, c = (v[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    total = np.zeros_like(v)
    for axis in range(3):
        for k in range(3):
            total[:, axis] += np.bincount(triangles[:, k], face[:, axis], minlength=len(v))
    return total
