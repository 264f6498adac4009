"""How much of a difference between two faces shows: distances across the surface.

Vertices that slide along a face leave its form as it is, and place, turn and size are taken out before faces
are compared; most of the mean square of fields of vertices is of these kinds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.geometry.normals import vertex_areas


def across_mm2(
    vertices_m: NDArray[np.floating[Any]], triangles: NDArray[np.int32], rows: NDArray[np.intp], fields_m: F64
) -> F64:
    """``M`` ``(K, K)``: a face off by the coefficients d is off by √(dᵀMd) mm across its surface.

    That is the root mean square, over the area about the vertices ``rows`` ``(F,)`` of a mesh, of what
    ``fields_m`` ``(K, F, 3)`` move along its normals, less the small similarity that explains most of it.
    It is what NoW's protocol sees of a small difference (distances to the surface, aligned).
    """
    v = np.asarray(vertices_m, np.float64)
    about = vertex_areas(v, triangles)[rows]
    size = np.linalg.norm(about, axis=1)
    normal = about / np.maximum(size, 1e-30)[:, None]
    root = np.sqrt(size / size.sum())
    at = v[rows] - v[rows].mean(0)
    at /= np.abs(at).max()
    similarities = np.column_stack([normal, np.cross(at, normal), (at * normal).sum(1)])
    left, singular, _ = np.linalg.svd(root[:, None] * similarities, full_matrices=False)
    basis = left[:, singular > 1e-6 * singular[0]]  # on a sphere turns move nothing
    moved = root * np.einsum("kfx,fx->kf", fields_m, normal)
    moved = moved - (moved @ basis) @ basis.T
    return np.asarray(1e6 * moved @ moved.T)
