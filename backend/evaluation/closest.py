"""Exact closest points on a triangle mesh: a tree of bounding boxes, built and searched by Numba."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.uvspace.kernels import compiled

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_LEAF = 6  # triangles


@dataclass(frozen=True)
class Hits:
    """The closest surface point of each query."""

    triangle: I64  # (N,)
    barycentric: F64  # (N, 3)
    point: F64  # (N, 3)
    distance: F64  # (N,) ≥ 0, in the units of the mesh


class Surface:
    """A triangle mesh that answers closest-point queries; degenerate triangles count as their edges."""

    def __init__(self, vertices: NDArray[np.floating[Any]], triangles: NDArray[np.integer[Any]]) -> None:
        """``vertices`` ``(V, 3)`` finite, ``triangles`` ``(T ≥ 1, 3)``. Raises: ValueError."""
        self.vertices: F64 = np.ascontiguousarray(vertices, np.float64)
        self.triangles: I64 = np.ascontiguousarray(triangles, np.int64)
        if len(self.triangles) == 0:
            raise ValueError("a surface needs at least one triangle")
        if not np.isfinite(self.vertices).all():
            raise ValueError("a surface needs finite vertices")

    @cached_property
    def corners(self) -> F64:
        """``(T, 3, 3)`` corner positions."""
        return np.ascontiguousarray(self.vertices[self.triangles])

    @cached_property
    def normals(self) -> F64:
        """``(T, 3)`` unit normals by the right-hand rule; 0 for degenerate triangles."""
        a, b, c = self.corners[:, 0], self.corners[:, 1], self.corners[:, 2]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        return np.asarray(np.divide(normal, length, out=np.zeros_like(normal), where=length > 0))

    def closest(self, points: NDArray[np.floating[Any]]) -> Hits:
        """The closest point of the surface to each of ``points`` ``(N, 3)``; exact to rounding."""
        query = np.ascontiguousarray(points, np.float64).reshape(-1, 3)
        triangle, barycentric = _search(query, self.corners, *self._tree)
        point = np.einsum("nk,nkc->nc", barycentric, self.corners[triangle])
        return Hits(triangle, barycentric, point, np.linalg.norm(point - query, axis=1))

    def on_border(self, hits: Hits) -> NDArray[np.bool_]:
        """Which of ``hits`` lie on an edge that has one triangle only, where the surface ends."""
        count = len(self.vertices)
        corners, used = self.triangles[hits.triangle], hits.barycentric > 1e-9
        ends_vertex = np.zeros(count, bool)
        ends_vertex[np.concatenate([self._border // count, self._border % count])] = True
        border = (used.sum(1) == 1) & (used & ends_vertex[corners]).any(1)
        for i, j in ((0, 1), (1, 2), (2, 0)):
            edge = np.minimum(corners[:, i], corners[:, j]) * count + np.maximum(corners[:, i], corners[:, j])
            border |= used[:, i] & used[:, j] & (used.sum(1) == 2) & np.isin(edge, self._border)
        return np.asarray(border)

    @cached_property
    def _border(self) -> I64:
        """Edges with one triangle, as smaller vertex · V + larger vertex."""
        t = self.triangles
        edges = np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), axis=1)
        keys, shared = np.unique(edges[:, 0] * len(self.vertices) + edges[:, 1], return_counts=True)
        return np.asarray(keys[shared == 1], np.int64)

    @cached_property
    def _tree(self) -> tuple[F64, F64, I64, I64, I64, I64]:
        built: tuple[F64, F64, I64, I64, I64, I64] = _build(
            self.corners.min(1), self.corners.max(1), self.corners.mean(1)
        )
        return built


@compiled
def _build(low: F64, high: F64, centre: F64) -> Any:
    """Boxes in depth-first order: the left child follows its parent, ``right`` names the other one."""
    count = len(low)
    order = np.arange(count)
    room = 2 * count + 1
    box_low, box_high = np.empty((room, 3)), np.empty((room, 3))
    right, first, held = np.full(room, -1), np.zeros(room, np.int64), np.zeros(room, np.int64)
    stack = np.empty((128, 3), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, count, -1
    top, nodes = 1, 0
    while top:
        top -= 1
        start, end, parent = stack[top, 0], stack[top, 1], stack[top, 2]
        node = nodes
        nodes += 1
        if parent >= 0:
            right[parent] = node
        widest, axis = -1.0, 0
        for k in range(3):
            a, b, c, d = np.inf, -np.inf, np.inf, -np.inf
            for i in range(start, end):
                t = order[i]
                a, b = min(a, low[t, k]), max(b, high[t, k])
                c, d = min(c, centre[t, k]), max(d, centre[t, k])
            box_low[node, k], box_high[node, k] = a, b
            if d - c > widest:
                widest, axis = d - c, k
        if end - start <= _LEAF:
            first[node], held[node] = start, end - start
            continue
        part = order[start:end].copy()
        order[start:end] = part[np.argsort(centre[part, axis], kind="mergesort")]
        middle = (start + end) // 2
        stack[top, 0], stack[top, 1], stack[top, 2] = middle, end, node
        stack[top + 1, 0], stack[top + 1, 1], stack[top + 1, 2] = start, middle, -1
        top += 2
    return box_low[:nodes], box_high[:nodes], right[:nodes], first[:nodes], held[:nodes], order


@compiled
def _box_gap(p: F64, low: F64, high: F64) -> float:
    """Squared distance from a point to a box, 0 inside."""
    gap = 0.0
    for k in range(3):
        d = max(low[k] - p[k], p[k] - high[k], 0.0)
        gap += d * d
    return gap


@compiled
def _on_triangle(p: F64, corners: F64, weight: F64) -> float:
    """Writes the closest point's barycentrics into ``weight``; returns the squared distance."""
    a, b, c = corners[0], corners[1], corners[2]
    best = np.inf
    ee, ef, ff, ge, gf = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(3):
        e, f, g = b[k] - a[k], c[k] - a[k], p[k] - a[k]
        ee += e * e
        ef += e * f
        ff += f * f
        ge += g * e
        gf += g * f
    det = ee * ff - ef * ef
    if det > 1e-12 * ee * ff:  # not a sliver without an inside
        v, w = (ff * ge - ef * gf) / det, (ee * gf - ef * ge) / det
        if v >= 0.0 and w >= 0.0 and v + w <= 1.0:
            weight[0], weight[1], weight[2] = 1.0 - v - w, v, w
            gap = 0.0
            for k in range(3):
                d = a[k] + v * (b[k] - a[k]) + w * (c[k] - a[k]) - p[k]
                gap += d * d
            return gap
    for side in range(3):
        i, j = side, (side + 1) % 3
        along, length = 0.0, 0.0
        for k in range(3):
            d = corners[j, k] - corners[i, k]
            along += (p[k] - corners[i, k]) * d
            length += d * d
        t = min(max(along / length, 0.0), 1.0) if length > 0.0 else 0.0
        gap = 0.0
        for k in range(3):
            d = corners[i, k] + t * (corners[j, k] - corners[i, k]) - p[k]
            gap += d * d
        if gap < best:
            best = gap
            weight[0], weight[1], weight[2] = 0.0, 0.0, 0.0
            weight[i] += 1.0 - t
            weight[j] += t
    return best


@compiled
def _search(
    points: F64, corners: F64, box_low: F64, box_high: F64, right: I64, first: I64, held: I64, order: I64
) -> Any:
    found = np.zeros(len(points), np.int64)
    weights = np.zeros((len(points), 3))
    weight = np.zeros(3)
    stack, gaps = np.empty(128, np.int64), np.empty(128)
    guess = 0
    for n in range(len(points)):
        p = points[n]
        # The last query's triangle is near this one's, as points of a mesh follow one another.
        best = _on_triangle(p, corners[guess], weight)
        found[n] = guess
        weights[n] = weight
        stack[0], gaps[0], top = 0, _box_gap(p, box_low[0], box_high[0]), 1
        while top:
            top -= 1
            if gaps[top] >= best:
                continue
            node = stack[top]
            if held[node]:
                for i in range(first[node], first[node] + held[node]):
                    gap = _on_triangle(p, corners[order[i]], weight)
                    if gap < best:
                        best = gap
                        found[n] = order[i]
                        weights[n] = weight
                continue
            near, far = node + 1, right[node]
            near_gap = _box_gap(p, box_low[near], box_high[near])
            far_gap = _box_gap(p, box_low[far], box_high[far])
            if far_gap < near_gap:
                near, far, near_gap, far_gap = far, near, far_gap, near_gap
            stack[top], gaps[top] = far, far_gap
            stack[top + 1], gaps[top + 1] = near, near_gap
            top += 2
        guess = found[n]
    return found, weights
