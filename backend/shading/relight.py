"""A picture of a head under new light, from what the rasteriser saw of it.

Not a path tracer: diffuse light from the irradiance map at the bumped normal, blurred a little as
light is under skin; specular light by split-sum GGX; shadows of the head on itself from shadow maps.
Interreflection is left out. Everything is linear light.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera
from backend.shading import latlong
from backend.shading.environment import Environment
from backend.shading.prefilter import LUT_SIZE, PrefilteredLight, brdf_table
from backend.shading.shadows import ShadowMaps, lit_fraction

# Standard deviation per channel, in metres, of the blur that diffuse light undergoes below skin. One
# Gaussian each in place of the long-tailed sums of d'Eon & Luebke (GPU Gems 3, ch. 14), whose mean
# radii these follow (red travels farthest).
SKIN_BLUR_M = (0.0013, 0.0006, 0.0004)


class GBuffer(Protocol):
    """What one camera sees of a head, ``H×W``, top row first."""

    @property
    def position_head(self) -> F32:
        """(H, W, 3) metres."""
        ...

    @property
    def normal_head(self) -> F32:
        """(H, W, 3) unit, normal map applied."""
        ...

    @property
    def smooth_normal_head(self) -> F32:
        """(H, W, 3) unit, of the mesh."""
        ...

    @property
    def albedo_linear(self) -> F32:
        """(H, W, 3)."""
        ...

    @property
    def roughness(self) -> F32:
        """(H, W) perceptual."""
        ...

    @property
    def specular(self) -> F32:
        """(H, W), F0 = 0.08·specular."""
        ...

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) whether the head covers the pixel."""
        ...

    @property
    def skin(self) -> NDArray[np.bool_]:
        """(H, W) whether that is skin, below which light spreads."""
        ...


def relight(
    gbuffer: GBuffer, environment: Environment, camera: Camera, shadows: ShadowMaps | None = None
) -> F32:
    """Linear radiance ``(H, W, 3)``, 0 where the mask is. ``shadows`` come from ``shadows.cast``."""
    covered = np.asarray(gbuffer.mask, bool)
    light = environment.prefiltered
    position, normal = gbuffer.position_head[covered], gbuffer.normal_head[covered]
    fraction = np.ones((len(position), 3), np.float32)
    if shadows is not None:
        fraction = lit_fraction(shadows, position, gbuffer.smooth_normal_head[covered])

    lit = np.zeros((*covered.shape, 3), np.float32)
    lit[covered] = latlong.sample(light.irradiance, normal) * fraction
    skin = covered & np.asarray(gbuffer.skin, bool)
    if skin.any():
        lit = _spread_below_skin(lit, skin, _pixels_per_metre(position, camera))

    view = _unit(camera.centre_head.astype(np.float32) - position)
    shiny = specular_light(light, normal, view, gbuffer.roughness[covered], gbuffer.specular[covered])
    out = np.zeros_like(lit)
    out[covered] = gbuffer.albedo_linear[covered] / math.pi * lit[covered] + shiny * fraction
    return out


def specular_light(
    light: PrefilteredLight,
    normal: NDArray[np.floating[Any]],
    view: NDArray[np.floating[Any]],
    roughness: NDArray[np.floating[Any]],
    specular: NDArray[np.floating[Any]],
) -> F32:
    """Split-sum specular radiance ``(N, 3)`` at unit ``normal`` towards unit ``view`` ``(N, 3)``."""
    n_v = (normal * view).sum(1)
    # A bumped normal may look away from the eye; the mirror direction is then the view's own.
    mirrored = 2 * np.maximum(n_v, 0)[:, None] * normal - view
    incoming = sample_levels(light, mirrored, roughness)
    row = np.clip(n_v * LUT_SIZE - 0.5, 0, LUT_SIZE - 1.001)
    column = np.clip(np.asarray(roughness) * LUT_SIZE - 0.5, 0, LUT_SIZE - 1.001)
    r, c = row.astype(np.int64), column.astype(np.int64)
    fr, fc = (row - r)[:, None], (column - c)[:, None]
    table = brdf_table()
    factors = (table[r, c] * (1 - fc) + table[r, c + 1] * fc) * (1 - fr) + (
        table[r + 1, c] * (1 - fc) + table[r + 1, c + 1] * fc
    ) * fr
    f0 = 0.08 * np.asarray(specular)
    weight = f0 * factors[:, 0] + np.minimum(25 * f0, 1) * factors[:, 1]
    return np.asarray(incoming * weight[:, None], np.float32)


def sample_levels(
    light: PrefilteredLight,
    direction: NDArray[np.floating[Any]],
    roughness: NDArray[np.floating[Any]],
) -> F32:
    """Radiance ``(N, 3)`` along ``direction`` ``(N, 3)``, blurred between levels by roughness ``(N,)``."""
    levels = light.roughness
    between = np.interp(roughness, levels, np.arange(len(levels)))
    low = np.minimum(between.astype(np.int64), len(levels) - 2)
    mix = (between - low).astype(np.float32)[:, None]
    height, width = light.specular.shape[1:3]
    where = latlong.texel(direction, height) - 0.5
    row = np.clip(where[:, 0], 0, height - 1.001)
    r, c = row.astype(np.int64), np.floor(where[:, 1]).astype(np.int64)
    fr, fc = (row - r).astype(np.float32)[:, None], (where[:, 1] - c).astype(np.float32)[:, None]
    c, c1 = c % width, (c + 1) % width
    out = np.zeros((len(low), 3), np.float32)
    for level, share in ((low, 1 - mix), (low + 1, mix)):
        top = light.specular[level, r, c] * (1 - fc) + light.specular[level, r, c1] * fc
        bottom = light.specular[level, r + 1, c] * (1 - fc) + light.specular[level, r + 1, c1] * fc
        out += share * (top * (1 - fr) + bottom * fr)
    return out


def _spread_below_skin(lit: F32, skin: NDArray[np.bool_], pixels_per_metre: float) -> F32:
    """Blur irradiance across skin per channel; what is not skin neither gives nor takes."""
    import cv2

    cover = skin.astype(np.float32)
    out = lit.copy()
    for channel, radius in enumerate(SKIN_BLUR_M):
        sigma = radius * pixels_per_metre
        if sigma < 0.3:  # below a third of a pixel there is nothing to see
            continue
        blurred = cv2.GaussianBlur(lit[..., channel] * cover, (0, 0), sigma)
        share = cv2.GaussianBlur(cover, (0, 0), sigma)
        out[..., channel] = np.where(skin, blurred / np.maximum(share, 1e-6), lit[..., channel])
    return out


def _pixels_per_metre(position: F32, camera: Camera) -> float:
    depth = camera.to_camera(position[:: max(1, len(position) // 1000)])[:, 2]
    return camera.focal_px / float(np.median(depth))


def _unit(w: F32) -> F32:
    return np.asarray(w / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), 1e-12), np.float32)
