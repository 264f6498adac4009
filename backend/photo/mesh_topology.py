"""The connectivity of Face Mesh and what follows from it: normals and visibility of its points."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64

I32 = NDArray[np.int32]

IRIS_CENTRES = (468, 473)  # image left (the subject's right), image right; four ring points follow each
_EYE_CORNERS = ((33, 133), (362, 263))


@cache
def triangles() -> I32:
    """``(T, 3)`` unoriented triangles over the 468 surface points: the 3-cliques of the mesh's edges."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    neighbours: dict[int, set[int]] = {}
    for a, b in FACEMESH_TESSELATION:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    found = {
        (a, b, c)
        for a in neighbours
        for b in neighbours[a]
        if b > a
        for c in neighbours[a] & neighbours[b]
        if c > b
    }
    return np.array(sorted(found), np.int32)


def outward_normals(points: F64) -> F64:
    """Unit normals ``(468, 3)`` of points ``(≥ 468, 3)`` (x, y, depth), pointing out of the head."""
    p = points[:468]
    tri = triangles()
    face = np.cross(p[tri[:, 1]] - p[tri[:, 0]], p[tri[:, 2]] - p[tri[:, 0]])
    # The cliques carry no orientation. A face is star-shaped about a point well behind it.
    right, left, chin, brow = p[234], p[454], p[152], p[10]
    backward = np.cross(left - right, chin - brow)
    backward /= max(float(np.linalg.norm(backward)), 1e-12)
    inside = p.mean(0) + backward * 0.6 * float(np.linalg.norm(left - right))
    middle = p[tri].mean(1)
    face *= np.sign(np.einsum("tc,tc->t", face, middle - inside))[:, None]
    normals = np.zeros((468, 3))
    for corner in range(3):
        np.add.at(normals, tri[:, corner], face)
    unit: F64 = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return unit


def visibility(points: F64, width: int, height: int) -> F32:
    """How surely each of ``(478, 3)`` points is seen, ``(478,)`` in [0, 1].

    Product of three terms: the normal turns towards the camera (0 at 90° or more, 1 below 70°), no other
    part of the mesh lies in front, and the point is inside the frame.
    """
    facing = _ramp(-outward_normals(points)[:, 2], 0.0, 0.34)
    seen = facing * ~_hidden(points)
    iris = [float(seen[list(corners)].max()) for corners in _EYE_CORNERS]
    everywhere = np.concatenate([seen, np.repeat(iris, 5)])
    margin = np.minimum(
        np.minimum(points[:, 0], width - points[:, 0]), np.minimum(points[:, 1], height - points[:, 1])
    )
    visible: F32 = (everywhere * _ramp(margin, 0.0, 2.0)).astype(np.float32)
    return visible


def _hidden(points: F64) -> NDArray[np.bool_]:
    """(468,) whether a triangle lies in front of the point by more than 4 % of the face's width."""
    p = points[:468]
    tri = triangles()
    a, b, c = (p[tri[:, k]] for k in range(3))
    gap = 0.04 * float(np.linalg.norm(p[454] - p[234]))
    ab, ac = (b - a)[:, :2], (c - a)[:, :2]
    det = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    det = np.where(np.abs(det) < 1e-9, np.inf, det)
    d = p[:, None, :2] - a[None, :, :2]  # (468, T, 2)
    u = (d[..., 0] * ac[:, 1] - d[..., 1] * ac[:, 0]) / det
    v = (ab[:, 0] * d[..., 1] - ab[:, 1] * d[..., 0]) / det
    depth = a[:, 2] + u * (b - a)[:, 2] + v * (c - a)[:, 2]
    covers = (u > 0) & (v > 0) & (u + v < 1) & (depth < p[:, None, 2] - gap) & np.isfinite(det)
    hidden: NDArray[np.bool_] = covers.any(1)
    return hidden


def _ramp(x: NDArray[np.floating[Any]], low: float, high: float) -> F64:
    return np.asarray(np.clip((np.asarray(x, np.float64) - low) / (high - low), 0.0, 1.0))
