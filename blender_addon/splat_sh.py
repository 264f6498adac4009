"""Real spherical harmonics as 3D Gaussian splatting uses them; no bpy.

The basis to degree 3, orthonormal on the sphere, with the Condon–Shortley sign (so degree 1 is −y, z, −x),
ordered by degree and then by order −l … l. A splat's colour seen along the unit direction ``d`` (from the
eye to the splat) is ``0.5 + basis(d) · coefficients``, cut at zero, in display sRGB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DEGREE = 3
COLOUR_OFFSET = 0.5

# Normalisation of each basis function in front of its polynomial.
C0 = 0.28209479177387814
C1 = 0.4886025119029199
C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
C3 = (
    -0.5900435899266435,
    2.890611442640554,
    -0.4570457994644658,
    0.3731763325901154,
    -0.4570457994644658,
    1.445305721320277,
    -0.5900435899266435,
)

Array = NDArray[np.floating[Any]]


def coefficient_count(degree: int) -> int:
    """Number of basis functions up to ``degree``: 1, 4, 9, 16."""
    return (degree + 1) ** 2


def basis(directions: Array, degree: int = MAX_DEGREE) -> NDArray[np.float64]:
    """Basis ``(..., (degree + 1)²)`` at unit directions ``(..., 3)``."""
    x, y, z = np.moveaxis(np.asarray(directions, np.float64), -1, 0)
    terms = [np.full_like(x, C0)]
    if degree > 0:
        terms += [-C1 * y, C1 * z, -C1 * x]
    if degree > 1:
        xx, yy, zz = x * x, y * y, z * z
        polynomials = (x * y, y * z, 2 * zz - xx - yy, x * z, xx - yy)
        terms += [c * p for c, p in zip(C2, polynomials, strict=True)]
    if degree > 2:
        polynomials3 = (
            y * (3 * xx - yy),
            x * y * z,
            y * (4 * zz - xx - yy),
            z * (2 * zz - 3 * xx - 3 * yy),
            x * (4 * zz - xx - yy),
            z * (xx - yy),
            x * (xx - 3 * yy),
        )
        terms += [c * p for c, p in zip(C3, polynomials3, strict=True)]
    return np.stack(terms, -1)


def colours_srgb(sh: Array, directions: Array) -> NDArray[np.float64]:
    """Colours ``(N, 3)``, at least 0, of coefficients ``(N, K, 3)`` along unit directions ``(N, 3)``."""
    degree = round(sh.shape[1] ** 0.5) - 1
    values = np.einsum("nk,nkc->nc", basis(directions, degree), np.asarray(sh, np.float64))
    colours: NDArray[np.float64] = np.maximum(values + COLOUR_OFFSET, 0.0)
    return colours


def rotation_matrix(rotation: Array, degree: int) -> NDArray[np.float64]:
    """Matrix ``(K, K)`` that turns coefficients with the 3×3 ``rotation`` of what they describe.

    Each degree is closed under rotation, so the matrix solves an overdetermined system without residual:
    the basis at turned-back directions, expressed in the basis at the directions themselves.
    """
    count = 64  # a Fibonacci spiral: far more directions than the seven functions of degree 3
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (1 + 5**0.5) * np.arange(count)
    ring = np.sqrt(1 - height**2)
    directions = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], -1)
    here, back = basis(directions, degree), basis(directions @ np.asarray(rotation, np.float64), degree)
    matrix = np.zeros((coefficient_count(degree),) * 2)
    for order in range(degree + 1):
        own = slice(order * order, (order + 1) ** 2)
        matrix[own, own] = np.linalg.lstsq(here[:, own], back[:, own], rcond=None)[0]
    return matrix
