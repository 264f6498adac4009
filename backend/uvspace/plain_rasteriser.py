"""The rasteriser written for reading: numpy, one triangle at a time; the twin that tests trust."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.uvspace.buffers import RasterBuffers, snapped


class PlainRasteriser:
    """Bounding boxes and edge functions (Pineda 1988), with nothing done for speed."""

    name = "plain"

    def rasterise(
        self,
        vertices_px: NDArray[np.floating[Any]],
        triangles: NDArray[np.int32],
        width: int,
        height: int,
        near: float = 1e-6,
    ) -> RasterBuffers:
        """See ``Rasteriser.rasterise``."""
        xy, inverse_z, drawable = snapped(vertices_px, near)
        triangle = np.full((height, width), -1, np.int32)
        barycentric = np.zeros((height, width, 3), np.float32)
        nearness = np.zeros((height, width), np.float32)  # 1/z; 0 is infinitely far

        for t, corners in enumerate(triangles):
            if not drawable[corners].all():
                continue
            p = xy[corners]
            area = _edge(p[0], p[1], p[2][None, None])[0, 0]
            if area == 0:
                continue
            if area < 0:  # draw it from its other side
                p = p[[0, 2, 1]]
            x0, y0 = np.maximum(np.ceil(p.min(0) - 0.5), 0).astype(int)
            x1, y1 = np.minimum(np.floor(p.max(0) - 0.5), (width - 1, height - 1)).astype(int)
            if x1 < x0 or y1 < y0:
                continue
            centres = np.stack(np.meshgrid(np.arange(x0, x1 + 1) + 0.5, np.arange(y0, y1 + 1) + 0.5), -1)

            inside = np.ones(centres.shape[:2], bool)
            weights = np.empty((*centres.shape[:2], 3))
            for k in range(3):
                a, b = p[(k + 1) % 3], p[(k + 2) % 3]  # the edge facing corner k
                weights[..., k] = _edge(a, b, centres)
                inside &= (weights[..., k] > 0) | ((weights[..., k] == 0) & _is_top_or_left(a, b))
            if area < 0:
                weights = weights[..., [0, 2, 1]]
            weights *= inverse_z[corners] / abs(area)

            # 1/z is a plane over the screen, through the first corner.
            (ax, ay), (bx, by), (cx, cy) = xy[corners]
            wa, wb, wc = inverse_z[corners] - (0, inverse_z[corners[0]], inverse_z[corners[0]])
            step_x = (wb * (cy - ay) - wc * (by - ay)) / area
            step_y = (wc * (bx - ax) - wb * (cx - ax)) / area
            near_here = (wa + step_y * (centres[..., 1] - ay)) + step_x * (centres[..., 0] - ax)

            window = np.s_[y0 : y1 + 1, x0 : x1 + 1]
            wins = inside & (near_here.astype(np.float32) > nearness[window])
            triangle[window][wins] = t
            nearness[window][wins] = near_here[wins]
            barycentric[window][wins] = weights[wins] / weights[wins].sum(-1, keepdims=True)

        with np.errstate(divide="ignore"):
            return RasterBuffers(triangle, barycentric, np.float32(1) / nearness)


def _edge(a: F64, b: F64, points: F64) -> F64:
    """Twice the signed area of (a, b, point); positive where the point is on the inner side."""
    area: F64 = (b[0] - a[0]) * (points[..., 1] - a[1]) - (b[1] - a[1]) * (points[..., 0] - a[0])
    return area


def _is_top_or_left(a: F64, b: F64) -> bool:
    """Whether the edge a→b of a triangle of positive area owns the pixel centres that lie on it."""
    return bool(b[1] < a[1] or (b[1] == a[1] and b[0] > a[0]))
