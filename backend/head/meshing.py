"""Small mesh helpers of heads: one triangulation, mirror maps, edges, vertices of parts, empty landmarks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead, SurfacePoints

LANDMARK_COUNT = 478
LEAST_AREA_M2 = 1e-10  # of a vertex: in slivers


def triangulate(
    quads: NDArray[np.int32], quad_uvs: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Split quads ``(Q, 4)`` along their 0–2 diagonal; a last −1 marks a triangle.

    Returns ``triangles (T, 3)``, ``triangle_uvs (T, 3)`` and ``triangle_quad (T,)``, in quad order.
    """
    is_quad = quads[:, 3] >= 0
    count = np.where(is_quad, 2, 1)
    triangle_quad = np.repeat(np.arange(len(quads), dtype=np.int32), count)
    second = np.zeros(len(triangle_quad), bool)
    second[1:] = triangle_quad[1:] == triangle_quad[:-1]
    corner = np.where(second[:, None], np.array([0, 2, 3]), np.array([0, 1, 2]))
    row = triangle_quad[:, None]
    return quads[row, corner], quad_uvs[row, corner], triangle_quad


def mirror_by_position(
    vertices: NDArray[np.floating[Any]], group: NDArray[np.integer[Any]] | None = None
) -> NDArray[np.int32]:
    """For each vertex ``(V, 3)`` the nearest one to its reflection in x = 0, ``(V,)``.

    ``group`` ``(V,)`` is symmetric under reflection; it keeps coincident layers (lashes, fluid) apart.
    """
    from scipy.spatial import cKDTree

    v = np.asarray(vertices, np.float64)
    g = np.zeros(len(v)) if group is None else np.asarray(group, np.float64)
    offset = g * (4.0 * np.ptp(v) + 1.0)  # groups so far apart that none is nearest to another
    _, index = cKDTree(np.c_[v, offset]).query(np.c_[v * np.array([-1.0, 1.0, 1.0]), offset])
    return np.asarray(index, np.int32)


def edges_of(quads: NDArray[np.int32]) -> NDArray[np.int32]:
    """Unique undirected edges ``(E, 2)`` of quads."""
    e = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    return np.asarray(np.unique(np.sort(e, 1), axis=0).astype(np.int32))


def together(head: ParametricHead, group: tuple[str, ...]) -> NDArray[np.intp]:
    """Vertices of those parts of ``group`` that the head has."""
    rows = [vertices_of(head, name) for name in group if name in head.part_names]
    return np.concatenate([np.zeros(0, np.intp), *rows])


def vertices_of(head: ParametricHead, part: str) -> NDArray[np.intp]:
    """Rows of the vertices that a part's triangles use, sorted."""
    rows = head.triangles[head.triangle_part == head.part_names.index(part)]
    return np.asarray(np.unique(rows), np.intp)


def no_landmarks() -> SurfacePoints:
    """The 478 Face Mesh points of a head on which none of them is known."""
    return SurfacePoints(
        np.full(LANDMARK_COUNT, -1, np.int32),
        np.full((LANDMARK_COUNT, 3), 1 / 3, np.float32),
        np.zeros(LANDMARK_COUNT, np.float32),
    )
