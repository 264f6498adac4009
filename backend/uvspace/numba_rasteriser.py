"""The rasteriser that the pipeline uses on a CPU: compiled, z-buffered, in row bands over threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.uvspace.buffers import REACH_PX, SUBPIXELS, RasterBuffers
from backend.uvspace.kernels import compiled, in_bands

# The ends of a row's span are good to 1e-11 px; centres this close to one are decided exactly.
SLACK = 1e-6
WIDER, NARROWER = 0.5 + SLACK, 0.5 - SLACK


class NumbaRasteriser:
    """Edge functions over scanline spans; ids and depth are ``PlainRasteriser``'s to the bit."""

    name = "numba"

    def rasterise(
        self,
        vertices_px: NDArray[np.floating[Any]],
        triangles: NDArray[np.int32],
        width: int,
        height: int,
        near: float = 1e-6,
    ) -> RasterBuffers:
        """See ``Rasteriser.rasterise``."""
        corners = np.ascontiguousarray(triangles, np.int32)
        vertices = np.ascontiguousarray(vertices_px, np.float64)
        xy, inverse_z, first_row, last_row = _prepare(vertices, corners, near)
        triangle = np.empty((height, width), np.int32)
        barycentric = np.empty((height, width, 3), np.float32)
        depth = np.empty((height, width), np.float32)

        def band(start: int, end: int) -> None:
            _draw(xy, inverse_z, corners, first_row, last_row, start, end, triangle, depth)
            _resolve(xy, inverse_z, corners, start, end, triangle, depth, barycentric)

        in_bands(band, height)
        return RasterBuffers(triangle, barycentric, depth)


@compiled
def _prepare(
    vertices_px: F64, corners: NDArray[np.int32], near: float
) -> tuple[F64, F64, NDArray[np.int32], NDArray[np.int32]]:
    """Snapped positions, 1/z, and the first and last image row whose centre each triangle spans.

    The span is empty where the triangle must not be drawn; the same rules as ``buffers.snapped``.
    """
    xy = np.empty((len(vertices_px), 2), np.float64)
    inverse_z = np.empty(len(vertices_px), np.float64)
    drawable = np.empty(len(vertices_px), np.bool_)
    for v in range(len(vertices_px)):
        x, y, z = vertices_px[v, 0], vertices_px[v, 1], vertices_px[v, 2]
        drawable[v] = abs(x) <= REACH_PX and abs(y) <= REACH_PX and z > near and z < np.inf
        xy[v, 0] = np.round(x * SUBPIXELS) / SUBPIXELS if drawable[v] else 1.0
        xy[v, 1] = np.round(y * SUBPIXELS) / SUBPIXELS if drawable[v] else 1.0
        inverse_z[v] = 1.0 / z if drawable[v] else 1.0
    first = np.empty(len(corners), np.int32)
    last = np.empty(len(corners), np.int32)
    for t in range(len(corners)):
        a, b, c = corners[t, 0], corners[t, 1], corners[t, 2]
        if drawable[a] and drawable[b] and drawable[c]:
            first[t] = int(np.ceil(min(xy[a, 1], xy[b, 1], xy[c, 1]) - 0.5))
            last[t] = int(np.floor(max(xy[a, 1], xy[b, 1], xy[c, 1]) - 0.5))
        else:
            first[t], last[t] = 1, 0
    return xy, inverse_z, first, last


@compiled
def _draw(
    xy: F64,
    inverse_z: F64,
    corners: NDArray[np.int32],
    first_row: NDArray[np.int32],
    last_row: NDArray[np.int32],
    start: int,
    end: int,
    triangle: NDArray[np.int32],
    nearness: F32,
) -> None:
    """Find the nearest triangle, and its 1/z, for each pixel of rows ``[start, end)``."""
    width = triangle.shape[1]
    triangle[start:end] = -1
    nearness[start:end] = 0.0
    for t in range(len(corners)):
        y0, y1 = max(first_row[t], start), min(last_row[t], end - 1)
        if y0 > y1:
            continue
        a, b, c = corners[t, 0], corners[t, 1], corners[t, 2]
        ax, ay = xy[a, 0], xy[a, 1]
        area = (xy[b, 0] - ax) * (xy[c, 1] - ay) - (xy[b, 1] - ay) * (xy[c, 0] - ax)
        if area == 0.0:
            continue
        wa, wb, wc = inverse_z[a], inverse_z[b] - inverse_z[a], inverse_z[c] - inverse_z[a]
        # 1/z over the screen is a plane through the first corner.
        step_x = (wb * (xy[c, 1] - ay) - wc * (xy[b, 1] - ay)) / area
        step_y = (wc * (xy[b, 0] - ax) - wb * (xy[c, 0] - ax)) / area
        if area < 0.0:  # draw it from its other side
            b, c = c, b
        bx, by, cx, cy = xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
        x_least, x_most = min(ax, bx, cx), max(ax, bx, cx)
        if x_most < 0.5 or x_least > width - 0.5:
            continue
        # Edges by the corner they face; dx, dy along the edge, the inner side where the function is positive.
        dxa, dya, dxb, dyb, dxc, dyc = cx - bx, cy - by, ax - cx, ay - cy, bx - ax, by - ay
        # Each row lies between the left and the right edges; a triangle has one or two of each.
        left_x, left_y, left_slope, left2_x, left2_y, left2_slope = x_least, 0.0, 0.0, x_least, 0.0, 0.0
        right_x, right_y, right_slope, right2_x, right2_y, right2_slope = x_most, 0.0, 0.0, x_most, 0.0, 0.0
        if dya < 0.0:
            left_x, left_y, left_slope = bx, by, dxa / dya
        elif dya > 0.0:
            right_x, right_y, right_slope = bx, by, dxa / dya
        if dyb < 0.0:
            left2_x, left2_y, left2_slope = left_x, left_y, left_slope
            left_x, left_y, left_slope = cx, cy, dxb / dyb
        elif dyb > 0.0:
            right2_x, right2_y, right2_slope = right_x, right_y, right_slope
            right_x, right_y, right_slope = cx, cy, dxb / dyb
        if dyc < 0.0:
            left2_x, left2_y, left2_slope = left_x, left_y, left_slope
            left_x, left_y, left_slope = ax, ay, dxc / dyc
        elif dyc > 0.0:
            right2_x, right2_y, right2_slope = right_x, right_y, right_slope
            right_x, right_y, right_slope = ax, ay, dxc / dyc
        for y in range(y0, y1 + 1):
            py = y + 0.5
            low = max(left_x + left_slope * (py - left_y), left2_x + left2_slope * (py - left2_y))
            high = min(right_x + right_slope * (py - right_y), right2_x + right2_slope * (py - right2_y))
            # Bottom edges own no centre on them (the row test has kept the top ones).
            if (
                (dya == 0.0 and py == by and dxa < 0.0)
                or (dyb == 0.0 and py == cy and dxb < 0.0)
                or (dyc == 0.0 and py == ay and dxc < 0.0)
            ):
                continue
            first, last = int(np.ceil(low - WIDER)), int(np.floor(high - NARROWER))
            if first - low < SLACK - 0.5 or high - last < SLACK + 0.5:
                # A centre within a millionth of a pixel of an edge: ask the exact edge functions.
                while first <= last and not _owns(
                    dxa, dya, bx, by, dxb, dyb, cx, cy, dxc, dyc, ax, ay, first + 0.5, py
                ):
                    first += 1
                while first <= last and not _owns(
                    dxa, dya, bx, by, dxb, dyb, cx, cy, dxc, dyc, ax, ay, last + 0.5, py
                ):
                    last -= 1
            row = wa + step_y * (py - ay)
            for x in range(max(first, 0), min(last, width - 1) + 1):
                near = np.float32(row + step_x * (x + 0.5 - ax))
                # Stored either way: which surface wins is hard to predict, a branch here costs more.
                wins = near > nearness[y, x]
                nearness[y, x] = near if wins else nearness[y, x]
                triangle[y, x] = t if wins else triangle[y, x]


@compiled
def _owns(
    dxa: float,
    dya: float,
    bx: float,
    by: float,
    dxb: float,
    dyb: float,
    cx: float,
    cy: float,
    dxc: float,
    dyc: float,
    ax: float,
    ay: float,
    px: float,
    py: float,
) -> bool:
    """Whether the point is inside all three edges or on top-left ones; exact for snapped vertices."""
    ea = dxa * (py - by) - dya * (px - bx)
    eb = dxb * (py - cy) - dyb * (px - cx)
    ec = dxc * (py - ay) - dyc * (px - ax)
    return (
        (ea > 0.0 or (ea == 0.0 and (dya < 0.0 or (dya == 0.0 and dxa > 0.0))))
        and (eb > 0.0 or (eb == 0.0 and (dyb < 0.0 or (dyb == 0.0 and dxb > 0.0))))
        and (ec > 0.0 or (ec == 0.0 and (dyc < 0.0 or (dyc == 0.0 and dxc > 0.0))))
    )


@compiled
def _resolve(
    xy: F64,
    inverse_z: F64,
    corners: NDArray[np.int32],
    start: int,
    end: int,
    triangle: NDArray[np.int32],
    depth: F32,
    barycentric: F32,
) -> None:
    """Turn 1/z into z, and write each pixel's weights, once what is visible is known."""
    bx = by = cx = cy = dxb = dyb = dxc = dyc = scale_a = scale_b = scale_c = area = 0.0
    current = -1
    for y in range(start, end):
        py = y + 0.5
        for x in range(triangle.shape[1]):
            t = triangle[y, x]
            z = np.float32(1.0) / depth[y, x]
            depth[y, x] = z
            if t < 0:
                barycentric[y, x, 0] = 0.0
                barycentric[y, x, 1] = 0.0
                barycentric[y, x, 2] = 0.0
                continue
            if t != current:
                current = t
                a, b, c = corners[t, 0], corners[t, 1], corners[t, 2]
                bx, by, cx, cy = xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
                dxb, dyb = xy[a, 0] - cx, xy[a, 1] - cy
                dxc, dyc = bx - xy[a, 0], by - xy[a, 1]
                area = dxb * dyc - dyb * dxc
                scale_a, scale_b, scale_c = inverse_z[a] / area, inverse_z[b] / area, inverse_z[c] / area
            eb = dxb * (py - cy) - dyb * (x + 0.5 - cx)
            ec = dxc * (py - by) - dyc * (x + 0.5 - bx)
            barycentric[y, x, 0] = (area - eb - ec) * scale_a * z
            barycentric[y, x, 1] = eb * scale_b * z
            barycentric[y, x, 2] = ec * scale_c * z
