"""A picture of a head under new light, from what the rasteriser saw of it.

Not a path tracer: diffuse light from the irradiance map at the bumped normal, blurred a little as
light is under skin; specular light by split-sum GGX; shadows of the head on itself from shadow maps.
Lids and lips darken what lies between
them by a rule. Interreflection is left out. Everything is linear light.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera
from backend.shading.environment import Environment
from backend.shading.prefilter import brdf_table
from backend.shading.shadows import ShadowMaps, lit_fraction
from backend.uvspace.kernels import compiled, in_bands

# Standard deviation per channel, in metres, of the blur that diffuse light undergoes below skin. One
# Gaussian each in place of the long-tailed sums of d'Eon & Luebke (GPU Gems 3, ch. 14), whose mean
# radii these follow (red travels farthest).
SKIN_BLUR_M = (0.0013, 0.0006, 0.0004)
SKIN_PART = 0
# Lids over the eye and lips over the teeth shade what lies between them. They are too close for shadow
# maps, so what is not skin is darkened near skin in the picture, most of all below it.
_LID_REACH_M = 0.0016
_LID_DROP_M = 0.0008
_LID_DARKEST = 0.30


class GBuffer(Protocol):
    """What one camera sees of a head, ``H×W``, top row first; ``uvspace.render.GBuffer`` is one."""

    @property
    def position_head(self) -> F32:
        """(H, W, 3) metres."""
        ...

    @property
    def normal_head(self) -> F32:
        """(H, W, 3) unit, normal map and displacement applied."""
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
    def part(self) -> NDArray[np.int16]:
        """(H, W) part of the head, 0 is skin (below which light spreads), −1 beside the head."""
        ...


def relight(
    gbuffer: GBuffer, environment: Environment, camera: Camera, shadows: ShadowMaps | None = None
) -> F32:
    """Linear radiance ``(H, W, 3)``, 0 beside the head.

    ``camera`` is that of the buffer's samples. ``shadows`` come from ``shadows.cast``; without them
    nothing on the head shades anything else.
    """
    flat = np.flatnonzero(gbuffer.part.ravel() >= 0)
    position = gbuffer.position_head.reshape(-1, 3)[flat]
    fraction = np.ones((len(flat), 3), np.float32)
    if shadows is not None:
        fraction = lit_fraction(shadows, position, gbuffer.smooth_normal_head.reshape(-1, 3)[flat])
    diffuse, shiny = _received(gbuffer, environment, camera, flat, position)

    lit = np.zeros((gbuffer.part.size, 3), np.float32)
    lit[flat] = diffuse * fraction
    lit = lit.reshape(*gbuffer.part.shape, 3)
    skin = gbuffer.part == SKIN_PART
    shade = np.ones(gbuffer.part.shape, np.float32)
    if skin.any():
        pixels_per_metre = _pixels_per_metre(position, camera)
        _spread_below_skin(lit, skin, pixels_per_metre)
        shade = _shade_between_lids(skin, pixels_per_metre)
    samples = lit.reshape(-1, 3)
    albedo, between = gbuffer.albedo_linear.reshape(-1, 3), shade.ravel()
    in_bands(
        lambda start, end: _add_up(flat, albedo, between, shiny, fraction, start, end, samples),
        len(flat),
        least_rows=4096,
    )
    return lit


@compiled
def _add_up(
    flat: NDArray[np.int64],
    albedo: F32,
    shade: F32,
    shiny: F32,
    fraction: F32,
    start: int,
    end: int,
    out: F32,
) -> None:
    """Turn irradiance into radiance at the samples ``flat[start:end]`` of ``out``."""
    for i in range(start, end):
        at = flat[i]
        for channel in range(3):
            out[at, channel] = out[at, channel] * albedo[at, channel] / np.pi * shade[at] + shiny[
                i, channel
            ] * fraction[i, channel] * np.sqrt(shade[at])


def _received(
    gbuffer: GBuffer, environment: Environment, camera: Camera, flat: NDArray[np.int64], position: F32
) -> tuple[F32, F32]:
    """Irradiance and specular radiance, unshadowed, ``(N, 3)`` each, at the samples ``flat``."""
    light = environment.prefiltered
    diffuse, shiny = np.empty((len(flat), 3), np.float32), np.empty((len(flat), 3), np.float32)
    samples = (
        position,
        gbuffer.normal_head.reshape(-1, 3)[flat],
        gbuffer.roughness.ravel()[flat],
        gbuffer.specular.ravel()[flat],
    )
    eye = camera.centre_head.astype(np.float32)

    def band(start: int, end: int) -> None:
        _look_up(
            light.irradiance,
            light.specular,
            light.roughness,
            brdf_table(),
            eye,
            *samples,
            start,
            end,
            diffuse,
            shiny,
        )

    in_bands(band, len(flat), least_rows=4096)
    return diffuse, shiny


@compiled
def _look_up(
    irradiance: F32,
    levels: F32,
    level_roughness: F32,
    table: F32,
    eye: F32,
    position: F32,
    normal: F32,
    roughness: F32,
    specular: F32,
    start: int,
    end: int,
    diffuse: F32,
    shiny: F32,
) -> None:
    """Fill ``diffuse`` and ``shiny`` ``[start:end]``: irradiance, and the two factors of split-sum GGX."""
    size = table.shape[0]
    for i in range(start, end):
        nx, ny, nz = normal[i, 0], normal[i, 1], normal[i, 2]
        vx, vy, vz = eye[0] - position[i, 0], eye[1] - position[i, 1], eye[2] - position[i, 2]
        length = np.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = vx / length, vy / length, vz / length
        # A bumped normal may look away from the eye; the mirror direction is then straight on.
        n_v = max(nx * vx + ny * vy + nz * vz, 0.0)
        row, column = _place(nx, ny, nz, irradiance.shape[0])
        diffuse[i] = 0.0
        _add_sample(irradiance, row, column, 1.0, i, diffuse)

        r = min(max(roughness[i], 0.0), 1.0)
        low = 0
        while low < len(level_roughness) - 2 and r >= level_roughness[low + 1]:
            low += 1
        mix = (r - level_roughness[low]) / (level_roughness[low + 1] - level_roughness[low])
        f0 = 0.08 * specular[i]
        f90 = min(25.0 * f0, 1.0)
        at_view = min(max(n_v * size - 0.5, 0.0), size - 1.001)
        at_rough = min(max(r * size - 0.5, 0.0), size - 1.001)
        y, x = int(at_view), int(at_rough)
        fy, fx = at_view - y, at_rough - x
        weight = 0.0
        for dy in range(2):
            for dx in range(2):
                share = (fy if dy else 1 - fy) * (fx if dx else 1 - fx)
                weight += share * (f0 * table[y + dy, x + dx, 0] + f90 * table[y + dy, x + dx, 1])
        mx, my, mz = 2 * n_v * nx - vx, 2 * n_v * ny - vy, 2 * n_v * nz - vz
        row, column = _place(mx, my, mz, levels.shape[1])
        shiny[i] = 0.0
        _add_sample(levels[low], row, column, weight * (1 - mix), i, shiny)
        _add_sample(levels[low + 1], row, column, weight * mix, i, shiny)


@compiled
def _place(dx: float, dy: float, dz: float, height: int) -> tuple[float, float]:
    """Row, inside the image, and column, texel centres at whole numbers, of a lat-long along (dx, dy, dz)."""
    up = dy / np.sqrt(dx * dx + dy * dy + dz * dz)
    row = (0.5 - np.arcsin(min(max(up, -1.0), 1.0)) / np.pi) * height - 0.5
    column = (0.5 + np.arctan2(dz, dx) / (2 * np.pi)) * 2 * height - 0.5
    return min(max(row, 0.0), height - 1.001), column


@compiled
def _add_sample(image: F32, row: float, column: float, weight: float, i: int, out: F32) -> None:
    """Add ``weight`` times the bilinear lat-long ``image`` at ``_place`` (row, column) to ``out[i]``."""
    width = image.shape[1]
    r, c = int(row), int(np.floor(column))
    fr, fc = row - r, column - c
    c0, c1 = c % width, (c + 1) % width
    for channel in range(3):
        top = image[r, c0, channel] * (1 - fc) + image[r, c1, channel] * fc
        bottom = image[r + 1, c0, channel] * (1 - fc) + image[r + 1, c1, channel] * fc
        out[i, channel] += weight * (top * (1 - fr) + bottom * fr)


def _spread_below_skin(lit: F32, skin: NDArray[np.bool_], pixels_per_metre: float) -> None:
    """Blur irradiance across skin per channel, in place; what is not skin neither gives nor takes."""
    import cv2

    rows, columns = np.flatnonzero(skin.any(1)), np.flatnonzero(skin.any(0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = skin[window]
    cover = inside.astype(np.float32)
    for channel, radius in enumerate(SKIN_BLUR_M):
        sigma = radius * pixels_per_metre
        if sigma < 0.3:  # below a third of a pixel there is nothing to see
            continue
        part = lit[window][..., channel]
        blurred = cv2.GaussianBlur(part * cover, (0, 0), sigma)
        share = cv2.GaussianBlur(cover, (0, 0), sigma)
        np.divide(blurred, share, out=part, where=inside)


def _shade_between_lids(skin: NDArray[np.bool_], pixels_per_metre: float) -> F32:
    """Share of light ``(H, W)`` in (0, 1] that reaches what lies between lids or lips; 1 on skin."""
    import cv2

    sigma = max(_LID_REACH_M * pixels_per_metre, 0.3)
    near = cv2.GaussianBlur(skin.astype(np.float32), (0, 0), sigma)
    drop = round(_LID_DROP_M * pixels_per_metre)
    near[drop:] = np.maximum(near[drop:], near[: len(near) - drop])
    share = 1 - (1 - _LID_DARKEST) * np.minimum(near / 0.6, 1)
    return np.where(skin, 1, share).astype(np.float32)


def _pixels_per_metre(position: F32, camera: Camera) -> float:
    depth = camera.to_camera(position[:: max(1, len(position) // 1000)])[:, 2]
    return camera.focal_px / float(np.median(depth))
