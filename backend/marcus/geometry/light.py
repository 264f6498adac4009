"""The photo's light where the skin's albedo is known: the regressor's is in units of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.artifacts import F32, F64, Camera
from backend.colour import linear_to_srgb
from backend.geometry.light import fit_light
from backend.shading import sh

MOST_SAMPLES = 4000


@dataclass(frozen=True)
class Light:
    radiance_sh: F32  # (9, 3) head space
    psnr_db: float  # of albedo under this light against the photo, sRGB; 0 without samples


def light_of(colour: F64, normals: F64, albedo: F64, camera: Camera) -> Light:
    """Light that makes ``albedo`` ``(N, 3)`` with ``normals`` look like linear ``colour`` ``(N, 3)``."""
    step = max(1, len(colour) // MOST_SAMPLES)
    colour, normals, albedo = colour[::step], normals[::step], albedo[::step]
    toward = -camera.world_to_camera[2, :3] / np.linalg.norm(camera.world_to_camera[2, :3])
    found = fit_light(colour, normals, albedo, np.zeros((0, *albedo.shape)), toward)
    shaded = albedo * _white(normals, found.radiance_sh)
    return Light(found.radiance_sh.astype(np.float32), _psnr_db(shaded, colour))


def _white(normals: F64, radiance_sh: F64) -> F64:
    """What a white surface sends back, ``(N, 3)``."""
    return np.asarray(np.maximum((sh.basis(normals) * sh.COSINE_LOBE) @ radiance_sh, 0) / np.pi)


def _psnr_db(shaded: F64, colour: F64) -> float:
    if len(colour) == 0:
        return 0.0
    error = np.minimum(linear_to_srgb(shaded), 1.0) - np.minimum(linear_to_srgb(colour), 1.0)
    return float(-10 * np.log10(max(float((error**2).mean()), 1e-10)))
