"""The truth's mesh: its arrays, and the checks that keep a broken scan from giving figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.regions import REGIONS

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

HEAD_SIZE_M = (0.05, 1.0)  # longest side of a face or a head with shoulders
_NON_MANIFOLD_SHARE = 0.001  # of the edges: a mouth that touches itself is no reason to refuse a scan


@dataclass(frozen=True)
class TruthMesh:
    """``truth/mesh.npz``, head space, metres."""

    triangles: I64  # (T, 3)
    vertices_head: F64 | None  # (V, 3) the photographed face
    vertices_neutral_head: F64 | None  # (V, 3) the same vertices without an expression
    is_skin: Mask  # (T,) triangles of the outer skin; the others are eyes, teeth, mouth
    uvs: F64 | None = None  # (U, 2)
    triangle_uvs: I64 | None = None  # (T, 3)
    regions: dict[str, Mask] = field(default_factory=dict)  # (V,) each of REGIONS that was painted

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> TruthMesh:
        """From the arrays of the file; what is absent stays None. Nothing is checked."""
        triangles = _as(arrays, "triangles", np.int64)
        triangles = np.zeros((0, 3), np.int64) if triangles is None else triangles
        skin = arrays.get("triangle_is_skin")
        return cls(
            triangles=triangles,
            vertices_head=_as(arrays, "vertices_head", np.float64),
            vertices_neutral_head=_as(arrays, "vertices_neutral_head", np.float64),
            is_skin=np.ones(len(triangles), bool) if skin is None else skin.astype(bool),
            uvs=_as(arrays, "uvs", np.float64),
            triangle_uvs=_as(arrays, "triangle_uvs", np.int64),
            regions={
                name: arrays[f"region_{name}"].astype(bool) for name in REGIONS if f"region_{name}" in arrays
            },
        )

    @property
    def any_vertices(self) -> F64:
        """The photographed vertices, or the neutral ones where only those are known."""
        found = self.vertices_head if self.vertices_head is not None else self.vertices_neutral_head
        return np.zeros((0, 3)) if found is None else found

    @property
    def skin_triangles(self) -> I64:
        """``(S, 3)`` triangles of the outer skin."""
        return self.triangles[self.is_skin]


def _as(arrays: dict[str, NDArray[Any]], name: str, kind: type[np.generic]) -> NDArray[Any] | None:
    return arrays[name].astype(kind) if name in arrays else None


def check_mesh(mesh: TruthMesh) -> str | None:
    """What makes ``mesh`` unusable, as the end of a sentence, or None."""
    vertices = mesh.any_vertices
    count = len(vertices)
    if count == 0:
        return "has neither vertices_head nor vertices_neutral_head"
    for name in ("vertices_head", "vertices_neutral_head"):
        own = getattr(mesh, name)
        if own is None:
            continue
        if own.ndim != 2 or own.shape[1] != 3:
            return f"has {name} of shape {own.shape}, not (V, 3)"
        bad = int((~np.isfinite(own)).any(1).sum())
        if bad:
            return f"has {bad} vertices that are NaN or infinite in {name}; repair the scan"
        if len(own) != count:
            return f"has {count} photographed and {len(own)} neutral vertices; they must be the same vertices"
    problem = _faces(mesh, count)
    if problem:
        return problem
    used = vertices[np.unique(mesh.skin_triangles)]
    size = float(np.ptp(used, axis=0).max())
    if not HEAD_SIZE_M[0] <= size <= HEAD_SIZE_M[1]:
        unit = "millimetres" if 50 <= size <= 1000 else "centimetres" if 5 <= size < 50 else "another unit"
        return f"is {size:.3g} m across; is it in {unit}? Scale it to metres"
    return None


def _faces(mesh: TruthMesh, count: int) -> str | None:
    triangles = mesh.triangles
    if triangles.ndim != 2 or triangles.shape[1] != 3 or len(triangles) == 0:
        return "has no triangles"
    if triangles.min() < 0 or triangles.max() >= count:
        return f"has triangles that name vertices beyond its {count}; another mesh's triangles?"
    if mesh.is_skin.shape != (len(triangles),):
        return f"has triangle_is_skin of length {len(mesh.is_skin)} for {len(triangles)} triangles"
    if not mesh.is_skin.any():
        return "has no triangle of skin"
    for name, mask in mesh.regions.items():
        if mask.shape != (count,):
            return f"has region_{name} of length {len(mask)} for {count} vertices"
    if (mesh.uvs is None) != (mesh.triangle_uvs is None):
        return "has uvs without triangle_uvs, or the other way round"
    if mesh.uvs is not None and mesh.triangle_uvs is not None:
        if mesh.triangle_uvs.shape != triangles.shape:
            return f"has triangle_uvs of shape {mesh.triangle_uvs.shape} for triangles of {triangles.shape}"
        if not np.isfinite(mesh.uvs).all():
            return "has UVs that are NaN or infinite"
        if mesh.triangle_uvs.min() < 0 or mesh.triangle_uvs.max() >= len(mesh.uvs):
            return f"has triangle_uvs that name UVs beyond its {len(mesh.uvs)}"
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1
    )
    _, shared = np.unique(edges, axis=0, return_counts=True)
    crowded = int((shared > 2).sum())
    if crowded > _NON_MANIFOLD_SHARE * len(shared):
        return f"is not a manifold: {crowded} edges have more than two triangles; repair the scan"
    return None
