"""Seeded gradient noise in head space: the same on both sides of a chart seam, even in metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.uvspace.kernels import compiled, in_bands

_TO_UNIT = 2 / 1023  # of ten bits; a division for each would take half of the time


@compiled
def lattice_hash(x: int, y: int, z: int, seed: int) -> int:
    """A well-mixed 32-bit integer of a lattice point (a 32-bit finaliser over mixed coordinates)."""
    h = (
        (x & 0xFFFFFFFF) * 0x9E3779B1
        ^ (y & 0xFFFFFFFF) * 0x85EBCA77
        ^ (z & 0xFFFFFFFF) * 0xC2B2AE3D
        ^ seed * 0x27D4EB2F
    ) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
    h = ((h ^ (h >> 12)) * 0x297A2D39) & 0xFFFFFFFF
    return h ^ (h >> 15)


@compiled
def _slope(x: int, y: int, z: int, seed: int, dx: float, dy: float, dz: float) -> float:
    h = int(lattice_hash(x, y, z, seed))
    gx = (h & 1023) * _TO_UNIT - 1.0
    gy = ((h >> 10) & 1023) * _TO_UNIT - 1.0
    gz = ((h >> 20) & 1023) * _TO_UNIT - 1.0
    return gx * dx + gy * dy + gz * dz


@compiled
def gradient_noise(x: float, y: float, z: float, seed: int) -> float:
    """Smooth noise of about unit wavelength at a point, zero mean, roughly in [−1, 1] (Perlin 2002)."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    ix, iy, iz = int(fx), int(fy), int(fz)
    dx, dy, dz = x - fx, y - fy, z - fz
    wx = dx * dx * dx * (dx * (dx * 6 - 15) + 10)
    wy = dy * dy * dy * (dy * (dy * 6 - 15) + 10)
    wz = dz * dz * dz * (dz * (dz * 6 - 15) + 10)
    total = 0.0
    for i in range(2):
        for j in range(2):
            for k in range(2):
                weight = (wx if i else 1 - wx) * (wy if j else 1 - wy) * (wz if k else 1 - wz)
                total += weight * _slope(ix + i, iy + j, iz + k, seed, dx - i, dy - j, dz - k)
    return total


@compiled
def octaves_at(
    position: NDArray[np.float32], frequency: NDArray[np.float64], amplitude: NDArray[np.float64], seed: int
) -> float:
    """Sum of octaves at ``position`` ``(3,)`` metres; ``frequency`` per metre."""
    total = 0.0
    for o in range(frequency.shape[0]):
        if amplitude[o] == 0:
            continue
        f = frequency[o]
        # Octaves start at different places, so that lattice planes do not coincide.
        total += amplitude[o] * gradient_noise(
            position[0] * f + 17.3 * o, position[1] * f + 5.7 * o, position[2] * f + 11.1 * o, seed + o
        )
    return total


@compiled
def _octaves(
    position: NDArray[np.float32],
    inside: NDArray[np.bool_],
    frequency: NDArray[np.float64],
    amplitude: NDArray[np.float64],
    seed: int,
    start: int,
    end: int,
    out: NDArray[np.float32],
) -> None:
    for r in range(start, end):
        for c in range(inside.shape[1]):
            if not inside[r, c]:
                continue
            out[r, c] = octaves_at(position[r, c], frequency, amplitude, seed)


def skin_noise(
    position_head: F32,
    inside: NDArray[np.bool_],
    wavelengths_m: tuple[float, ...],
    amplitudes: tuple[float, ...],
    seed: int,
) -> F32:
    """Sum of octaves ``(S, S)`` at texel positions ``(S, S, 3)`` metres; 0 outside."""
    given = (
        np.ascontiguousarray(position_head, np.float32),
        np.ascontiguousarray(inside),
        1.0 / np.asarray(wavelengths_m, np.float64),
        np.asarray(amplitudes, np.float64),
        int(seed) & 0x7FFFFFFF,
    )
    out = np.zeros(inside.shape, np.float32)
    in_bands(lambda start, end: _octaves(*given, start, end, out), len(out))
    return out
