"""Real spherical harmonics of any degree, their lobes, and turning them about the vertical.

The order continues that of ``shading.sh``, whose nine are the first: function l² + l + m for degree l and
order m = −l … l, z polar, orthonormal on the sphere, in head space (+Y up, face to +Z). A light
held to degree D has (D + 1)² coefficients.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.shading import latlong

# Panoramas are averaged down to this many rows first: eight samples a period even at degree 8.
_ROWS = 64


def count(degree: int) -> int:
    """How many functions there are up to ``degree``."""
    return (degree + 1) ** 2


def degree_of(functions: int) -> int:
    """The degree that ``functions`` coefficients reach. Raises: ValueError when it is not whole."""
    degree = math.isqrt(functions) - 1
    if count(degree) != functions:
        raise ValueError(f"{functions} coefficients end within a degree")
    return degree


def degrees(degree: int) -> NDArray[np.int64]:
    """The degree l of each function ``(K,)``."""
    return np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1)


def basis(directions: NDArray[np.floating[Any]], degree: int) -> F64:
    """Values ``(..., K)`` at unit ``directions`` ``(..., 3)``."""
    d = np.asarray(directions, np.float64)
    return np.stack(functions(d[..., 0], d[..., 1], d[..., 2], degree), -1)


def functions(x: Any, y: Any, z: Any, degree: int) -> list[Any]:
    """The K functions at (x, y, z), by the recurrences of Legendre's; numpy arrays or torch tensors."""
    out: list[Any] = [None] * count(degree)
    # sin^m θ times cos mφ and sin mφ, as polynomials in x and y: no pole has to be avoided.
    cosine, sine = 1 + 0 * x, 0 * x
    start = 1 + 0 * x  # P_m^m / sin^m θ
    for m in range(degree + 1):
        if m > 0:
            cosine, sine = x * cosine - y * sine, x * sine + y * cosine
            start = start * (2 * m - 1)
        before, now = 0 * x, start
        for at in range(m, degree + 1):
            if at > m:
                before, now = now, ((2 * at - 1) * z * now - (at + m - 1) * before) / (at - m)
            factor = math.sqrt((2 * at + 1) / (4 * math.pi) * math.factorial(at - m) / math.factorial(at + m))
            middle = at * at + at
            if m == 0:
                out[middle] = factor * now
            else:
                out[middle + m] = math.sqrt(2) * factor * now * cosine
                out[middle - m] = math.sqrt(2) * factor * now * sine
    return out


def project(radiance: F32, degree: int) -> F64:
    """Radiance coefficients ``(K, C)`` of a lat-long ``(H, 2H, C)`` (``shading.latlong``)."""
    small = latlong.shrink(radiance, _ROWS)
    weighted = _weighted_basis(small.shape[0], degree)
    coefficients: F64 = weighted.T @ small.reshape(-1, small.shape[-1]).astype(np.float64)
    return coefficients


@functools.lru_cache(maxsize=4)
def _weighted_basis(rows: int, degree: int) -> F64:
    values = basis(latlong.directions(rows), degree) * latlong.solid_angles(rows)[..., None]
    return values.reshape(-1, count(degree))


def about_y(degree: int, turn_degrees: float) -> F64:
    """``(K, K)`` matrix whose product with the coefficients of a light is that of the light turned.

    Turned as ``latlong.rotate``: by ``turn_degrees`` right-handed about +Y.
    """
    points = sphere_points(4 * count(degree))
    angle = math.radians(turn_degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    # What is seen along d after the turn was along R⁻¹d before.
    back = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
    turned: F64 = _inverse_basis(degree) @ basis(points @ back.T, degree)
    return turned


@functools.lru_cache(maxsize=8)
def _inverse_basis(degree: int) -> F64:
    inverse: F64 = np.linalg.pinv(basis(sphere_points(4 * count(degree)), degree))
    return inverse


@functools.lru_cache(maxsize=8)
def sphere_points(number: int) -> F64:
    """Unit directions ``(number, 3)`` spread evenly: the Fibonacci lattice. Read-only."""
    k = np.arange(number) + 0.5
    up = 1 - 2 * k / number
    around = np.pi * (1 + math.sqrt(5)) * k
    across = np.sqrt(1 - up**2)
    points: F64 = np.stack([across * np.cos(around), up, across * np.sin(around)], -1)
    points.setflags(write=False)
    return points


def lobe(weight: Callable[[F64], F64], degree: int) -> F64:
    """Share ``(degree + 1,)`` of each degree that is left after blurring with ``weight(cos angle)``.

    The blur is normalised: the first share is 1 (Funk and Hecke's theorem, Gauss–Legendre quadrature).
    """
    from scipy.special import eval_legendre, roots_legendre

    nodes, parts = roots_legendre(256)
    values = weight(nodes) * parts
    legendre = eval_legendre(np.arange(degree + 1)[:, None], nodes)
    shares: F64 = legendre @ values / values.sum()
    return shares


@functools.lru_cache(maxsize=256)
def ggx_lobe(roughness: float, degree: int) -> F64:
    """``lobe`` of GGX at perceptual ``roughness``, seen along the normal, as ``prefilter`` blurs."""
    a2 = max(roughness, 0.2) ** 4  # narrower lobes pass every degree there is here

    def weight(cosine: F64) -> F64:
        half2 = (1 + cosine) / 2
        blurred: F64 = a2 / ((a2 - 1) * half2 + 1) ** 2 * np.maximum(cosine, 0)
        return blurred

    return lobe(weight, degree)
