"""What varies over skin, as functions of the place in space: noise, furrow nets, spots and lines.

Everything is evaluated at points of the surface in millimetres, so a chart's seams cannot show. Each field
knows the footprint of a texel and answers with what a Gaussian of that width leaves of it, so that the same
skin is drawn at every size. Heights come with their gradient.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.texture.noise import lattice_hash
from backend.uvspace.kernels import compiled, in_bands

I32 = NDArray[np.int32]

LEAST_POINTS = 4096  # per thread
FURROW_MEAN = 0.3226  # of a furrow net, so that its heights have none
FURROW_WIDTH = 0.11  # of a cell
FURROW_WAVE = 0.7  # of a cell: its furrow is lost sooner than the cell
UNIT = 5.24  # brings the noise's deviation to one
WAVE = 1.75  # most of the noise's power lies in waves so many times as long as its lattice is wide


def noise(points_mm: F32, footprint_mm: F32, wavelength_mm: float, seed: int) -> tuple[F32, F32]:
    """Smooth noise ``(N,)`` of unit variance at ``(N, 3)`` and its gradient ``(N, 3)`` per millimetre."""
    value = np.empty(len(points_mm), np.float32)
    slope = np.empty((len(points_mm), 3), np.float32)
    in_bands(
        lambda a, b: _noise(
            points_mm, footprint_mm, 1 / wavelength_mm, seed & 0x7FFFFFFF, a, b, value, slope
        ),
        len(value),
        LEAST_POINTS,
    )
    return value, slope


def furrows(points_mm: F32, footprint_mm: F32, cell_mm: float, seed: int) -> tuple[F32, F32]:
    """A net of furrows between cells of about ``cell_mm``: about −1 in them, of mean 0; and its gradient."""
    value = np.empty(len(points_mm), np.float32)
    slope = np.empty((len(points_mm), 3), np.float32)
    in_bands(
        lambda a, b: _furrows(points_mm, footprint_mm, 1 / cell_mm, seed & 0x7FFFFFFF, a, b, value, slope),
        len(value),
        LEAST_POINTS,
    )
    return value, slope


def stay(wavelength_mm: float, footprint_mm: F32) -> F32:
    """The share ``(N,)`` of a wave's amplitude that texels of ``footprint_mm`` keep."""
    sigma = np.float32(0.5) * footprint_mm
    return np.asarray(np.exp(-2 * (np.pi * sigma / wavelength_mm) ** 2), np.float32)


@compiled
def _noise(
    points: F32, footprint: F32, frequency: float, seed: int, start: int, end: int, value: F32, slope: F32
) -> None:
    # Perlin's gradient noise (2002) with its derivative.
    for n in range(start, end):
        keep = UNIT * math.exp(-2.0 * (math.pi * 0.5 * footprint[n] * frequency / WAVE) ** 2)
        value[n] = 0.0
        slope[n] = 0.0
        if keep < 0.02 * UNIT:
            continue
        x, y, z = points[n, 0] * frequency, points[n, 1] * frequency, points[n, 2] * frequency
        fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
        dx, dy, dz = x - fx, y - fy, z - fz
        ix, iy, iz = int(fx), int(fy), int(fz)
        wx = dx * dx * dx * (dx * (dx * 6 - 15) + 10)
        wy = dy * dy * dy * (dy * (dy * 6 - 15) + 10)
        wz = dz * dz * dz * (dz * (dz * 6 - 15) + 10)
        ux = 30 * dx * dx * (dx - 1) * (dx - 1)
        uy = 30 * dy * dy * (dy - 1) * (dy - 1)
        uz = 30 * dz * dz * (dz - 1) * (dz - 1)
        total, sx, sy, sz = 0.0, 0.0, 0.0, 0.0
        for i in range(2):
            ax, bx = (wx, ux) if i else (1 - wx, -ux)
            for j in range(2):
                ay, by = (wy, uy) if j else (1 - wy, -uy)
                for k in range(2):
                    az, bz = (wz, uz) if k else (1 - wz, -uz)
                    h = int(lattice_hash(ix + i, iy + j, iz + k, seed))
                    gx = (h & 1023) / 511.5 - 1.0
                    gy = ((h >> 10) & 1023) / 511.5 - 1.0
                    gz = ((h >> 20) & 1023) / 511.5 - 1.0
                    dot = gx * (dx - i) + gy * (dy - j) + gz * (dz - k)
                    total += ax * ay * az * dot
                    sx += bx * ay * az * dot + ax * ay * az * gx
                    sy += ax * by * az * dot + ax * ay * az * gy
                    sz += ax * ay * bz * dot + ax * ay * az * gz
        value[n] = keep * total
        slope[n, 0] = keep * frequency * sx
        slope[n, 1] = keep * frequency * sy
        slope[n, 2] = keep * frequency * sz


@compiled
def _furrows(
    points: F32, footprint: F32, frequency: float, seed: int, start: int, end: int, value: F32, slope: F32
) -> None:
    # Worley's cells (1996): a furrow runs where the two nearest of scattered points are equally far.
    for n in range(start, end):
        keep = math.exp(-2.0 * (math.pi * 0.5 * footprint[n] * frequency / FURROW_WAVE) ** 2)
        value[n] = 0.0
        slope[n] = 0.0
        if keep < 0.02:
            continue
        x, y, z = points[n, 0] * frequency, points[n, 1] * frequency, points[n, 2] * frequency
        ix, iy, iz = math.floor(x), math.floor(y), math.floor(z)
        first, second = 1e9, 1e9
        ax, ay, az, bx, by, bz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(-1, 2):
            for j in range(-1, 2):
                for k in range(-1, 2):
                    h = int(lattice_hash(ix + i, iy + j, iz + k, seed))
                    gx = x - (ix + i + (h & 1023) / 1023.0)
                    gy = y - (iy + j + ((h >> 10) & 1023) / 1023.0)
                    gz = z - (iz + k + ((h >> 20) & 1023) / 1023.0)
                    d = gx * gx + gy * gy + gz * gz
                    if d < first:
                        second, bx, by, bz = first, ax, ay, az
                        first, ax, ay, az = d, gx, gy, gz
                    elif d < second:
                        second, bx, by, bz = d, gx, gy, gz
        one, two = math.sqrt(first) + 1e-6, math.sqrt(second) + 1e-6
        gap = two - one
        deep = math.exp(-((gap / FURROW_WIDTH) ** 2))
        value[n] = keep * (FURROW_MEAN - deep)
        rise = keep * deep * 2 * gap / FURROW_WIDTH**2 * frequency
        slope[n, 0] = rise * (bx / two - ax / one)
        slope[n, 1] = rise * (by / two - ay / one)
        slope[n, 2] = rise * (bz / two - az / one)
