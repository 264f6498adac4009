"""The left cornea: a clear all-quad cap over the iris whose rim sinks into the white of the eye."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.head.eyeball import LIMBUS_RADIUS_M, outer_profile
from synthdata.headmodel.eyes import Eyeball, o_grid
from synthdata.headmodel.parts import PartHalf

F64 = NDArray[np.float64]

SQUARE = 4
RINGS = (0.30, 0.50, 0.68, 0.82, 0.91, 1.0)  # shares of the cap's radius
RIM_RADIUS_M = 0.0070  # the cap ends beyond the limbus,
SUNK_M = 0.00012  # this far below the sclera,
BLEND_M = 0.00022  # into which it runs with a fillet of about this height
CLEAR_M = 0.00002  # nowhere does it touch what lies below


def build_cornea(eyeball: Eyeball) -> PartHalf:
    """The subject's left cornea; it moves as the eyeball does."""
    share, quads = o_grid(SQUARE, RINGS)
    across = np.linalg.norm(share, axis=1) * RIM_RADIUS_M
    angle = np.arcsin(across / eyeball.radius)
    unit = share / np.maximum(np.linalg.norm(share, axis=1, keepdims=True), 1e-12)
    local = _height(angle, eyeball.radius)[:, None] * np.c_[unit * np.sin(angle)[:, None], np.cos(angle)]
    return eyeball.part("cornea", local, share, quads)


def _height(angle: F64, radius: float) -> F64:
    """Distance from the eye's centre at ``angle`` from its axis: a smooth maximum of cornea and rim."""
    limbus = np.arcsin(LIMBUS_RADIUS_M / radius)
    outer = outer_profile(angle, radius)
    # Beyond the limbus the bulge's own sphere goes on below the sclera.
    steep = (radius - outer_profile(np.array([limbus - 1e-3]), radius)[0]) / 1e-3
    bulge = np.where(angle < limbus, outer, radius + steep * (angle - limbus))
    rim = radius - SUNK_M * np.clip((angle - limbus) / (np.arcsin(RIM_RADIUS_M / radius) - limbus), 0, 1)
    rise = (bulge - rim) / BLEND_M
    return np.asarray(rim + BLEND_M * np.logaddexp(0.0, 2.0 * rise) / 2.0 + CLEAR_M * (angle < limbus))
