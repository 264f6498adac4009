"""Skin's own fine relief, which no portrait resolves: pores, the furrows between them, lip lines.

Cells in head space (Worley 1996) place it: a pore is a pit at a cell's point, furrows run where two
points are equally near, as in the polygons of skin's surface. Heights are scaled so that each part has a
known root-mean-square slope; the same on both sides of a chart seam, even in metres.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps
from backend.texture.noise import gradient_noise, lattice_hash
from backend.uvspace.kernels import compiled, in_bands

SPACING_M = 0.0010  # of pores; a pit is about a quarter of it wide
_TEXELS_PER_CELL = 3.2  # a map with wider texels than this share of a cell would alias
_LIP_LINE_M = 0.0013  # across the lines; along them five times as long
# Height, in spacings, of the parts together for a slope of root mean square 1, over the square root of
# texels per cell: furrows are sharp, so a finer map shows more of their slope. Measured on planes cut
# through the cells, central differences, 3 to 12 texels a cell.
_HEIGHT_PER_SLOPE = 7.8
_LIP_HEIGHT_PER_SLOPE = 2.3
_NEAR_FIRST = (0, -1, 1)


@compiled
def _cells(x: float, y: float, z: float, seed: int) -> tuple[float, float]:
    """Distances to the nearest and the second nearest of one random point per unit cell."""
    ix, iy, iz = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    first, second = 9.0, 9.0
    for a in range(3):  # a cell's own layer first: what it holds rules most others out
        i = ix + _NEAR_FIRST[a]
        off_x = _beyond(x, i)
        for b in range(3):
            j = iy + _NEAR_FIRST[b]
            off_y = off_x + _beyond(y, j)
            for c in range(3):
                k = iz + _NEAR_FIRST[c]
                if off_y + _beyond(z, k) >= second:
                    continue
                h = int(lattice_hash(i, j, k, seed))
                px = i + ((h & 1023) + 0.5) / 1024 - x
                py = j + (((h >> 10) & 1023) + 0.5) / 1024 - y
                pz = k + (((h >> 20) & 1023) + 0.5) / 1024 - z
                d = px * px + py * py + pz * pz
                if d < first:
                    first, second = d, first
                elif d < second:
                    second = d
    return np.sqrt(first), np.sqrt(second)


@compiled
def _beyond(x: float, cell: int) -> float:
    """Square of the distance from ``x`` to the interval [cell, cell + 1]."""
    gap = max(cell - x, x - cell - 1.0, 0.0)
    return gap * gap


@compiled
def _press(
    height: NDArray[np.float32],
    slope: NDArray[np.float32],
    position: NDArray[np.float32],
    face_id: NDArray[np.int32],
    spacing: float,
    height_per_slope: float,
    lip_spacing: float,
    seed: int,
    start: int,
    end: int,
) -> None:
    q, p = 1.0 / spacing, 1.0 / lip_spacing
    for r in range(start, end):
        for c in range(height.shape[1]):
            if face_id[r, c] < 0:
                continue
            x, y, z = position[r, c, 0], position[r, c, 1], position[r, c, 2]
            if slope[r, c, 0] > 1e-3:
                near, next_ = _cells(x * q, y * q, z * q, seed)
                pore = np.exp(-((near / 0.32) ** 2))
                furrow = np.exp(-(((next_ - near) / 0.16) ** 2))
                swell = gradient_noise(x * q / 2.6, y * q / 2.6, z * q / 2.6, seed + 1)
                value = 0.42 * swell - 0.38 * pore - 0.14 * furrow
                height[r, c] += slope[r, c, 0] * height_per_slope * value
            if slope[r, c, 1] > 1e-3:
                line = gradient_noise(x * p, y * p / 5, z * p / 5, seed + 2)
                height[r, c] += slope[r, c, 1] * _LIP_HEIGHT_PER_SLOPE * lip_spacing * line


def add_microrelief(height: F32, slope: F32, chart: ChartMaps, texel_m: float, seed: int) -> None:
    """Add pores and furrows, and lip lines, of root-mean-square ``slope`` ``(S, S, 2)`` to ``height``.

    ``height`` ``(S, S)`` in metres is changed in place; ``texel_m`` is the side of its texels. Where they
    are too wide for pores, fewer and wider ones of the same slope stand for them.
    """
    spacing = max(SPACING_M, _TEXELS_PER_CELL * texel_m)
    texels_per_cell = min(spacing / texel_m, 12.0)
    given = (
        np.ascontiguousarray(slope, np.float32),
        np.ascontiguousarray(chart.position_head),
        np.ascontiguousarray(chart.face_id),
        spacing,
        _HEIGHT_PER_SLOPE * spacing / np.sqrt(texels_per_cell),
        max(_LIP_LINE_M, _TEXELS_PER_CELL * texel_m),
        seed & 0x7FFFFFFF,
    )
    in_bands(lambda start, end: _press(height, *given, start, end), len(height))
