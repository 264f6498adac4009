"""Where Face Mesh's points lie in the flat picture, and how the face runs along it there."""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32
from backend.geometry import face_mesh
from backend.geometry.face_patch import SURFACE, PatchLayout

_IRISES = ((473, face_mesh.EYE_OPENING[0]), (468, face_mesh.EYE_OPENING[1]))  # first of five, their lids


def point_places(layout: PatchLayout) -> F32:
    """``(478, 2)`` in [0, 1]², x right and y down; an iris lies amid its lids."""
    places = np.zeros((face_mesh.COUNT, 2), np.float32)
    places[:SURFACE] = layout.places[:SURFACE]
    for first, lids in _IRISES:
        places[first : first + 5] = places[list(lids)].mean(0)
    return places


def slopes(layout: PatchLayout) -> F32:
    """``(2, 478, 478)``: from values at the points to their slopes along the flat picture at each point.

    Slopes are by the picture's whole width and height, the least squares' over the points that share a
    triangle with the point, near ones more; an iris has its lids' mean.
    """
    from scipy.spatial import Delaunay

    at = layout.places[:SURFACE].astype(np.float64)
    near: list[set[int]] = [set() for _ in at]
    for triangle in Delaunay(at).simplices.tolist():
        for corner in triangle:
            near[corner].update(triangle)
    out = np.zeros((2, face_mesh.COUNT, face_mesh.COUNT))
    for point, others in enumerate(near):
        beside = sorted(others - {point})
        step = at[beside] - at[point]
        weighted = (step / np.maximum((step**2).sum(1, keepdims=True), 1e-6)).T
        told = np.linalg.solve(weighted @ step, weighted)
        out[:, point, beside] = told
        out[:, point, point] = -told.sum(1)
    for first, lids in _IRISES:
        out[:, first : first + 5] = out[:, list(lids)].mean(1)[:, None]
    return out.astype(np.float32)
