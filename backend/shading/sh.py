"""Real spherical harmonics to degree 2 for environment light (Ramamoorthi & Hanrahan 2001).

Order of the nine functions: Y00, Y1-1 (y), Y10 (z), Y11 (x), Y2-2 (xy), Y2-1 (yz), Y20 (3z²-1),
Y21 (xz), Y22 (x²-y²), orthonormal on the sphere, in head space (+Y up, face to +Z).
Light is held as *radiance* coefficients; irradiance is their convolution with the cosine lobe.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Cosine-lobe convolution factors A_l for each of the nine functions.
COSINE_LOBE = np.array([np.pi] + [2 * np.pi / 3] * 3 + [np.pi / 4] * 5, np.float64)


def basis(directions: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Values ``(..., 9)`` of the basis at unit ``directions`` ``(..., 3)``."""
    d = np.asarray(directions, np.float64)
    x, y, z = d[..., 0], d[..., 1], d[..., 2]
    return np.stack(
        [
            np.full_like(x, 0.28209479177387814),
            0.4886025119029199 * y,
            0.4886025119029199 * z,
            0.4886025119029199 * x,
            1.0925484305920792 * x * y,
            1.0925484305920792 * y * z,
            0.31539156525252005 * (3 * z * z - 1),
            1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ],
        axis=-1,
    )


def irradiance(
    radiance_sh: NDArray[np.floating[Any]], normals: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Irradiance ``(..., 3)`` (W/m² per unit radiance) at unit ``normals`` under ``radiance_sh`` ``(9, 3)``.

    A Lambertian surface of albedo a then shows radiance ``a / π · irradiance``.
    """
    return basis(normals) @ (COSINE_LOBE[:, None] * np.asarray(radiance_sh, np.float64))


def radiance(
    radiance_sh: NDArray[np.floating[Any]], directions: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Radiance ``(..., 3)`` arriving from unit ``directions`` (may ring below zero)."""
    return basis(directions) @ np.asarray(radiance_sh, np.float64)


def project(
    radiance: NDArray[np.floating[Any]],
    directions: NDArray[np.floating[Any]],
    solid_angles: NDArray[np.floating[Any]],
) -> NDArray[np.float64]:
    """Radiance coefficients ``(9, C)`` of samples ``(..., C)`` at unit ``directions`` ``(..., 3)``.

    ``solid_angles`` ``(...)`` are the samples' shares of the sphere in steradians (Σ = 4π).
    """
    values = np.asarray(radiance, np.float64)
    weighted = basis(directions) * np.asarray(solid_angles, np.float64)[..., None]
    coefficients: NDArray[np.float64] = weighted.reshape(-1, 9).T @ values.reshape(-1, values.shape[-1])
    return coefficients
