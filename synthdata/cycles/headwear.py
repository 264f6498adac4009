"""Hats: knitted ones, caps with a visor, hats with a brim. Head space, metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial import ConvexHull

from backend.head.base import ParametricHead
from synthdata.cases.covers import edge, grid, hat_mesh, reach
from synthdata.cycles.ground import F32, F64, smoothstep
from synthdata.cycles.piece import Piece

Hat = Literal["", "beanie", "cap", "brim"]
_AROUND, _UP = 240, 48


@dataclass(frozen=True)
class HatPlan:
    """What is on the head."""

    kind: Hat
    seed: int


def hat(plan: HatPlan, head: ParametricHead, vertices: F32) -> tuple[Piece, ...]:
    """The pieces of the hat, () without one."""
    if not plan.kind:
        return ()
    if plan.kind == "beanie":
        return (Piece(*hat_mesh(head, vertices), "hat"),)
    rng = np.random.default_rng([plan.seed, 41])
    skin = vertices[np.unique(head.triangles[head.triangle_part == 0])].astype(np.float64)
    centre, up = edge(head, vertices, skin)
    hull = ConvexHull(skin[(skin - centre) @ up > -0.005])
    front = np.cross([1.0, 0.0, 0.0], up)
    side = np.cross(up, front)
    turn = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    if plan.kind == "cap":
        return _cap(hull.equations, centre, up, front, side, turn, rng)
    return _brimmed(hull.equations, centre, up, front, side, turn, rng)


def _crown(
    planes: F64, centre: F64, up: F64, front: F64, side: F64, turn: F64, cloth_m: float
) -> tuple[F64, F64]:
    """Rings from the crown to the edge ``(rows, around, 3)``, and their directions."""
    share = np.linspace(0, 1, _UP)[:, None]
    tilt = 0.5 * np.pi * np.maximum(share, 1e-3)
    level = np.cos(turn)[None, :, None] * front + np.sin(turn)[None, :, None] * side
    towards = np.sin(tilt)[..., None] * level + np.cos(tilt)[..., None] * up
    radius = reach(planes, centre, towards.reshape(-1, 3)).reshape(towards.shape[:2]) + cloth_m
    return centre + radius[..., None] * towards, towards


def _cap(
    planes: F64, centre: F64, up: F64, front: F64, side: F64, turn: F64, rng: np.random.Generator
) -> tuple[Piece, ...]:
    rows, towards = _crown(planes, centre, up, front, side, turn, 0.0065)
    share = np.linspace(0, 1, _UP)[:, None]
    # Six panels with seams, the two in front stiff and higher.
    seam = np.exp(-(((((turn / (2 * np.pi) * 6) % 1) - 0.5) / 0.02) ** 2))[None]
    ahead = (0.5 + 0.5 * np.cos(turn))[None] ** 2
    stiff = 0.014 * ahead * np.sin(np.pi * np.clip(share * 1.15, 0, 1)) ** 0.8
    rows = rows + (stiff - 0.0006 * seam)[..., None] * towards
    button = rows[0].mean(0)
    pieces = [Piece(*grid(rows), "hat", 0.0015)]
    line = rows[-1]
    span = 0.36 * np.pi
    fan = np.linspace(-span, span, 80)
    at = np.stack(
        [
            np.interp(fan % (2 * np.pi), np.r_[turn, 2 * np.pi], np.r_[line[:, c], line[0, c]])
            for c in range(3)
        ],
        1,
    )
    long = 0.070 * np.clip(1 - (fan / span) ** 4, 0, 1) ** 0.5 * rng.uniform(0.9, 1.1)
    droop = np.radians(rng.uniform(4, 20))
    ahead_dir = np.cos(droop) * front - np.sin(droop) * up
    sheet = []
    for v in np.linspace(-0.06, 1, 18):
        place = at + (v * long)[:, None] * ahead_dir
        bend = (at - centre) @ side
        place = place - (0.28 * v * bend**2 / 0.075)[:, None] * up
        sheet.append(place)
    sheet_rows = np.stack(sheet)
    count, around = sheet_rows.shape[:2]
    a = np.arange(count - 1)[:, None] * around + np.arange(around - 1)
    quads = np.stack([a, a + around, a + around + 1, a + 1], -1).reshape(-1, 4).astype(np.int32)
    pieces.append(Piece(sheet_rows.reshape(-1, 3).astype(np.float32), quads, "visor", 0.0028))
    ball = _dome(button, up, 0.006)
    return (*pieces, Piece(*grid(ball), "hat"))


def _brimmed(
    planes: F64, centre: F64, up: F64, front: F64, side: F64, turn: F64, rng: np.random.Generator
) -> tuple[Piece, ...]:
    rows, _ = _crown(planes, centre, up, front, side, turn, 0.007)
    height = (rows - centre) @ up
    most = height.max()
    # Felt stands: walls go up before the crown closes, and a crease runs along the top.
    straight = smoothstep(0.0, 0.75, height / most)
    level = rows - centre - height[..., None] * up
    wide = level[-1] * 0.96
    out_to = 0.55 * straight * smoothstep(0, 0.35, np.linspace(0, 1, _UP))[:, None]
    rows = centre + (1 - 0.55 * straight)[..., None] * level + out_to[..., None] * wide
    rows = rows + (1.12 * height)[..., None] * up
    across = (rows - centre) @ side
    crease = 0.016 * np.exp(-((across / 0.022) ** 2)) * smoothstep(0.75, 1.0, height / most)
    rows = rows - crease[..., None] * up
    line = rows[-1]
    out = line - centre
    out -= (out @ up)[:, None] * up
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    brim = rng.uniform(0.045, 0.075)
    curl = 0.018 * (0.5 - 0.5 * np.cos(2 * turn)) - 0.008 * (0.5 + 0.5 * np.cos(turn))
    sheet = [line - 0.002 * out]
    for v in np.linspace(0.05, 1, 14):
        sheet.append(line + (v * brim) * out + (v**2 * curl)[:, None] * up)
    band = np.stack([line + 0.0012 * out + h * up for h in np.linspace(0.001, 0.026, 6)])
    lean = (rows - centre) @ up
    for k, h in enumerate(np.linspace(0.001, 0.026, 6)):
        near = np.abs(lean - lean[-1].mean() - h).argmin(0)
        at = rows[near, np.arange(_AROUND)]
        gap = at - centre
        gap -= (gap @ up)[:, None] * up
        far = np.linalg.norm(gap, axis=1, keepdims=True)
        band[k] = centre + gap / far * (far + 0.0015) + (lean[-1][:, None] + h) * up
    return (
        Piece(*grid(rows), "hat", 0.002),
        Piece(*grid(np.stack(sheet)), "hat", 0.0025),
        Piece(*grid(band), "band"),
    )


def _dome(place: F64, up: F64, radius: float) -> F64:
    aside = np.cross(up, [1.0, 0.0, 0.0])
    ahead = np.cross(up, aside)
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    rows = []
    for tilt in np.linspace(0.05, 0.5 * np.pi, 8):
        level = np.cos(turn)[:, None] * aside + np.sin(turn)[:, None] * ahead
        rows.append(place + radius * (np.sin(tilt) * level + 0.6 * np.cos(tilt) * up))
    return np.stack(rows)
