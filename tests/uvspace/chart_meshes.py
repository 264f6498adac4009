"""Small heads with known surfaces, for tests that need no shared data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import Camera
from backend.head.base import ParametricHead, SurfacePoints


def head_from_mesh(
    name: str,
    vertices: NDArray[np.floating[Any]],
    triangles: NDArray[np.integer[Any]],
    uvs: NDArray[np.floating[Any]],
    triangle_uvs: NDArray[np.integer[Any]],
    part: NDArray[np.integer[Any]] | None = None,
    part_names: tuple[str, ...] = ("skin",),
) -> ParametricHead:
    """A head without bases, whose faces are the triangles given."""
    padded = np.full((len(triangles), 1), -1)
    count = len(vertices)
    return ParametricHead(
        name=name,
        mean_vertices=np.asarray(vertices, np.float32),
        quads=np.concatenate([triangles, padded], 1).astype(np.int32),
        quad_uvs=np.concatenate([triangle_uvs, padded], 1).astype(np.int32),
        quad_part=np.zeros(len(triangles), np.uint8) if part is None else np.asarray(part, np.uint8),
        part_names=part_names,
        uvs=np.asarray(uvs, np.float32),
        triangles=np.asarray(triangles, np.int32),
        triangle_uvs=np.asarray(triangle_uvs, np.int32),
        triangle_quad=np.arange(len(triangles), dtype=np.int32),
        identity_basis=np.zeros((0, count, 3), np.float32),
        expression_names=(),
        expression_basis=np.zeros((0, count, 3), np.float32),
        albedo_mean=np.full((count, 3), 0.5, np.float32),
        albedo_basis=np.zeros((0, count, 3), np.float32),
        mediapipe=SurfacePoints(
            np.full(478, -1, np.int32), np.zeros((478, 3), np.float32), np.zeros(478, np.float32)
        ),
        mirror_vertex=np.arange(count, dtype=np.int32),
        regions={},
        eye_centres=np.zeros((2, 3), np.float32),
        weights_file=None,
        weights_sha256=None,
        licence="test",
    )


def lattice(
    rows: int, columns: int, wrap: bool = False
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Triangles, their UV rows and UVs of a grid, v falling with the row; ``wrap`` joins its sides."""
    r, c = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")

    def quads(width: int, wrapped: bool) -> NDArray[np.int64]:
        right = (c[:-1] + 1) % columns if wrapped else c[:-1] + 1
        a, b = r[:-1] * width + c[:-1], r[:-1] * width + right
        return np.stack([a, a + width, b + width, b], -1).reshape(-1, 4)

    def split(q: NDArray[np.int64]) -> NDArray[np.int32]:
        return np.stack([q[:, [0, 1, 2]], q[:, [0, 2, 3]]], 1).reshape(-1, 3).astype(np.int32)

    if not wrap:
        cells = (r[:-1, :-1] * columns + c[:-1, :-1]).ravel()
        quad = np.stack([cells, cells + columns, cells + columns + 1, cells + 1], -1)
        u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(1, 0, rows))
        return split(quad), split(quad), np.stack([u, v], -1).reshape(-1, 2)
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(1, 0, rows))
    return split(quads(columns, True)), split(quads(columns + 1, False)), np.stack([u, v], -1).reshape(-1, 2)


def cylinder(rows: int = 9, columns: int = 24, radius: float = 0.08, height: float = 0.2) -> ParametricHead:
    """An open tube around +Y whose UV seam runs down the back (−Z); u grows to the subject's left (+X)."""
    triangles, triangle_uvs, uvs = lattice(rows, columns, wrap=True)
    angle = (np.arange(columns) / columns) * 2 * np.pi - np.pi  # 0 faces +Z
    y = np.linspace(height / 2, -height / 2, rows)
    around = np.stack([np.sin(angle), np.zeros(columns), np.cos(angle)], -1) * radius
    vertices = (around[None] + y[:, None, None] * np.array([0, 1, 0])).reshape(-1, 3)
    return head_from_mesh("tube", vertices, triangles, 0.05 + 0.9 * uvs, triangle_uvs)


def sphere(rows: int = 33, columns: int = 64, radius: float = 0.1) -> ParametricHead:
    """A latitude-longitude sphere with its poles on ±Y and its UV seam at the back (−Z)."""
    triangles, triangle_uvs, uvs = lattice(rows, columns, wrap=True)
    longitude = (np.arange(columns) / columns) * 2 * np.pi - np.pi
    latitude = np.linspace(np.pi / 2, -np.pi / 2, rows)
    vertices = radius * np.stack(
        [
            np.cos(latitude)[:, None] * np.sin(longitude),
            np.broadcast_to(np.sin(latitude)[:, None], (rows, columns)),
            np.cos(latitude)[:, None] * np.cos(longitude),
        ],
        -1,
    ).reshape(-1, 3)
    p = vertices[triangles]
    area = np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1)
    kept = area > 1e-12  # half of each pole quad has no area
    return head_from_mesh("ball", vertices, triangles[kept], 0.02 + 0.96 * uvs, triangle_uvs[kept])


def front_camera(size: int = 400, focal_px: float = 900.0, distance: float = 0.6, yaw: float = 0.0) -> Camera:
    """A camera before the face, looking at the origin; ``yaw`` in degrees walks it towards +X."""
    a = np.radians(yaw)
    # Rows: camera right, down and forward in head space.
    rotation = np.array([[np.cos(a), 0, -np.sin(a)], [0, -1, 0], [-np.sin(a), 0, -np.cos(a)]])
    return Camera(
        focal_px=focal_px,
        principal_px=(size / 2, size / 2),
        width_px=size,
        height_px=size,
        world_to_camera=np.concatenate([rotation, [[0], [0], [distance]]], 1),
    )
