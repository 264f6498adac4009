"""Relief from shading: skin that leans to the light is brighter than the skin beside it.

Shape from shading, linear about the fitted surface: with G the tangential gradient of the logarithm of
irradiance by the normal, a small relief h changes log brightness by −G·∇h. Where pigment and relief both
may be the cause, the slope with the least expected error is −G·c / (|G|² + ρ), c being the contrast seen and
ρ the variance of pigment over that of slopes; a relief whose slopes come nearest to it is then solved for,
which takes out what no surface can show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, HeadFit
from backend.colour import LUMINANCE_REC709
from backend.shading import sh
from backend.texture import multigrid
from backend.texture.grid import WorkingChart, blur, dilate, remap
from backend.texture.trust import smoothstep

FINEST_M, COARSEST_M = 0.0005, 0.005  # Gaussian sigmas: finer is blurred by skin, coarser is the mesh's
_PIGMENT_OVER_SLOPE = 0.7  # variance of log contrast that is pigment over that of slopes; on rendered heads
_CONTRAST_LIMIT = 0.16  # log contrast beyond which it is pigment or hair
_CALM_ENERGY, _CALM_M = 0.10, 0.006  # root-mean-square log contrast around that skin does not reach; around
_DRIFT_M = 0.010  # over this the relief returns to the mesh
_DARK = (0.1, 0.4)  # of the face's irradiance: less tells nothing, more is believed
_LEAST_LIGHT = 0.35
_FACING = (0.15, 0.45)  # cosine to the camera: seen edge on, seen well
_REACH_TEXELS = 4.0  # neighbours farther apart lie on other islands of the chart


@dataclass(frozen=True)
class ShadedRelief:
    """What the photo's shading tells of the skin's relief."""

    height_m: F32  # (W, W) along the smooth normal
    log_shading: F32  # (W, W) what of the picture's log brightness that relief made


def shaded_relief(
    log_brightness: F32, work: WorkingChart, skin: F32, mirror: F32, fit: HeadFit, texel_m: float
) -> ShadedRelief:
    """Relief on the working grid from log luminance ``(W, W)`` in which fine shading was left.

    ``skin`` ``(W, W)`` in [0, 1] is where relief may be read. ``mirror`` ``(W, W, 2)`` are the texels of the
    other side (``mirror_index``): what the camera does not face was filled from there, its relief as well.
    """
    weight = work.inside * skin
    contrast = blur(log_brightness, FINEST_M / texel_m, weight)
    contrast = contrast - blur(log_brightness, COARSEST_M / texel_m, weight)
    contrast = np.where(weight > 0.3, _CONTRAST_LIMIT * np.tanh(contrast / _CONTRAST_LIMIT), 0)
    energy = blur((contrast * contrast).astype(np.float32), _CALM_M / texel_m, weight)
    gradient = light_gradient(work.normal_head, fit.radiance_sh)
    faced = _faced(work, fit)
    told = contrast * faced * weight / (1 + (energy / _CALM_ENERGY**2) ** 2)
    strength = np.einsum("rck,rck->rc", gradient, gradient)
    slope = -gradient * (told / (strength + _PIGMENT_OVER_SLOPE))[..., None]

    right, down = _steps(work, texel_m)
    screen = np.full(told.shape, (texel_m / _DRIFT_M) ** 2, np.float32)
    height = multigrid.solve(
        np.zeros((*told.shape, 1), np.float32),
        screen,
        np.einsum("rck,rck->rc", slope, right)[..., None].astype(np.float32),
        np.einsum("rck,rck->rc", slope, down)[..., None].astype(np.float32),
        work.inside,
        iterations=8,
        tolerance=1e-2,
    )[..., 0]
    shading = -np.einsum("rck,rck->rc", gradient, _gradient(height, right, down)) * faced
    both = dilate(np.stack([height, shading], -1).astype(np.float32), work.inside) * faced[..., None]
    both = both + (1 - faced)[..., None] * remap(both, mirror)
    return ShadedRelief(np.ascontiguousarray(both[..., 0]), np.ascontiguousarray(both[..., 1]))


def light_gradient(normal: F32, radiance_sh: F32) -> F32:
    """Tangential gradient ``(..., 3)`` of log irradiance by the unit ``normal`` ``(..., 3)``.

    It fades to 0 where the light ``radiance_sh`` ``(9, 3)`` leaves the skin dark.
    """
    light = np.asarray(radiance_sh, np.float64) @ LUMINANCE_REC709 * sh.COSINE_LOBE / np.pi
    here = sh.basis(normal) @ light
    step = 0.05
    out = np.zeros(normal.shape, np.float32)
    for axis in range(3):
        aside = np.zeros(3, np.float32)
        aside[axis] = step
        out[..., axis] = (_irradiance(normal + aside, light) - _irradiance(normal - aside, light)) / (
            2 * step
        )
    front = normal[..., 2] > 0.5
    typical = max(float(np.median(here[front] if front.any() else here)), 1e-6)
    out /= np.maximum(here, _LEAST_LIGHT * typical)[..., None]
    out *= smoothstep((here / typical - _DARK[0]) / (_DARK[1] - _DARK[0]))[..., None]
    return np.asarray(out - np.einsum("...k,...k->...", out, normal)[..., None] * normal, np.float32)


def _irradiance(direction: F32, light: F64) -> NDArray[np.float64]:
    unit = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    return np.asarray(sh.basis(unit) @ light)


def _faced(work: WorkingChart, fit: HeadFit) -> F32:
    """How well ``(W, W)`` in [0, 1] the camera faces the surface."""
    toward = fit.camera.centre_head.astype(np.float32) - work.position_head
    cosine = np.einsum("rck,rck->rc", toward, work.normal_head) / np.linalg.norm(toward, axis=-1)
    return smoothstep((cosine - _FACING[0]) / (_FACING[1] - _FACING[0])) * work.inside


def _steps(work: WorkingChart, texel_m: float) -> tuple[F32, F32]:
    """Metres ``(W, W, 3)`` to the texel on the right and below; 0 where that lies on another island."""
    right, down = np.zeros_like(work.position_head), np.zeros_like(work.position_head)
    right[:, :-1] = np.diff(work.position_head, axis=1)
    down[:-1] = np.diff(work.position_head, axis=0)
    for step in (right, down):
        step[np.einsum("rck,rck->rc", step, step) > (_REACH_TEXELS * texel_m) ** 2] = 0
    return right, down


def _gradient(height: F32, right: F32, down: F32) -> F32:
    """Surface gradient ``(W, W, 3)`` of a height field, dimensionless; 0 at the chart's border."""
    rise, fall = np.zeros_like(height), np.zeros_like(height)
    rise[:, :-1], fall[:-1] = np.diff(height, axis=1), np.diff(height, axis=0)
    e, f, g = (np.einsum("rck,rck->rc", a, b) for a, b in ((right, right), (right, down), (down, down)))
    determinant = e * g - f * f
    sound = determinant > 1e-3 * e * g
    inverse = np.where(sound, 1 / np.where(sound, determinant, 1), 0)
    along, across = (g * rise - f * fall) * inverse, (e * fall - f * rise) * inverse
    return np.asarray(along[..., None] * right + across[..., None] * down, np.float32)
