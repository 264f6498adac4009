"""The left eyeball: an all-quad sphere whose iris lies back behind the cornea, open at the back.

The cornea itself is a part of its own (``cornea``). The chart is centred on the pupil.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.head.arkit import ARKIT_NAMES
from backend.head.base import ParametricHead
from backend.head.eyeball import GAZES_DEG, LIMBUS_RADIUS_M, outer_profile, turn
from backend.head.ict import EYE_RANGES
from synthdata.headmodel.parts import Carry, PartHalf, same_chart_mirrored

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

SQUARE = 8  # cells along the side of the O-grid's square, which is the pupil
# Chart radii of the square's border and of the rings around it; half of the chart's radius is iris.
RINGS = (0.180, 0.198, 0.29, 0.40, 0.475, 0.50, 0.53, 0.60, 0.72, 0.86, 1.0)
# The eye's section from the pupil's middle to the limbus: chart radius, and depth behind the limbus' plane.
# The iris is a shallow bowl, as light that a cornea bends would fall on it; the pupil is a pit.
SECTION_M = (
    (0.0, 0.00150),
    (0.172, 0.00145),
    (0.182, 0.00105),
    (0.198, 0.00092),
    (0.29, 0.00080),
    (0.40, 0.00062),
    (0.475, 0.00040),
    (0.50, 0.0),
)
BACK_ANGLE = np.radians(135.0)  # from the optical axis; the rest hides in the socket


@dataclass(frozen=True)
class Eyeball:
    """The subject's left eyeball as ICT has it, and how what belongs to it moves."""

    centre: F64  # (3,) head space, metres
    radius: float
    ids: NDArray[np.intp]  # its vertices among ICT's
    solver: F64  # (4, 3·ids) offsets there to translation and growth, metres

    @staticmethod
    def of(ict: ParametricHead) -> Eyeball:
        ids = np.arange(*EYE_RANGES[0])
        centre = ict.eye_centres[0].astype(np.float64)
        arm = ict.mean_vertices[ids].astype(np.float64) - centre
        length = np.linalg.norm(arm, axis=1, keepdims=True)
        # Translation and growth that fit offsets best: δ_i ≈ t + g·n_i, least squares over ICT's eyeball.
        design = np.concatenate([np.concatenate([np.eye(3)] * len(ids)), (arm / length).reshape(-1, 1)], 1)
        return Eyeball(centre, float(np.median(length)), ids, np.linalg.pinv(design))

    def carry(self, local: F64) -> Carry:
        """What carries points ``local`` ``(N, 3)`` about the centre with the eyeball."""

        def carry(offsets: NDArray[np.floating[Any]]) -> F64:
            picked = np.asarray(offsets, np.float64)[..., self.ids, :]
            fit = picked.reshape(*picked.shape[:-2], -1) @ self.solver.T
            return np.asarray(fit[..., None, :3] + fit[..., 3:, None] * local / self.radius)

        return carry

    def part(self, name: str, local: F64, share: F64, quads: I32) -> PartHalf:
        """The part ``name``: ``local`` ``(N, 3)`` metres about the centre, charted on the disc ``share``."""
        return PartHalf(
            name=f"{name}_left",
            mirror_name=f"{name}_right",
            vertices=self.centre + local,
            quads=quads,
            uvs=0.5 + 0.49 * share,
            quad_uvs=quads,
            carry=self.carry(local),
            own_expressions=gaze_offsets(local),
            mirror_uv=same_chart_mirrored,
        )

    def profile(self) -> F64:
        """The outer radius, metres, over 1801 equal steps of the angle from the axis, 0 to π."""
        return outer_profile(np.linspace(0, np.pi, 1801), self.radius)


def gaze_offsets(local: F64) -> dict[str, F64]:
    """What the expressions do to points ``local`` of the left eye: a gaze is all that moves an eyeball."""
    still = {name: np.zeros_like(local) for name in ARKIT_NAMES}
    return still | {name: local @ turn(*gaze).T - local for name, gaze in GAZES_DEG.items()}


def build_eye(eyeball: Eyeball) -> PartHalf:
    """The subject's left eye; looks rotate it about its centre."""
    share, quads = o_grid(SQUARE, RINGS)
    local = _surface(share, eyeball.radius)
    return eyeball.part("eye", local, share, quads)


def o_grid_disc(square: int, rings: int) -> tuple[F64, I32]:
    """``o_grid`` with evenly spaced rings; the square's share of the radius grows with its size."""
    inner = square / (square + 2.0 * rings)
    return o_grid(square, inner + (1 - inner) * np.arange(rings + 1) / rings)


def o_grid(square: int, radii: Sequence[float] | F64) -> tuple[F64, I32]:
    """A disc of quads: a rounded square grid of ``radii[0]``, and rings of 4·``square`` quads around it.

    Returns points ``(N, 2)`` and anticlockwise quads.
    """
    inner = radii[0]
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
    for radius in radii[1:]:
        ring = list(range(len(points), len(points) + size))
        points += [tuple(p) for p in unit * radius]
        quads += [[previous[p], ring[p], ring[(p + 1) % size], previous[(p + 1) % size]] for p in range(size)]
        previous = ring
    return np.asarray(points), np.asarray(quads, np.int32)


def _surface(disc: F64, radius: float) -> F64:
    """Points ``(N, 3)`` about the eye's centre for chart places ``(N, 2)`` in the unit disc."""
    r = np.linalg.norm(disc, axis=1)
    limbus = np.arcsin(LIMBUS_RADIUS_M / radius)
    beyond = np.clip((r - 0.5) / 0.5, 0.0, 1.0)
    angle = limbus + (BACK_ANGLE - limbus) * beyond**1.2
    depth = np.interp(r, *np.array(SECTION_M).T)
    across = np.where(r < 0.5, LIMBUS_RADIUS_M * r / 0.5, radius * np.sin(angle))
    along = np.where(r < 0.5, radius * np.cos(limbus) - depth, radius * np.cos(angle))
    unit = disc / np.maximum(r, 1e-12)[:, None]
    return np.asarray(np.c_[unit * across[:, None], along])
