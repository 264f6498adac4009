"""The left eyeball: an all-quad sphere with a corneal bulge, open at the back, UV centred on the pupil."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.head.arkit import ARKIT_NAMES
from backend.head.base import ParametricHead
from backend.head.ict import EYE_RANGES
from synthdata.headmodel.parts import PartHalf, same_chart_mirrored

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

LIMBUS_RADIUS_M = 0.00585  # half the mean visible iris diameter of 11.7 mm (Rüfer et al. 2005)
CORNEA_RADIUS_M = 0.0078  # mean anterior corneal radius of curvature
SQUARE, RINGS = 8, 12  # O-grid: cells along the pupil's square, rings around it
# ICT's eyeballs keep still in its eyeLook shapes; these turns (pitch, yaw) suit its lids' motion.
GAZES_DEG = {
    "eyeLookUpLeft": (25.0, 0.0),
    "eyeLookDownLeft": (-28.0, 0.0),
    "eyeLookInLeft": (0.0, -28.0),
    "eyeLookOutLeft": (0.0, 28.0),
}
BACK_ANGLE = np.radians(135.0)  # from the optical axis; the rest hides in the socket


def build_eye(ict: ParametricHead) -> PartHalf:
    """The subject's left eye, following ICT's eyeball; looks rotate it about its centre."""
    start, end = EYE_RANGES[0]
    ids = np.arange(start, end)
    points = ict.mean_vertices[ids].astype(np.float64)
    centre = ict.eye_centres[0].astype(np.float64)
    arm = points - centre
    radius = float(np.median(np.linalg.norm(arm, axis=1)))
    disc, quads = o_grid_disc(SQUARE, RINGS)
    direction, share = _directions(disc, radius)
    distance = _profile(np.arccos(np.clip(direction[:, 2], -1, 1)), radius)
    local = direction * distance[:, None]
    sphere = arm / np.linalg.norm(arm, axis=1, keepdims=True)

    # Translation and growth that fit the offsets best: δ_i ≈ t + g·n_i, least squares over ICT's eyeball.
    design = np.concatenate([np.concatenate([np.eye(3)] * len(ids)), sphere.reshape(-1, 1)], 1)
    solver = np.linalg.pinv(design)  # (4, 3S)

    def carry(offsets: NDArray[np.floating[Any]]) -> F64:
        picked = np.asarray(offsets, np.float64)[..., ids, :]
        fit = picked.reshape(*picked.shape[:-2], -1) @ solver.T
        return np.asarray(fit[..., None, :3] + fit[..., 3:, None] * local / radius)

    own = {name: np.zeros_like(local) for name in ARKIT_NAMES}  # a gaze is all that moves an eyeball
    for name, (pitch, yaw) in GAZES_DEG.items():
        own[name] = local @ _turn(pitch, yaw).T - local
    return PartHalf(
        name="eye_left",
        mirror_name="eye_right",
        vertices=centre + local,
        quads=quads,
        uvs=0.5 + 0.49 * share,
        quad_uvs=quads,
        carry=carry,
        own_expressions=own,
        mirror_uv=same_chart_mirrored,
    )


def eye_profile(ict: ParametricHead) -> F64:
    """The eyeball's radius, metres, over 1801 equal steps of the angle from its axis, 0 to π."""
    start, end = EYE_RANGES[0]
    arm = ict.mean_vertices[start:end].astype(np.float64) - ict.eye_centres[0]
    return _profile(np.linspace(0, np.pi, 1801), float(np.median(np.linalg.norm(arm, axis=1))))


def o_grid_disc(square: int, rings: int) -> tuple[F64, I32]:
    """A unit disc of quads: a rounded square grid inside ``rings`` of 4·``square`` quads.

    Returns points ``(N, 2)`` and anticlockwise quads; the square's share of the radius grows with its size.
    """
    inner = square / (square + 2.0 * rings)
    number = {}
    points: list[tuple[float, float]] = []
    for j in range(square + 1):
        for i in range(square + 1):
            x, y = 2 * i / square - 1, 2 * j / square - 1
            # Elliptical square-to-disc map, blended so that the grid's middle stays square.
            number[i, j] = len(points)
            points.append((x * np.sqrt(1 - y * y / 2) * inner, y * np.sqrt(1 - x * x / 2) * inner))
    quads = [
        [number[i, j], number[i + 1, j], number[i + 1, j + 1], number[i, j + 1]]
        for j in range(square)
        for i in range(square)
    ]
    border = (
        [number[i, 0] for i in range(square)]
        + [number[square, j] for j in range(square)]
        + [number[i, square] for i in range(square, 0, -1)]
        + [number[0, j] for j in range(square, 0, -1)]
    )
    previous = border
    base = np.asarray([points[b] for b in border])
    unit = base / np.linalg.norm(base, axis=1, keepdims=True)
    size = len(border)
    for k in range(1, rings + 1):
        radius = inner + (1 - inner) * k / rings
        ring = list(range(len(points), len(points) + size))
        points += [tuple(p) for p in unit * radius]
        quads += [[previous[p], ring[p], ring[(p + 1) % size], previous[(p + 1) % size]] for p in range(size)]
        previous = ring
    return np.asarray(points), np.asarray(quads, np.int32)


def _directions(disc: F64, radius: float) -> tuple[F64, F64]:
    """Unit directions from the eye's centre, and the disc again with the iris given more of the chart."""
    r = np.linalg.norm(disc, axis=1)
    limbus = np.arcsin(LIMBUS_RADIUS_M / radius)
    # Half of the chart's radius is iris: rings are finer where the eye is looked at.
    beyond = np.clip((r - 0.5) / 0.5, 0.0, 1.0)
    angle = np.where(r < 0.5, limbus * r / 0.5, limbus + (BACK_ANGLE - limbus) * beyond**1.2)
    unit = disc / np.maximum(r, 1e-12)[:, None]
    direction = np.c_[unit * np.sin(angle)[:, None], np.cos(angle)]
    direction[r < 1e-9] = [0.0, 0.0, 1.0]
    return direction, disc


def _profile(angle: F64, radius: float) -> F64:
    """Distance from the eye's centre at ``angle`` from the axis: sphere, cornea inside the limbus."""
    limbus = np.arcsin(LIMBUS_RADIUS_M / radius)
    offset = radius * np.cos(limbus) - np.sqrt(CORNEA_RADIUS_M**2 - LIMBUS_RADIUS_M**2)
    c = np.cos(angle)
    cornea = offset * c + np.sqrt(np.maximum(CORNEA_RADIUS_M**2 - offset**2 * np.sin(angle) ** 2, 0.0))
    cornea = np.where(angle < limbus, cornea, radius)
    return np.maximum(cornea, radius)


def _turn(pitch_deg: float, yaw_deg: float) -> F64:
    """Rotation of the gaze: positive pitch looks up, positive yaw to the subject's left (+x)."""
    p, y = np.radians(pitch_deg), np.radians(yaw_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    return np.asarray(about_y @ about_x)
