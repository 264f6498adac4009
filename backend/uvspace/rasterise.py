"""Rasterising heads: what a camera sees, and a UV chart's texels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera
from backend.uvspace.buffers import RasterBuffers, Rasteriser
from backend.uvspace.numba_rasteriser import NumbaRasteriser, nearest_depth
from backend.uvspace.nvdiffrast_rasteriser import NvdiffrastRasteriser
from backend.uvspace.plain_rasteriser import PlainRasteriser

__all__ = [
    "NumbaRasteriser",
    "NvdiffrastRasteriser",
    "PlainRasteriser",
    "RasterBuffers",
    "Rasteriser",
    "camera_depth",
    "cropped_camera",
    "rasterise_camera",
    "rasterise_chart",
    "uv_to_px",
]

NEAR_M = 0.01  # nothing of a head is this close to the camera that photographs it


def cropped_camera(
    camera: Camera, x0: float, y0: float, width_px: int, height_px: int, scale: float = 1.0
) -> Camera:
    """The camera whose picture is the window from (x0, y0) of ``camera``'s, enlarged by ``scale``.

    ``width_px`` and ``height_px`` are those of the new picture.
    """
    cx, cy = camera.principal_px
    return replace(
        camera,
        focal_px=camera.focal_px * scale,
        principal_px=((cx - x0) * scale, (cy - y0) * scale),
        width_px=width_px,
        height_px=height_px,
    )


def rasterise_camera(
    vertices_head: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    camera: Camera,
    rasteriser: Rasteriser | None = None,
) -> RasterBuffers:
    """What ``camera`` sees of a mesh: ``vertices_head`` ``(V, 3)`` metres, ``triangles`` ``(T, 3)``.

    Depth is camera-space z in metres. Triangles that reach within 1 cm of the camera are dropped.
    """
    pixels, depth = _project_in_front(vertices_head, camera)
    return (rasteriser or NumbaRasteriser()).rasterise(
        np.concatenate([pixels, depth[:, None]], 1), triangles, camera.width_px, camera.height_px, NEAR_M
    )


def camera_depth(
    vertices_head: NDArray[np.floating[Any]], triangles: NDArray[np.int32], camera: Camera
) -> F32:
    """The depth ``(H, W)`` of ``rasterise_camera`` alone: metres, inf beside the mesh."""
    pixels, depth = _project_in_front(vertices_head, camera)
    vertices = np.concatenate([pixels, depth[:, None]], 1)
    return nearest_depth(vertices, triangles, camera.width_px, camera.height_px, NEAR_M)


def _project_in_front(
    vertices_head: NDArray[np.floating[Any]], camera: Camera
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``Camera.project`` without division by a depth of zero (such vertices are dropped later)."""
    p = camera.to_camera(vertices_head)
    z = np.where(np.abs(p[:, 2]) > 1e-9, p[:, 2], 1e-9)
    return camera.focal_px * p[:, :2] / z[:, None] + np.asarray(camera.principal_px), p[:, 2]


def uv_to_px(uv: NDArray[np.floating[Any]], size: int) -> NDArray[np.float64]:
    """Chart positions ``(..., 2)`` in texels, x right and y down, of ``uv`` with its origin bottom-left."""
    uv64 = np.asarray(uv, np.float64)
    return np.stack([uv64[..., 0] * size, (1 - uv64[..., 1]) * size], -1)


def rasterise_chart(
    uvs: NDArray[np.floating[Any]],
    triangle_uvs: NDArray[np.int32],
    size: int,
    triangles: NDArray[np.integer[Any]] | None = None,
    rasteriser: Rasteriser | None = None,
) -> RasterBuffers:
    """Which triangle owns each texel of a ``size×size`` chart; weights are affine in UV.

    ``uvs`` ``(U, 2)`` in [0, 1], ``triangle_uvs`` ``(T, 3)``; ``triangles`` picks the rows to draw (all when
    None), ids stay rows of ``triangle_uvs``. Where charts overlap the triangle listed first wins.
    Depth is 1 inside the chart.
    """
    chosen = np.arange(len(triangle_uvs)) if triangles is None else np.asarray(triangles, np.int64)
    flat = np.concatenate([uv_to_px(uvs, size), np.ones((len(uvs), 1))], 1)
    drawn = (rasteriser or NumbaRasteriser()).rasterise(flat, triangle_uvs[chosen], size, size)
    ids = np.full_like(drawn.triangle, -1)
    ids[drawn.covered] = chosen[drawn.triangle[drawn.covered]]
    return RasterBuffers(ids, drawn.barycentric, drawn.depth)
