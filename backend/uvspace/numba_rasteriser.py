"""The rasteriser that the pipeline uses on a CPU: compiled, z-buffered, in row bands over threads."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.uvspace.buffers import REACH_PX, SUBPIXELS, RasterBuffers
from backend.uvspace.kernels import compiled, in_bands
from backend.uvspace.lanes import LANES, NOTHING, claim_pixels

BAND_ROWS = 64  # of keys: half a megabyte at 1024 pixels, which a core's cache holds
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
        vertices, corners = _arrays(vertices_px, triangles)
        snapped, first_row, last_row = _prepare(vertices, corners, width, height, near)
        order, begin = _by_band(first_row, last_row, height)
        triangle = np.empty((height, width), np.int32)
        barycentric = np.empty((height, width, 3), np.float32)
        depth = np.empty((height, width), np.float32)
        # Each thread's keys of one band stay in its cache; only the results go through memory, once.
        spare: deque[NDArray[np.int64]] = deque()

        def draw(first_band: int, end_band: int) -> None:
            keys = spare.pop() if spare else _band_keys(width)
            for band in range(first_band, end_band):
                start, end = band * BAND_ROWS, min((band + 1) * BAND_ROWS, height)
                rows = order[begin[band] : begin[band + 1]]
                _draw(snapped, corners, first_row, last_row, rows, start, end, width, keys)
                _resolve(snapped, corners, keys, start, end, triangle, depth, barycentric)
            spare.append(keys)

        in_bands(draw, len(begin) - 1, least_rows=1)
        return RasterBuffers(triangle, barycentric, depth)


def nearest_depth(
    vertices_px: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    width: int,
    height: int,
    near: float = 1e-6,
) -> F32:
    """The depth ``(H, W)`` of ``NumbaRasteriser.rasterise`` alone, on the calling thread."""
    vertices, corners = _arrays(vertices_px, triangles)
    depth = np.empty((height, width), np.float32)
    _draw_depth(vertices, corners, near, _band_keys(width), depth)
    return depth


def _arrays(
    vertices_px: NDArray[np.floating[Any]], triangles: NDArray[np.int32]
) -> tuple[F64, NDArray[np.int32]]:
    return np.ascontiguousarray(vertices_px, np.float64), np.ascontiguousarray(triangles, np.int32)


def _band_keys(width: int) -> NDArray[np.int64]:
    return np.empty(BAND_ROWS * (width + LANES), np.int64)


@compiled
def _draw_depth(
    vertices_px: F64, corners: NDArray[np.int32], near: float, keys: NDArray[np.int64], depth: F32
) -> None:
    height, width = depth.shape
    snapped, first_row, last_row = _prepare(vertices_px, corners, width, height, near)
    order, begin = _by_band(first_row, last_row, height)
    for band in range(len(begin) - 1):
        start, end = band * BAND_ROWS, min((band + 1) * BAND_ROWS, height)
        rows = order[begin[band] : begin[band + 1]]
        _draw(snapped, corners, first_row, last_row, rows, start, end, width, keys)
        for y in range(start, end):
            row = (y - start) * (width + LANES)
            for x in range(width):
                depth[y, x] = np.float32(1.0) / np.int32(keys[row + x] >> 32).view(np.float32)


@compiled
def _prepare(
    vertices_px: F64, corners: NDArray[np.int32], width: int, height: int, near: float
) -> tuple[F64, NDArray[np.int32], NDArray[np.int32]]:
    """Snapped x, y and 1/z ``(V, 3)``, and the first and last image row of which each triangle may own a
    pixel; none where it must not be drawn. The same rules as ``buffers.snapped``."""
    snapped = np.empty((len(vertices_px), 3), np.float64)
    drawable = np.empty(len(vertices_px), np.bool_)
    for v in range(len(vertices_px)):
        x, y, z = vertices_px[v, 0], vertices_px[v, 1], vertices_px[v, 2]
        drawable[v] = abs(x) <= REACH_PX and abs(y) <= REACH_PX and z > near and z < np.inf
        snapped[v, 0] = np.round(x * SUBPIXELS) / SUBPIXELS if drawable[v] else 1.0
        snapped[v, 1] = np.round(y * SUBPIXELS) / SUBPIXELS if drawable[v] else 1.0
        snapped[v, 2] = 1.0 / z if drawable[v] else 1.0
    first = np.empty(len(corners), np.int32)
    last = np.empty(len(corners), np.int32)
    for t in range(len(corners)):
        a, b, c = corners[t, 0], corners[t, 1], corners[t, 2]
        first[t], last[t] = 1, 0
        if not (drawable[a] and drawable[b] and drawable[c]):
            continue
        left = min(snapped[a, 0], snapped[b, 0], snapped[c, 0])
        right = max(snapped[a, 0], snapped[b, 0], snapped[c, 0])
        if right < 0.5 or left > width - 0.5:
            continue
        top = min(snapped[a, 1], snapped[b, 1], snapped[c, 1])
        bottom = max(snapped[a, 1], snapped[b, 1], snapped[c, 1])
        first[t] = max(int(np.ceil(top - 0.5)), 0)
        # No centre at the very bottom is owned: it lies on a bottom edge or ends a right one.
        last[t] = min(int(np.ceil(bottom - 0.5)) - 1, height - 1)
    return snapped, first, last


@compiled
def _by_band(
    first_row: NDArray[np.int32], last_row: NDArray[np.int32], height: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Rows of the triangles that reach into each band of BAND_ROWS, in their order, band after band, and
    where each band's begin ``(bands + 1,)``."""
    begin = np.zeros(-(-height // BAND_ROWS) + 1, np.int64)
    for t in range(len(first_row)):
        if first_row[t] <= last_row[t]:
            for band in range(first_row[t] // BAND_ROWS, last_row[t] // BAND_ROWS + 1):
                begin[band + 1] += 1
    for band in range(len(begin) - 1):
        begin[band + 1] += begin[band]
    order = np.empty(begin[-1], np.int32)
    filled = begin[:-1].copy()
    for t in range(len(first_row)):
        if first_row[t] <= last_row[t]:
            for band in range(first_row[t] // BAND_ROWS, last_row[t] // BAND_ROWS + 1):
                order[filled[band]] = t
                filled[band] += 1
    return order, begin


@compiled
def _draw(
    snapped: F64,
    corners: NDArray[np.int32],
    first_row: NDArray[np.int32],
    last_row: NDArray[np.int32],
    triangles: NDArray[np.int32],
    start: int,
    end: int,
    width: int,
    keys: NDArray[np.int64],
) -> None:
    """Find the key of the nearest of ``triangles`` for each pixel of rows ``[start, end)``.

    A row of ``keys`` is LANES longer than one of the image, so that whole vectors may be written.
    """
    keys[:] = NOTHING
    for t in triangles:
        a, b, c = corners[t, 0], corners[t, 1], corners[t, 2]
        ax, ay = snapped[a, 0], snapped[a, 1]
        area = (snapped[b, 0] - ax) * (snapped[c, 1] - ay) - (snapped[b, 1] - ay) * (snapped[c, 0] - ax)
        if area == 0.0:
            continue
        wa, wb, wc = snapped[a, 2], snapped[b, 2] - snapped[a, 2], snapped[c, 2] - snapped[a, 2]
        # 1/z over the screen is a plane through the first corner.
        step_x = (wb * (snapped[c, 1] - ay) - wc * (snapped[b, 1] - ay)) / area
        step_y = (wc * (snapped[b, 0] - ax) - wb * (snapped[c, 0] - ax)) / area
        if area < 0.0:  # draw it from its other side
            b, c = c, b
        bx, by, cx, cy = snapped[b, 0], snapped[b, 1], snapped[c, 0], snapped[c, 1]
        x_least, x_most = min(ax, bx, cx), max(ax, bx, cx)
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
        for y in range(max(first_row[t], start), min(last_row[t], end - 1) + 1):
            py = y + 0.5
            low = max(left_x + left_slope * (py - left_y), left2_x + left2_slope * (py - left2_y))
            high = min(right_x + right_slope * (py - right_y), right2_x + right2_slope * (py - right2_y))
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
            first, last = max(first, 0), min(last, width - 1)
            row = wa + step_y * (py - ay)
            at = (y - start) * (width + LANES)
            for x in range(first, last + 1, LANES):
                claim_pixels(keys, at + x, last + 1 - x, x + 0.5, ax, row, step_x, t)


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
    snapped: F64,
    corners: NDArray[np.int32],
    keys: NDArray[np.int64],
    start: int,
    end: int,
    triangle: NDArray[np.int32],
    depth: F32,
    barycentric: F32,
) -> None:
    """Write what the keys of rows ``[start, end)`` say: ids, z, and the weights of what is visible."""
    bx = by = cx = cy = dxb = dyb = dxc = dyc = scale_a = scale_b = scale_c = area = 0.0
    current = -1
    width = triangle.shape[1]
    for y in range(start, end):
        py = y + 0.5
        row = (y - start) * (width + LANES)
        for x in range(width):
            key = keys[row + x]
            z = np.float32(1.0) / np.int32(key >> 32).view(np.float32)
            depth[y, x] = z
            if key == NOTHING:
                triangle[y, x] = -1
                barycentric[y, x, 0] = 0.0
                barycentric[y, x, 1] = 0.0
                barycentric[y, x, 2] = 0.0
                continue
            t = NOTHING - (key & NOTHING)
            triangle[y, x] = t
            if t != current:
                current = t
                a, b, c = corners[t, 0], corners[t, 1], corners[t, 2]
                bx, by, cx, cy = snapped[b, 0], snapped[b, 1], snapped[c, 0], snapped[c, 1]
                dxb, dyb = snapped[a, 0] - cx, snapped[a, 1] - cy
                dxc, dyc = bx - snapped[a, 0], by - snapped[a, 1]
                area = dxb * dyc - dyb * dxc
                inverse = 1.0 / area
                scale_a, scale_b, scale_c = (
                    snapped[a, 2] * inverse,
                    snapped[b, 2] * inverse,
                    snapped[c, 2] * inverse,
                )
            eb = dxb * (py - cy) - dyb * (x + 0.5 - cx)
            ec = dxc * (py - by) - dyc * (x + 0.5 - bx)
            barycentric[y, x, 0] = (area - eb - ec) * scale_a * z
            barycentric[y, x, 1] = eb * scale_b * z
            barycentric[y, x, 2] = ec * scale_c * z
