"""What strands grow on and slide over: a surface, and roots sown on a head's skin. Head space, metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from backend.head.base import ParametricHead
from backend.uvspace.normals import vertex_normals

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
_NEAR_M = 0.03  # beyond it nothing is pushed


@dataclass(frozen=True)
class Ground:
    """A surface that nothing may enter."""

    points: F64  # (N, 3)
    normals: F64  # (N, 3) unit, outwards
    tree: Any  # cKDTree of the points

    def joined(self, points: F64, normals: F64) -> Ground:
        """With more surface, such as clothes."""
        every = np.concatenate([self.points, points])
        return Ground(every, np.concatenate([self.normals, normals]), cKDTree(every))

    def lifted(self, places: F64, clearance_m: F64 | float) -> tuple[F64, F64, NDArray[np.bool_]]:
        """``places`` ``(..., 3)`` moved out to the clearance, the normals below, and which were moved."""
        gap, near = self.tree.query(places, distance_upper_bound=_NEAR_M)
        near = np.minimum(near, len(self.points) - 1)
        out = self.normals[near]
        depth = ((places - self.points[near]) * out).sum(-1)
        short = np.where(np.isfinite(gap), np.maximum(clearance_m - depth, 0.0), 0.0)
        return places + short[..., None] * out, out, short > 0

    def drawn(self, places: F64, clearance_m: F64 | float, share: float) -> F64:
        """``places`` ``(N, 3)`` with ``share`` of what they stand off beyond the clearance taken back."""
        if share <= 0:
            return places
        gap, near = self.tree.query(places, distance_upper_bound=_NEAR_M)
        near = np.minimum(near, len(self.points) - 1)
        out = self.normals[near]
        depth = ((places - self.points[near]) * out).sum(-1)
        excess = np.where(np.isfinite(gap), np.maximum(depth - clearance_m, 0.0), 0.0)
        return np.asarray(places - share * excess[..., None] * out)


def skin_ground(head: ParametricHead, vertices: F32) -> Ground:
    """The head's own skin."""
    skin = head.triangles[head.triangle_part == 0]
    rows = np.unique(skin)
    points = vertices[rows].astype(np.float64)
    normals = vertex_normals(vertices, skin)[rows].astype(np.float64)
    return Ground(points, normals, cKDTree(points))


@dataclass(frozen=True)
class Roots:
    """Where strands begin."""

    place: F64  # (N, 3)
    normal: F64  # (N, 3)
    weight: F64  # (N,) of the region, in [0, 1]

    def __getitem__(self, which: NDArray[Any]) -> Roots:
        return Roots(self.place[which], self.normal[which], self.weight[which])

    def __len__(self) -> int:
        return len(self.place)


def sow(
    head: ParametricHead,
    vertices: F32,
    weight: NDArray[np.floating[Any]],
    count: int,
    rng: np.random.Generator,
) -> Roots:
    """``count`` roots on the skin, as dense as ``weight`` ``(V,)`` in [0, 1] says."""
    skin = head.triangles[head.triangle_part == 0]
    normals = vertex_normals(vertices, skin).astype(np.float64)
    corner = vertices.astype(np.float64)[skin]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    chance = area * np.asarray(weight, np.float64)[skin].mean(1)
    chosen = rng.choice(len(skin), count, p=chance / chance.sum())
    inner = rng.dirichlet((1, 1, 1), count)
    mean = np.einsum("nk,nkc->nc", inner, normals[skin[chosen]])
    return Roots(
        np.einsum("nk,nkc->nc", inner, corner[chosen]),
        unit(mean),
        np.einsum("nk,nk->n", inner, np.asarray(weight, np.float64)[skin[chosen]]),
    )


def unit(vectors: F64) -> F64:
    """Vectors ``(..., 3)`` of length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


def smoothstep(low: float, high: float, value: Any) -> F64:
    """0 below ``low``, 1 above ``high``; ``low`` may be the greater."""
    t = np.clip((np.asarray(value, np.float64) - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
