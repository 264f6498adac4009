"""A bump of a head for tests: one symmetric grid of skin, all of it face, without inner parts."""

from __future__ import annotations

import numpy as np

from backend.head.base import ParametricHead
from backend.head.meshing import mirror_by_position, no_landmarks, triangulate


def small_head(cells: int = 12, size_m: float = 0.12) -> ParametricHead:
    """``(cells + 1)²`` vertices; ``half`` of it is ``mean_vertices[:, 0] ≥ 0``."""
    line = np.linspace(-size_m / 2, size_m / 2, cells + 1)
    x, y = np.meshgrid(line, line)
    z = 0.03 * np.exp(-(x**2 + y**2) / 0.03**2)
    vertices = np.stack([x.ravel(), y.ravel(), z.ravel()], 1).astype(np.float32)
    first = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    quads = np.stack([first, first + 1, first + cells + 2, first + cells + 1], 1).astype(np.int32)
    triangles, triangle_uvs, triangle_quad = triangulate(quads, quads)
    count = len(vertices)
    return ParametricHead(
        name="small",
        mean_vertices=vertices,
        quads=quads,
        quad_uvs=quads,
        quad_part=np.zeros(len(quads), np.uint8),
        part_names=("skin",),
        uvs=(vertices[:, :2] / size_m + 0.5).astype(np.float32),
        triangles=triangles,
        triangle_uvs=triangle_uvs,
        triangle_quad=triangle_quad,
        identity_basis=np.zeros((0, count, 3), np.float32),
        expression_names=("jawOpen",),
        expression_basis=np.where((vertices[:, 1:2] < -0.02), 0.01, 0.0)[None]
        .repeat(3, 2)
        .astype(np.float32),
        albedo_mean=np.full((count, 3), 0.4, np.float32),
        albedo_basis=np.zeros((0, count, 3), np.float32),
        mediapipe=no_landmarks(),
        mirror_vertex=mirror_by_position(vertices.astype(np.float64)),
        regions={"face": np.ones(count, np.float32), "lips": np.zeros(count, np.float32)},
        eye_centres=np.zeros((2, 3), np.float32),
        weights_file=None,
        weights_sha256=None,
        licence="test",
    )
