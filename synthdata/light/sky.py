"""A clear sky with its sun: Preetham, Shirley & Smits, "A Practical Analytic Model for Daylight" (1999).

The dome's colour and brightness follow their fits of Perez's formula. The sun's disc is drawn wider than
half a degree, at the same energy, so that a small panorama holds it.
"""

from __future__ import annotations

import math

import numpy as np

from backend.artifacts import F32, F64
from backend.colour import RGB_TO_XYZ
from backend.shading import latlong

_ROWS = 128
_SUN_RADIUS_DEG = 2.5
# Perez' A … E for luminance Y and chromaticities x, y: slope over turbidity and constant.
_PEREZ = {
    "Y": ((0.1787, -1.4630), (-0.3554, 0.4275), (-0.0227, 5.3251), (0.1206, -2.5771), (-0.0670, 0.3703)),
    "x": ((-0.0193, -0.2592), (-0.0665, 0.0008), (-0.0004, 0.2125), (-0.0641, -0.8989), (-0.0033, 0.0452)),
    "y": ((-0.0167, -0.2608), (-0.0950, 0.0092), (-0.0079, 0.2102), (-0.0441, -1.6537), (-0.0109, 0.0529)),
}
# Zenith chromaticity: rows turbidity², turbidity, 1; columns sun angle³ … 1.
_ZENITH_X = (
    (0.00166, -0.00375, 0.00209, 0.0),
    (-0.02903, 0.06377, -0.03202, 0.00394),
    (0.11693, -0.21196, 0.06052, 0.25886),
)
_ZENITH_Y = (
    (0.00275, -0.00610, 0.00317, 0.0),
    (-0.04214, 0.08970, -0.04153, 0.00516),
    (0.15346, -0.26756, 0.06670, 0.26688),
)


def clear_sky(
    sun_head: F64,
    turbidity: float,
    sun_share: float,
    ground_linear: F64,
    rows: int = _ROWS,
    sun_radius_deg: float = _SUN_RADIUS_DEG,
) -> F32:
    """A lat-long ``(rows, 2 rows, 3)``: radiance relative to the sky's mean.

    ``sun_head`` ``(3,)`` is the unit direction towards the sun, above the horizon; ``turbidity`` is 2 (clear)
    to 8 (hazy); ``sun_share`` is what the sun adds of a level surface's irradiance, 0 (behind a cloud) to
    0.9; ``ground_linear`` ``(3,)`` is the albedo of what lies below the horizon.
    """
    at = latlong.directions(rows)
    angle = np.arccos(np.clip(at @ sun_head, -1, 1))
    zenith_angle = math.acos(float(np.clip(sun_head[1], 0.02, 1)))
    up = np.maximum(at[..., 1], 0.01)
    luminance = _zenith_luminance(zenith_angle, turbidity) * _perez("Y", turbidity, up, angle, zenith_angle)
    x = _zenith_chromaticity(_ZENITH_X, zenith_angle, turbidity) * _perez(
        "x", turbidity, up, angle, zenith_angle
    )
    y = _zenith_chromaticity(_ZENITH_Y, zenith_angle, turbidity) * _perez(
        "y", turbidity, up, angle, zenith_angle
    )
    xyz = np.stack([x / y, np.ones_like(x), (1 - x - y) / y], -1) * np.maximum(luminance, 0)[..., None]
    dome = np.maximum(xyz @ np.linalg.inv(RGB_TO_XYZ).T, 0)
    above = at[..., 1] > 0
    share = latlong.solid_angles(rows)
    onto_level = np.where(above, share * at[..., 1], 0)
    from_dome = (dome * onto_level[..., None]).sum((0, 1))
    disc = np.degrees(angle) < sun_radius_deg
    warm = _sun_colour(zenith_angle, turbidity)
    strength = sun_share / (1 - sun_share) * from_dome.mean() / max(float((disc * onto_level).sum()), 1e-9)
    sky = np.where(above[..., None], dome, 0) + (disc & above)[..., None] * strength * warm
    onto_ground = from_dome + sun_share / (1 - sun_share) * from_dome.mean() * warm
    light = np.where(above[..., None], sky, ground_linear * onto_ground / np.pi)
    return np.asarray(light / max(float(dome[above].mean()), 1e-9), np.float32)


def _perez(name: str, turbidity: float, up: F64, angle: F64, zenith_angle: float) -> F64:
    """Over its value at the zenith."""
    a, b, c, d, e = (slope * turbidity + constant for slope, constant in _PEREZ[name])

    def formula(cosine: F64 | float, gamma: F64 | float) -> F64:
        found: F64 = (1 + a * np.exp(b / cosine)) * (1 + c * np.exp(d * gamma) + e * np.cos(gamma) ** 2)
        return found

    return formula(up, angle) / formula(1.0, zenith_angle)


def _zenith_luminance(zenith_angle: float, turbidity: float) -> float:
    chi = (4 / 9 - turbidity / 120) * (math.pi - 2 * zenith_angle)
    return (4.0453 * turbidity - 4.9710) * math.tan(chi) - 0.2155 * turbidity + 2.4192


def _zenith_chromaticity(fit: tuple[tuple[float, ...], ...], zenith_angle: float, turbidity: float) -> float:
    powers = np.array([zenith_angle**3, zenith_angle**2, zenith_angle, 1.0])
    return float(np.array([turbidity**2, turbidity, 1.0]) @ (np.array(fit) @ powers))


def _sun_colour(zenith_angle: float, turbidity: float) -> F64:
    """Its mean is 1: what Rayleigh's and haze's scattering leave of white after the air it went through."""
    wavelength = np.array([0.610, 0.545, 0.450])  # µm, of the primaries
    degrees = math.degrees(zenith_angle)
    air = 1 / (math.cos(zenith_angle) + 0.15 * (93.885 - min(degrees, 93.0)) ** -1.253)
    beta = 0.04608 * turbidity - 0.04586
    left: F64 = np.exp(-0.008735 * air * wavelength**-4.08) * np.exp(-beta * air * wavelength**-1.3)
    return np.asarray(left / left.mean())
