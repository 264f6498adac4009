"""Studio lights as analytic lat-longs, for previews where no HDRI is at hand. No data files.

Placed as a photographer speaks of them: azimuth 0° is in front of the face, positive towards the
subject's left (+X), which is the right of a frontal picture; elevation is above the horizon.
Exposure: a white card facing +Z shows a radiance of about 1 under each of these lights.
"""

from __future__ import annotations

import math

import numpy as np

from backend.artifacts import F32, F64
from backend.shading import latlong
from backend.shading.environment import Environment

_ROWS = 128
_WARM = (1.0, 0.93, 0.84)
_COOL = (0.82, 0.91, 1.0)
_WHITE = (1.0, 1.0, 1.0)


def direction(azimuth_deg: float, elevation_deg: float) -> F64:
    """Unit head-space direction ``(3,)`` towards a light."""
    az, el = math.radians(azimuth_deg), math.radians(elevation_deg)
    return np.array([math.sin(az) * math.cos(el), math.sin(el), math.cos(az) * math.cos(el)])


def three_point() -> Environment:
    """Key softbox high on the subject's right, broad fill on the left, rim from behind."""
    light = (
        _softbox(-42, 32, 21, 21.0, _WARM)
        + _softbox(48, 8, 34, 1.7, _COOL)
        + _softbox(152, 34, 16, 16.0, _COOL)
        + _softbox(-150, 20, 12, 8.0, _WHITE)
        + _gradient((0.10, 0.105, 0.115), (0.035, 0.033, 0.03))
    )
    return Environment("three-point studio", light).exposed()


def hard_side() -> Environment:
    """One small hard light from the subject's left, next to nothing else."""
    light = _softbox(68, 22, 7, 190.0, _WARM) + _gradient((0.10, 0.12, 0.15), (0.05, 0.05, 0.055))
    return Environment("hard side light", light).exposed(0.62)


def soft_sky() -> Environment:
    """An overcast sky, brighter ahead, over warm ground."""
    at = latlong.directions(_ROWS)
    sky = _gradient((0.80, 0.92, 1.08), (0.20, 0.175, 0.15))
    ahead = 0.65 + 0.5 * np.clip(at[..., 2:], -0.2, 1)
    light = (sky * ahead).astype(np.float32) + _softbox(20, 40, 40, 1.3, _WHITE)
    return Environment("soft sky", light).exposed()


def _softbox(
    azimuth: float, elevation: float, radius: float, strength: float, colour: tuple[float, float, float]
) -> F32:
    """A round softbox of angular ``radius`` in degrees with a soft rim of a fifth of it."""
    angle = np.degrees(np.arccos(np.clip(latlong.directions(_ROWS) @ direction(azimuth, elevation), -1, 1)))
    t = np.clip((radius - angle) / (0.2 * radius) + 0.5, 0, 1)
    return np.asarray(strength * (t * t * (3 - 2 * t))[..., None] * np.array(colour), np.float32)


def _gradient(above: tuple[float, float, float], below: tuple[float, float, float]) -> F32:
    up = latlong.directions(_ROWS)[..., 1:2]
    t = 0.5 + 0.5 * np.tanh(up / 0.25)
    return np.asarray(np.array(above) * t + np.array(below) * (1 - t), np.float32)
