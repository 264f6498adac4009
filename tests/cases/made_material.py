"""Stand-ins for the shared data: material of the shipped head's own modes, a sphere with a chart."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backend.head.open_head import load_open_head
from synthdata.cases.morphs import CHART, Material
from synthdata.cases.subject import Subject
from synthdata.headmodel.heldout import Population


@lru_cache(maxsize=1)
def small_material() -> Material:
    head = load_open_head()
    rng = np.random.default_rng(3)
    basis = head.identity_basis
    coarse = 0.1 * rng.standard_normal((1, CHART // 16, CHART // 16, 3))
    details = np.repeat(coarse.repeat(16, 1).repeat(16, 2), 10, 0).astype(np.float16)
    shapes = 2.0 * basis[20:30]
    names = tuple(f"made-up {k}" for k in range(len(shapes)))
    return Material(Population(basis[:10], basis[10:20]), names, shapes, ("made up",) * 10, details)


def sphere(albedo: NDArray[np.float32], radius: float = 0.1, rows: int = 48) -> Subject:
    """A ball whose chart is latitude and longitude, matt, of colour ``albedo`` ``(S, S, 3)``."""
    columns = 2 * rows
    v, u = (np.arange(rows + 1) / rows)[:, None], (np.arange(columns + 1) / columns)[None]
    polar, around = np.pi * (1 - v), 2 * np.pi * (u - 0.25)
    points = radius * np.stack(
        [np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around, np.sin(polar) * np.cos(around)], -1
    )
    uv = np.stack([u + 0 * v, v + 0 * u], -1).reshape(-1, 2).astype(np.float32)
    index = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = (k.ravel() for k in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    corner = points.reshape(-1, 3)[triangles]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    triangles = triangles[area > 1e-12]
    size = len(albedo)
    return Subject(
        vertices_head=points.reshape(-1, 3).astype(np.float32),
        triangles=triangles,
        is_skin=np.ones(len(triangles), bool),
        uvs=uv,
        triangle_uvs=triangles,
        face=np.ones(len(uv), np.float32),
        albedo_linear=albedo,
        roughness=np.full((size, size), 0.6, np.float32),
        specular=np.zeros((size, size), np.float32),
    )
