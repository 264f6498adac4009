"""Footprints composited tile by tile, and gradients back: compiled.

A tile's list names the footprints that touch it, nearest first. Every tile is worked on by one call, and
gradients are kept per entry of the lists until they are added up in order, so that the result does not depend
on how many threads there are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.gaussians.footprint_limits import FAINTEST, LEAST_LEFT, MOST_OPAQUE
from backend.uvspace.kernels import compiled

TILE_PX = 16
ENTRY = 9  # gradients of an entry: u, v, inverse covariance xx, xy, yy, opacity, red, green, blue

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


@compiled
def tiles_of(footprint: F32, width: int, height: int) -> tuple[int, int, int, int]:
    """First and end column and row of tiles that the footprint touches; empty where it is off the screen."""
    across, down = -(-width // TILE_PX), -(-height // TILE_PX)
    u, v, hx, hy = footprint[0], footprint[1], footprint[7], footprint[8]
    if not (u + hx > 0.0 and v + hy > 0.0 and u - hx < width and v - hy < height):
        return 0, 0, 0, 0
    left, top = math.floor(max(u - hx, 0.0) / TILE_PX), math.floor(max(v - hy, 0.0) / TILE_PX)
    right = min(math.floor(min(u + hx, float(width)) / TILE_PX) + 1, across)
    bottom = min(math.floor(min(v + hy, float(height)) / TILE_PX) + 1, down)
    return left, right, top, bottom


@compiled
def list_tiles(footprints: F32, order: I64, width: int, height: int) -> tuple[I64, I32]:
    """Where each tile's list begins ``(tiles + 1,)``, and the lists one after the other, in ``order``."""
    across, down = -(-width // TILE_PX), -(-height // TILE_PX)
    starts = np.zeros(across * down + 1, np.int64)
    for n in order:
        left, right, top, bottom = tiles_of(footprints[n], width, height)
        for row in range(top, bottom):
            for column in range(left, right):
                starts[row * across + column + 1] += 1
    for tile in range(across * down):
        starts[tile + 1] += starts[tile]
    filled = starts[:-1].copy()
    entries = np.empty(starts[-1], np.int32)
    for n in order:
        left, right, top, bottom = tiles_of(footprints[n], width, height)
        for row in range(top, bottom):
            for column in range(left, right):
                tile = row * across + column
                entries[filled[tile]] = n
                filled[tile] += 1
    return starts, entries


@compiled
def columns_of(footprint: F32, dy: float, x0: int, x1: int) -> tuple[int, int]:
    """First and end pixel of ``[x0, x1)`` that may lie in the footprint, ``dy`` below its centre."""
    a, b, c = float(footprint[2]), float(footprint[3]), float(footprint[4])
    under = b * b * dy * dy - a * (c * dy * dy - float(footprint[6]))
    if under < 0.0:
        return x0, x0
    middle, reach = float(footprint[0]) - 0.5 - b * dy / a, math.sqrt(under) / a
    first = max(x0, math.floor(middle - reach))
    end = min(x1, math.ceil(middle + reach) + 1)
    return first, end


@compiled
def composite(
    footprints: F32,
    colours: F32,
    starts: I64,
    entries: I32,
    width: int,
    height: int,
    first: int,
    end: int,
    picture: F32,
    left_over: F32,
    last: I32,
) -> None:
    """Draw tiles ``[first, end)``.

    Fills premultiplied colour and coverage ``picture`` ``(H, W, 4)``, the light that passes ``left_over``
    ``(H, W)``, and how many entries of its tile's list each pixel has seen ``last`` ``(H, W)``.
    """
    across = -(-width // TILE_PX)
    light = np.empty((TILE_PX, TILE_PX), np.float32)
    is_open = np.empty((TILE_PX, TILE_PX), np.bool_)
    for tile in range(first, end):
        x0, y0 = (tile % across) * TILE_PX, (tile // across) * TILE_PX
        x1, y1 = min(x0 + TILE_PX, width), min(y0 + TILE_PX, height)
        light[:] = 1.0
        is_open[:] = True
        still = (x1 - x0) * (y1 - y0)
        picture[y0:y1, x0:x1] = 0.0
        last[y0:y1, x0:x1] = 0
        for entry in range(starts[tile], starts[tile + 1]):
            n = entries[entry]
            here = footprints[n]
            u, v, a, b, c, opacity = here[0], here[1], here[2], here[3], here[4], here[5]
            red, green, blue = colours[n, 0], colours[n, 1], colours[n, 2]
            top = max(y0, math.floor(v - here[8] - np.float32(0.5)))
            bottom = min(y1, math.ceil(v + here[8] + np.float32(0.5)))
            for y in range(top, bottom):
                dy = np.float32(y) + np.float32(0.5) - v
                begin, stop = columns_of(here, dy, x0, x1)
                for x in range(begin, stop):
                    if not is_open[y - y0, x - x0]:
                        continue
                    dx = np.float32(x) + np.float32(0.5) - u
                    square = a * dx * dx + np.float32(2.0) * b * dx * dy + c * dy * dy
                    alpha = opacity * math.exp(np.float32(-0.5) * square)
                    if alpha < FAINTEST:
                        continue
                    alpha = min(alpha, np.float32(MOST_OPAQUE))
                    now = light[y - y0, x - x0]
                    after = now * (np.float32(1.0) - alpha)
                    if after < LEAST_LEFT:
                        is_open[y - y0, x - x0] = False
                        still -= 1
                        continue
                    weight = now * alpha
                    picture[y, x, 0] += weight * red
                    picture[y, x, 1] += weight * green
                    picture[y, x, 2] += weight * blue
                    light[y - y0, x - x0] = after
                    last[y, x] = entry - starts[tile] + 1
            if still == 0:
                break
        for y in range(y0, y1):
            for x in range(x0, x1):
                left_over[y, x] = light[y - y0, x - x0]
                picture[y, x, 3] = np.float32(1.0) - light[y - y0, x - x0]


@compiled
def composite_back(
    footprints: F32,
    colours: F32,
    starts: I64,
    entries: I32,
    width: int,
    height: int,
    first: int,
    end: int,
    left_over: F32,
    last: I32,
    given: F32,
    gradients: F32,
) -> None:
    """Gradients ``(entries, ENTRY)``, zero before, of tiles ``[first, end)`` from ``given`` ``(H, W, 4)``."""
    across = -(-width // TILE_PX)
    light = np.empty((TILE_PX, TILE_PX), np.float64)
    behind = np.empty((TILE_PX, TILE_PX), np.float64)  # what lies behind, as the picture's gradient weighs it
    for tile in range(first, end):
        x0, y0 = (tile % across) * TILE_PX, (tile // across) * TILE_PX
        x1, y1 = min(x0 + TILE_PX, width), min(y0 + TILE_PX, height)
        longest = 0
        for y in range(y0, y1):
            for x in range(x0, x1):
                light[y - y0, x - x0] = left_over[y, x]
                behind[y - y0, x - x0] = -given[y, x, 3] * left_over[y, x]
                longest = max(longest, last[y, x])
        for entry in range(starts[tile] + longest - 1, starts[tile] - 1, -1):
            n = entries[entry]
            here = footprints[n]
            u, v, a, b, c, opacity = here[0], here[1], here[2], here[3], here[4], here[5]
            red, green, blue = colours[n, 0], colours[n, 1], colours[n, 2]
            number = entry - starts[tile]
            top = max(y0, math.floor(v - here[8] - np.float32(0.5)))
            bottom = min(y1, math.ceil(v + here[8] + np.float32(0.5)))
            to_u = to_v = to_a = to_b = to_c = to_opacity = to_red = to_green = to_blue = 0.0
            for y in range(top, bottom):
                dy = np.float32(y) + np.float32(0.5) - v
                begin, stop = columns_of(here, dy, x0, x1)
                for x in range(begin, stop):
                    if last[y, x] <= number:
                        continue
                    dx = np.float32(x) + np.float32(0.5) - u
                    square = a * dx * dx + np.float32(2.0) * b * dx * dy + c * dy * dy
                    fall = math.exp(np.float32(-0.5) * square)
                    alpha = opacity * fall
                    if alpha < FAINTEST:
                        continue
                    is_clamped = alpha > MOST_OPAQUE
                    alpha = min(alpha, np.float32(MOST_OPAQUE))
                    passes = 1.0 - alpha
                    now = light[y - y0, x - x0] / passes
                    light[y - y0, x - x0] = now
                    weight = now * alpha
                    g0, g1, g2 = given[y, x, 0], given[y, x, 1], given[y, x, 2]
                    to_red += weight * g0
                    to_green += weight * g1
                    to_blue += weight * g2
                    shown = g0 * red + g1 * green + g2 * blue
                    to_alpha = now * shown - behind[y - y0, x - x0] / passes
                    behind[y - y0, x - x0] += weight * shown
                    if is_clamped:
                        continue
                    to_opacity += to_alpha * fall
                    to_square = -0.5 * to_alpha * alpha
                    to_a += to_square * dx * dx
                    to_b += to_square * 2.0 * dx * dy
                    to_c += to_square * dy * dy
                    to_u -= to_square * 2.0 * (a * dx + b * dy)
                    to_v -= to_square * 2.0 * (b * dx + c * dy)
            out = gradients[entry]
            out[0], out[1], out[2], out[3], out[4] = to_u, to_v, to_a, to_b, to_c
            out[5], out[6], out[7], out[8] = to_opacity, to_red, to_green, to_blue


@compiled
def add_entries(entries: I32, gradients: F32, total: F64) -> None:
    """Add every entry's gradients ``(entries, ENTRY)`` to its Gaussian's row of ``total`` ``(N, ENTRY)``."""
    for entry in range(len(entries)):
        n = entries[entry]
        for k in range(gradients.shape[1]):
            total[n, k] += gradients[entry, k]
