"""How a head shadows itself: light transfer of the nine SH functions per vertex (Sloan et al. 2002)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.head.base import ParametricHead
from backend.shading import sh
from backend.uvspace.kernels import in_bands
from backend.uvspace.numba_rasteriser import nearest_depth

DIRECTIONS = 48
DEPTH_MAP = 160  # pixels a side: about 2 mm on a head
_BIAS_M = 0.004
_FAR_M = 50.0  # so far that the rasteriser's perspective interpolation of depth is affine


def vertex_normals(vertices: NDArray[np.floating[Any]], triangles: NDArray[np.int32]) -> F64:
    """Area-weighted unit normals ``(V, 3)``; +Z where a vertex has no triangle."""
    points = np.asarray(vertices, np.float64)
    corner = points[triangles]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal = np.zeros_like(points)
    for k in range(3):
        for axis in range(3):
            normal[:, axis] += np.bincount(triangles[:, k], cross[:, axis], len(points))
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    return np.where(length > 1e-12, normal / np.maximum(length, 1e-12), [0.0, 0.0, 1.0])


def sphere_directions(count: int = DIRECTIONS) -> F64:
    """``count`` nearly even unit directions ``(D, 3)`` (spherical Fibonacci, Keinert et al. 2015)."""
    i = np.arange(count) + 0.5
    y = 1 - 2 * i / count
    radius = np.sqrt(1 - y * y)
    angle = np.pi * (1 + 5**0.5) * i
    return np.stack([radius * np.cos(angle), y, radius * np.sin(angle)], -1)


def blocked(
    vertices: NDArray[np.floating[Any]], triangles: NDArray[np.int32], direction: NDArray[np.floating[Any]]
) -> F64:
    """Share in [0, 1] ``(V,)`` of a small disc around each vertex that a surface nearer to the light hides.

    ``direction`` ``(3,)`` points to the light, which is infinitely far.
    """
    z = np.asarray(direction, np.float64)
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    frame = np.stack([x, np.cross(z, x), -z])  # −z: depth grows away from the light
    local = np.asarray(vertices, np.float64) @ frame.T
    low, high = local[:, :2].min(0), local[:, :2].max(0)
    scale = (DEPTH_MAP - 4) / float((high - low).max())
    pixel = (local[:, :2] - low) * scale + 2
    depth = local[:, 2] - local[:, 2].min() + _FAR_M
    near = nearest_depth(np.concatenate([pixel, depth[:, None]], 1), triangles, DEPTH_MAP, DEPTH_MAP)
    row, column = pixel[:, 1].astype(np.int64), pixel[:, 0].astype(np.int64)
    hidden = np.zeros(len(local))
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            other = near[np.clip(row + dr, 0, DEPTH_MAP - 1), np.clip(column + dc, 0, DEPTH_MAP - 1)].astype(
                np.float64
            )
            hidden += np.clip((depth - other - _BIAS_M) / _BIAS_M, 0, 1)
    return hidden / 9


def shadowed_transfer(head: ParametricHead, vertices: NDArray[np.floating[Any]]) -> tuple[F64, F64]:
    """Transfer ``(V, 9)`` and ambient visibility ``(V,)`` in [0, 1] of the skin.

    ``transfer @ radiance_sh`` is the irradiance with self-shadowing; without occluders it equals
    ``sh.irradiance``. Only what is hidden is integrated numerically.
    """
    skin = head.triangles[head.triangle_part == 0]
    normal = vertex_normals(vertices, skin)
    transfer = sh.basis(normal) * sh.COSINE_LOBE
    hidden_cosine = np.zeros(len(normal))
    directions = sphere_directions()
    weight = 4 * np.pi / len(directions)
    hidden = np.empty((len(directions), len(normal)))

    def band(start: int, end: int) -> None:
        for k in range(start, end):
            hidden[k] = blocked(vertices, skin, directions[k])

    in_bands(band, len(directions), least_rows=1)
    for direction, functions, share in zip(directions, sh.basis(directions), hidden, strict=True):
        lost = weight * np.maximum(normal @ direction, 0) * share
        transfer -= lost[:, None] * functions
        hidden_cosine += lost
    return transfer, np.clip(1 - hidden_cosine / np.pi, 0.0, 1.0)
