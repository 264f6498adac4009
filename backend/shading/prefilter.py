"""Environment light blurred for shading: irradiance, and the two factors of split-sum GGX.

Blurring the sphere by a kernel that depends on the angle alone is, on a lat-long image, a circular
convolution along each pair of rows. So every level is a batch of small matrix products in the
columns' Fourier domain: exact for the sampled image, without random numbers, and the kernels do not
depend on the light, so that a second environment costs milliseconds.

Split sum after Karis, "Real Shading in Unreal Engine 4" (SIGGRAPH 2013 course): ∫ L f cosθ ≈
(GGX-blurred L along the mirror direction, taken for n = v = r) × (F0·A + F90·B), with A and B tabled
over n·v and roughness. The first factor does not stretch highlights at grazing angles; that is the
known error of the method.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.shading import latlong

# Perceptual roughness of each level and the rows it is computed at: blurrier levels need fewer.
LEVELS: tuple[tuple[float, int], ...] = (
    (0.0, 128),
    (0.12, 128),
    (0.2, 96),
    (0.3, 64),
    (0.4, 48),
    (0.55, 32),
    (0.75, 32),
    (1.0, 32),
)
LEVEL_ROWS = 128
IRRADIANCE_ROWS = 32
LUT_SIZE = 32
LUT_SAMPLES = 256


@dataclass(frozen=True)
class PrefilteredLight:
    """One environment, ready for lookups."""

    irradiance: F32  # (32, 64, 3) ∫ L (n·l)+ dω per normal; a Lambertian surface shows albedo/π times it
    specular: F32  # (8, 128, 256, 3) radiance blurred by GGX, one lat-long per entry of ROUGHNESS
    roughness: F32  # (8,) perceptual roughness of each level, ascending from 0


def prefilter(radiance: F32) -> PrefilteredLight:
    """Blur a lat-long ``radiance`` ``(H, 2H, 3)`` for diffuse and specular lookups.

    The first call in a process also makes the kernels (about half a second).
    """
    import cv2

    levels = []
    for roughness, rows in LEVELS:
        image = latlong.shrink(radiance, rows)
        if image.shape[0] < rows:
            image = cv2.resize(image, (2 * rows, rows), interpolation=cv2.INTER_LINEAR)
        if roughness > 0:
            image = _blur(image, _ggx_kernel(rows, roughness))
        levels.append(_enlarge(image, LEVEL_ROWS))
    small = latlong.shrink(radiance, IRRADIANCE_ROWS)
    if small.shape[0] < IRRADIANCE_ROWS:
        small = _enlarge(small, IRRADIANCE_ROWS)
    irradiance = np.float32(math.pi) * _blur(small, _cosine_kernel(IRRADIANCE_ROWS))
    return PrefilteredLight(irradiance, np.stack(levels), np.array([r for r, _ in LEVELS], np.float32))


def _blur(image: F32, kernel: NDArray[np.complex64]) -> F32:
    spectrum = np.fft.rfft(image, axis=1).astype(np.complex64)  # (rows, freq, 3)
    blurred = np.matmul(kernel, spectrum.transpose(1, 0, 2))  # (freq, rows, rows) @ (freq, rows, 3)
    out = np.fft.irfft(blurred.transpose(1, 0, 2), n=image.shape[1], axis=1)
    # A tiny light beside darkness leaves round-off below zero.
    return np.maximum(out, 0).astype(np.float32)


def _zonal_kernel(rows: int, weight: Callable[[F32], F32]) -> NDArray[np.complex64]:
    """Fourier matrices ``(rows+1, rows, rows)`` of the normalised blur with ``weight(cos angle)``."""
    elevation = (np.pi * (0.5 - (np.arange(rows) + 0.5) / rows)).astype(np.float32)
    turn = (2 * np.pi * np.arange(2 * rows) / (2 * rows)).astype(np.float32)
    sin, cos = np.sin(elevation), np.cos(elevation)
    cosine = sin[:, None, None] * sin[:, None] + cos[:, None, None] * cos[:, None] * np.cos(turn)
    k = weight(np.clip(cosine, -1, 1)) * latlong.solid_angles(rows)[None, :, :1].astype(np.float32)
    k /= k.sum((1, 2), keepdims=True)
    return np.ascontiguousarray(np.fft.rfft(k, axis=2).transpose(2, 0, 1), dtype=np.complex64)


@functools.lru_cache(maxsize=16)
def _ggx_kernel(rows: int, roughness: float) -> NDArray[np.complex64]:
    a2 = np.float32(roughness**4)

    def weight(cosine: F32) -> F32:
        # n = v, so the half vector makes half of l's angle with n; pdf of l is D·(n·h)/(4·v·h) = D/4.
        n_h2 = (1 + cosine) / 2
        density = a2 / ((a2 - 1) * n_h2 + 1) ** 2
        return np.asarray(density * np.maximum(cosine, 0), np.float32)

    return _zonal_kernel(rows, weight)


@functools.lru_cache(maxsize=2)
def _cosine_kernel(rows: int) -> NDArray[np.complex64]:
    return _zonal_kernel(rows, lambda cosine: np.maximum(cosine, 0))


def _enlarge(image: F32, rows: int) -> F32:
    """Bilinear enlargement that wraps around the sphere's seam."""
    import cv2

    height = image.shape[0]
    if height == rows:
        return np.asarray(image, np.float32)
    wrapped = np.concatenate([image[:, -1:], image, image[:, :1]], 1)
    factor = rows / height
    c = (np.arange(2 * rows) + 0.5) / factor + 0.5
    r = (np.arange(rows) + 0.5) / factor - 0.5
    map_x, map_y = np.meshgrid(c.astype(np.float32), np.clip(r, 0, height - 1).astype(np.float32))
    return np.asarray(cv2.remap(wrapped, map_x, map_y, cv2.INTER_LINEAR), np.float32)


@functools.lru_cache(maxsize=1)
def brdf_table() -> F32:
    """Split-sum table ``(32, 32, 2)``: rows n·v, columns roughness (centres at (i+.5)/32), A and B.

    Directional albedo of the specular lobe of ``shading.ggx`` is F0·A + F90·B.
    """
    n_v = ((np.arange(LUT_SIZE) + 0.5) / LUT_SIZE)[:, None, None]
    alpha = (((np.arange(LUT_SIZE) + 0.5) / LUT_SIZE) ** 2)[None, :, None]
    u1 = (np.arange(LUT_SAMPLES) + 0.5) / LUT_SAMPLES
    phi = 2 * np.pi * (np.arange(LUT_SAMPLES) * 0.6180339887498949 % 1)
    a2 = alpha**2
    cos_h = np.sqrt((1 - u1) / (1 + (a2 - 1) * u1))  # GGX half vectors by inverting the distribution
    sin_h = np.sqrt(1 - cos_h**2)
    v_h = np.maximum(np.sqrt(1 - n_v**2) * sin_h * np.cos(phi) + n_v * cos_h, 1e-6)
    n_l = 2 * v_h * cos_h - n_v
    lit = n_l > 0
    n_l = np.maximum(n_l, 1e-6)
    visibility = 0.5 / (n_l * np.sqrt(a2 + (1 - a2) * n_v**2) + n_v * np.sqrt(a2 + (1 - a2) * n_l**2))
    weight = np.where(lit, visibility * n_l * 4 * v_h / cos_h, 0)  # f·cosθ / (F·pdf)
    schlick = (1 - v_h) ** 5
    table: F64 = np.stack([(weight * (1 - schlick)).mean(-1), (weight * schlick).mean(-1)], -1)
    return table.astype(np.float32)
