"""The light on the photographed face: SH radiance with self-shadowing, re-estimated on the skin."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from backend.artifacts import F32, F64, HeadFit
from backend.colour import LUMINANCE_REC709
from backend.geometry.light import GLOSS
from backend.shading import sh
from backend.texture.albedo_prior import fitted_albedo, plain_skin
from backend.texture.trust import smoothstep
from backend.texture.visibility import shadowed_transfer, vertex_normals

_FLOOR = 0.18  # of the mean shading: what bounces into the darkest place
_SHADOW_TRUST = 0.75  # how far the fitted head's self-shadowing is believed
# How far the fitted light's mean colour is believed; 0 believes the camera's white balance. Daylight and
# lamps differ in blue against red; a green or magenta light is more likely an error of the albedo basis.
_BLUE_RED_TRUST = 0.75
_GREEN_TRUST = 0.25
# Pull of the starting light, relative to the data; higher bands are less certain.
_PRIOR = 0.02 * np.array([0.25] + [1.0] * 3 + [3.0] * 5)
_COLOUR_PRIOR = 0.02 * np.array([0.25] + [5.0] * 3 + [25.0] * 5)
_MAX_TINT = 1.35  # how much redder or bluer than the mean light any place may be lit
_OUTLIER = 0.15  # relative error beyond which a vertex (beard, shadow edge, highlight) counts less


@dataclass(frozen=True)
class Illumination:
    """What a white diffuse surface would show at each vertex, and the light that does it."""

    shading: F32  # (V, 3) radiance of a white Lambertian surface, linear, > 0
    radiance_sh: F32  # (9, 3)


@dataclass(frozen=True)
class Transfer:
    """How a photographed head takes up light; independent of the light."""

    irradiance: F64  # (V, 9) times radiance_sh is irradiance, with self-shadowing
    bounce: F64  # (V, 3) factor by which light between the walls of a crease adds to it, ≥ 1


def transfer_of(fit: HeadFit) -> Transfer:
    """Self-shadowed transfer of the photographed face; kept for the last fit, two stages need it."""
    return _cached_transfer(_FitKey(fit))


class _FitKey:
    """A fit compared by what the transfer depends on."""

    def __init__(self, fit: HeadFit) -> None:
        digest = hashlib.blake2b(digest_size=16)
        for part in (fit.vertices_head, fit.head.triangles, fit.head.quad_part, fit.albedo_coefficients):
            digest.update(np.ascontiguousarray(part).tobytes())
        self.fit = fit
        self.digest = digest.digest() + fit.head.name.encode()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _FitKey) and self.digest == other.digest


@lru_cache(maxsize=1)
def _cached_transfer(key: _FitKey) -> Transfer:
    fit = key.fit
    transfer, openness = shadowed_transfer(fit.head, fit.vertices_head)
    # Creases of a fitted head are only roughly those of the person: full correction would print them.
    skin = fit.head.triangles[fit.head.triangle_part == 0]
    open_transfer = sh.basis(vertex_normals(fit.vertices_head, skin)) * sh.COSINE_LOBE
    transfer = open_transfer + _SHADOW_TRUST * (transfer - open_transfer)
    openness = 1 - _SHADOW_TRUST * (1 - openness)
    # One geometric series per channel: skin returns red more than blue, so creases are warm.
    typical = np.average(fitted_albedo(fit), axis=0, weights=plain_skin(fit.head))
    bounce = 1 / (1 - typical[None] * (1 - openness)[:, None])
    return Transfer(transfer, bounce)


def illumination(transfer: Transfer, fit: HeadFit, colour: F32, weight: F32) -> Illumination:
    """Light that explains vertex ``colour`` ``(V, 3)`` seen with ``weight`` ``(V,)`` by the fitted albedo.

    Starts at ``fit.radiance_sh``, takes self-shadowing into account, and moves only as far as the
    skin that was seen supports.
    """
    light = _refit(transfer, fit, colour, weight)
    return Illumination(
        _shading(transfer, light),
        light.astype(np.float32),
    )


def _shading(transfer: Transfer, light: F64) -> F32:
    """Positive shading of believable colour: truncated SH ring below zero where no light is known."""
    value = transfer.irradiance @ light / np.pi
    mean = np.maximum(value, 0).mean(0) + 1e-6
    bright = value @ LUMINANCE_REC709
    typical = float(mean @ LUMINANCE_REC709)
    floor = _FLOOR * typical
    # A soft maximum: a hard one would print the terminator's edge into the albedo.
    lifted = 0.5 * (bright + floor + np.sqrt((bright - floor) ** 2 + (0.5 * floor) ** 2))
    # The darker the place, the less its computed colour means.
    sure = smoothstep((bright / typical - _FLOOR) / 0.6)[:, None]
    tint = (value / np.maximum(bright, floor)[:, None]) / (mean / typical)
    tint = 1 + sure * (np.clip(tint, 1 / _MAX_TINT, _MAX_TINT) - 1)
    # Photos are white-balanced: most of a deviation from white is the skin's, not the light's.
    white = _white_point(mean / typical)
    colour = tint * white / float(white @ LUMINANCE_REC709)
    colour /= (colour @ LUMINANCE_REC709)[:, None]
    out: F32 = (lifted[:, None] * colour * transfer.bounce).astype(np.float32)
    return out


def _white_point(colour: F64) -> F64:
    """The part of the light's mean ``colour`` ``(3,)`` that is believed, of the same brightness."""
    log = np.log(np.maximum(colour, 1e-3))
    blue_red = _BLUE_RED_TRUST * 0.5 * (log[2] - log[0])
    green = _GREEN_TRUST * (log[1] - 0.5 * (log[0] + log[2]))
    out: F64 = np.exp(np.array([-blue_red - green / 3, 2 * green / 3, blue_red - green / 3]))
    return out


def _refit(transfer: Transfer, fit: HeadFit, colour: F32, weight: F32) -> F64:
    """Luminance of the light from all nine functions, then its colour, which may vary but slowly."""
    start = np.asarray(fit.radiance_sh, np.float64)
    albedo = fitted_albedo(fit).astype(np.float64)
    trust = weight.astype(np.float64) * plain_skin(fit.head)
    use = trust > 1e-3
    if use.sum() < 200:
        return start
    albedo = (albedo + GLOSS) * transfer.bounce
    t, a, seen, trust = transfer.irradiance[use], albedo[use], colour[use].astype(np.float64), trust[use]
    y = LUMINANCE_REC709.astype(np.float64)
    white = _robust_light(t * (a @ y / np.pi)[:, None], seen @ y, trust, start @ y, _PRIOR)
    light = np.empty((9, 3))
    for channel in range(3):
        rows = t * (a[:, channel] / np.pi)[:, None]
        centre = white * _robust_scale(rows @ white, seen[:, channel], trust)
        light[:, channel] = _robust_light(rows, seen[:, channel], trust, centre, _COLOUR_PRIOR)
    return light if np.isfinite(light).all() else start


def _robust_scale(predicted: F64, seen: F64, trust: F64) -> float:
    """Weighted median of seen over predicted."""
    ratio = seen / np.maximum(predicted, 1e-4)
    order = np.argsort(ratio)
    running = np.cumsum(trust[order])
    return float(ratio[order[np.searchsorted(running, 0.5 * running[-1])]])


def _robust_light(rows: F64, seen: F64, trust: F64, centre: F64, prior: F64) -> F64:
    """Nine coefficients that explain ``seen`` ``(n,)`` as ``rows @ light``, held near ``centre``."""
    light = centre.copy()
    typical = max(float(np.average(seen, weights=trust)), 1e-4)
    # Relative errors, or bright skin alone would decide; floored, or the darkest would.
    relative = 1 / np.maximum(rows @ centre, 0.3 * typical)
    for _ in range(4):
        error = (rows @ light - seen) * relative
        w = trust * relative**2 / (1 + (error / _OUTLIER) ** 2)
        strength = prior * float(np.sum(w * rows[:, 0] ** 2))
        left = rows.T @ (rows * w[:, None]) + np.diag(strength)
        light = np.linalg.solve(left, rows.T @ (w * seen) + strength * centre)
    out: F64 = light
    return out
