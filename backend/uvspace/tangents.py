"""Tangent frames as MikkTSpace defines them (Mikkelsen 2008), which Blender and glTF both expect.

Corners are welded where position, normal and UV are equal. Around a welded corner, triangles of equal UV
orientation that share an edge there form a group; a group's tangent is the sum of its triangles'
directions of increasing u, each projected onto the plane of the normal, made unit, and weighted by the
corner's angle in that plane. The bitangent is ``sign · cross(normal, tangent)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from backend.artifacts import F32, F64


def corner_tangents(
    vertices: NDArray[np.floating[Any]],
    normals: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    uvs: NDArray[np.floating[Any]],
    triangle_uvs: NDArray[np.int32],
) -> F32:
    """Unit tangent along +u and handedness sign at every triangle corner, ``(T, 3, 4)``.

    ``vertices``, ``normals`` ``(V, 3)``, ``triangles`` ``(T, 3)``, ``uvs`` ``(U, 2)`` with origin
    bottom-left, ``triangle_uvs`` ``(T, 3)``. Corners whose triangles have no UV area get some unit vector
    across their normal.
    """
    p = np.asarray(vertices, np.float64)[triangles]
    n = np.asarray(normals, np.float64)[triangles]
    uv = np.asarray(uvs, np.float64)[triangle_uvs]

    t1, t2 = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    uv_area = t1[:, 0] * t2[:, 1] - t1[:, 1] * t2[:, 0]
    along_u: F64 = t2[:, 1, None] * (p[:, 1] - p[:, 0]) - t1[:, 1, None] * (p[:, 2] - p[:, 0])
    along_u *= np.sign(uv_area)[:, None]

    # Each corner's share: direction and angle, both in the plane of its normal.
    share = _unit(_flattened(np.broadcast_to(along_u[:, None], p.shape), n))
    to_next = _unit(_flattened(np.roll(p, -1, 1) - p, n))
    to_previous = _unit(_flattened(np.roll(p, 1, 1) - p, n))
    angle = np.arccos(np.clip(np.einsum("tkc,tkc->tk", to_next, to_previous), -1, 1))
    weighted = (share * angle[..., None]).reshape(-1, 3)

    welded = _welded(vertices, normals, triangles, uvs, triangle_uvs)
    group, count = _groups(welded, uv_area > 0)
    summed: F64 = np.stack([np.bincount(group, weighted[:, c], count) for c in range(3)], -1)
    tangent = _unit(summed)[group]
    lost = np.einsum("nc,nc->n", tangent, tangent) < 0.5
    if lost.any():
        tangent[lost] = _any_across(n.reshape(-1, 3)[lost])
    sign = np.repeat(np.where(uv_area > 0, 1.0, -1.0), 3)
    frames: F32 = np.concatenate([tangent, sign[:, None]], 1).reshape(-1, 3, 4).astype(np.float32)
    return frames


def _welded(
    vertices: NDArray[np.floating[Any]],
    normals: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    uvs: NDArray[np.floating[Any]],
    triangle_uvs: NDArray[np.int32],
) -> NDArray[np.int64]:
    """One number per corner ``(T, 3)``, equal where position, normal and UV are."""
    pairs = triangles.astype(np.int64) * len(uvs) + triangle_uvs
    kept, inverse = np.unique(pairs.ravel(), return_inverse=True)
    vertex, uv = kept // len(uvs), kept % len(uvs)
    values = np.concatenate(
        [np.asarray(a, np.float32) for a in (vertices[vertex], normals[vertex], uvs[uv])], 1
    )
    values += 0.0  # −0 and 0 are the same place
    raw = np.ascontiguousarray(values).view(np.dtype((np.void, values.itemsize * values.shape[1])))
    _, same = np.unique(raw.ravel(), return_inverse=True)
    corner: NDArray[np.int64] = same[inverse].reshape(-1, 3).astype(np.int64)
    return corner


def _groups(welded: NDArray[np.int64], preserving: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """The group of every corner ``(3·T,)`` and how many there are."""
    corners = np.arange(welded.size).reshape(-1, 3)
    # Each triangle's edge k: from corner k to the next; its twin runs the other way.
    tail, head = welded.ravel(), np.roll(welded, -1, 1).ravel()
    tail_corner, head_corner = corners.ravel(), np.roll(corners, -1, 1).ravel()
    span = welded.max() + 1
    forward, backward = tail * span + head, head * span + tail
    order = np.argsort(forward, kind="stable")
    at = np.minimum(np.searchsorted(forward[order], backward), len(order) - 1)
    twin = order[at]
    orientation = np.repeat(preserving, 3)
    joined = (forward[twin] == backward) & (orientation[twin] == orientation)
    a = np.concatenate([tail_corner[joined], head_corner[joined]])
    b = np.concatenate([head_corner[twin[joined]], tail_corner[twin[joined]]])
    graph = coo_matrix((np.ones(len(a), np.bool_), (a, b)), shape=(welded.size, welded.size))
    count, group = connected_components(graph, directed=False)
    return group.astype(np.int64), int(count)


def _flattened(vectors: F64, normals: F64) -> F64:
    flat: F64 = vectors - normals * np.einsum("...c,...c->...", vectors, normals)[..., None]
    return flat


def _unit(vectors: F64) -> F64:
    length = np.sqrt(np.einsum("...c,...c->...", vectors, vectors))[..., None]
    unit: F64 = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-30)
    return unit


def _any_across(normals: F64) -> F64:
    """Some unit vector across each normal."""
    axis = np.eye(3)[np.argmin(np.abs(normals), -1)]
    return _unit(_flattened(axis, normals))
