"""What every rasteriser takes and gives back, so that one can stand in for another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.uvspace.kernels import compiled, in_bands

# Vertices are snapped to this fraction of a pixel. Within REACH_PX of the image's origin every edge
# function is then an integer below 2^53 units, so double precision evaluates it without rounding:
# neighbours sharing an edge agree exactly on every pixel, which is what makes meshes watertight.
SUBPIXELS = 2048.0
REACH_PX = 16384.0


@dataclass(frozen=True)
class RasterBuffers:
    """What covers each pixel, ``H×W``, top row first; pixel ``[r, c]`` is sampled at (c + 0.5, r + 0.5)."""

    triangle: NDArray[np.int32]  # (H, W) row of the triangle array, −1 where nothing covers the pixel
    barycentric: F32  # (H, W, 3) perspective-correct weights of the triangle's corners, 0 where uncovered
    depth: F32  # (H, W) z of the nearest surface in the unit of the input, inf where uncovered

    @property
    def covered(self) -> NDArray[np.bool_]:
        """(H, W) whether any triangle covers the pixel."""
        covered: NDArray[np.bool_] = self.triangle >= 0
        return covered

    def interpolate(self, values: NDArray[np.floating[Any]], corners: NDArray[np.int32]) -> F32:
        """Vertex ``values`` ``(V, C)`` at every pixel, ``(H, W, C)``; 0 where uncovered.

        ``corners`` ``(T, 3)`` are the rows of ``values`` at each triangle's corners.
        """
        flat = interpolate_at(self.triangle.reshape(-1), self.barycentric.reshape(-1, 3), values, corners)
        return flat.reshape(*self.triangle.shape, -1)


def interpolate_at(
    triangle: NDArray[np.int32],
    barycentric: F32,
    values: NDArray[np.floating[Any]],
    corners: NDArray[np.int32],
) -> F32:
    """Vertex ``values`` ``(V, C)`` at ``N`` surface points given by triangle ``(N,)`` and weights ``(N, 3)``.

    ``corners`` ``(T, 3)`` are rows of ``values``. ``(N, C)``; 0 where ``triangle`` is −1.
    """
    data = np.ascontiguousarray(values, np.float32)
    rows = np.ascontiguousarray(corners, np.int32)
    out = np.empty((len(triangle), data.shape[1]), np.float32)
    in_bands(
        lambda start, end: _interpolate(triangle, barycentric, data, rows, start, end, out),
        len(out),
        least_rows=8192,
    )
    return out


@compiled
def _interpolate(
    triangle: NDArray[np.int32],
    barycentric: F32,
    values: F32,
    corners: NDArray[np.int32],
    start: int,
    end: int,
    out: F32,
) -> None:
    for n in range(start, end):
        t = triangle[n]
        if t < 0:
            out[n] = 0.0
            continue
        a, b, c = corners[t, 0], corners[t, 1], corners[t, 2]
        wa, wb, wc = barycentric[n, 0], barycentric[n, 1], barycentric[n, 2]
        for channel in range(values.shape[1]):
            out[n, channel] = wa * values[a, channel] + wb * values[b, channel] + wc * values[c, channel]


class Rasteriser(Protocol):
    """Triangles in pixel space to ids, weights and depth.

    Rules that every implementation on the CPU keeps to the bit, and tests hold it to:

    * a pixel belongs to a triangle that holds its centre; on an edge the top-left rule decides, so an
      edge shared by two triangles is covered exactly once;
    * the nearest surface wins; at equal depth (float32 of 1/z) the triangle listed first wins;
    * both windings are drawn; triangles without area are not;
    * a triangle with a corner at ``z <= near``, not finite, or farther than REACH_PX from the image's
      origin is dropped whole, not clipped: heads stand in front of their camera.
    """

    @property
    def name(self) -> str:
        """Short name for reports."""
        ...

    def rasterise(
        self,
        vertices_px: NDArray[np.floating[Any]],
        triangles: NDArray[np.int32],
        width: int,
        height: int,
        near: float = 1e-6,
    ) -> RasterBuffers:
        """Draw ``triangles`` ``(T, 3)`` over ``vertices_px`` ``(V, 3)``: x, y in pixels and depth z > 0."""
        ...


def snapped(vertices_px: NDArray[np.floating[Any]], near: float) -> tuple[F64, F64, NDArray[np.bool_]]:
    """Snapped pixel positions ``(V, 2)``, 1/z ``(V,)`` and which vertices may be drawn ``(V,)``."""
    vertices = np.asarray(vertices_px, np.float64)
    with np.errstate(invalid="ignore"):
        drawable: NDArray[np.bool_] = (
            np.isfinite(vertices).all(1)
            & (vertices[:, 2] > near)
            & (np.abs(vertices[:, :2]) <= REACH_PX).all(1)
        )
    safe = np.where(drawable[:, None], vertices, 1.0)
    return np.round(safe[:, :2] * SUBPIXELS) / SUBPIXELS, 1.0 / safe[:, 2], drawable
