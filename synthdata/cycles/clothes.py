"""What is worn below the chin: a body under cloth, collars, jackets, hoods, scarves. Head space, metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from synthdata.cases.covers import grid
from synthdata.cases.glasses import tube_mesh
from synthdata.cycles.ground import F32, F64, I32, Ground, smoothstep

Garment = Literal["tee", "v-neck", "turtleneck", "shirt", "jacket", "hoodie"]
GARMENTS: tuple[Garment, ...] = ("tee", "v-neck", "turtleneck", "shirt", "jacket", "hoodie")
_AROUND, _ROWS = 220, 80
# Heights from the neck to the hips, and there half the width and the depths before and behind the axis.
_HEIGHT = (-0.060, -0.090, -0.100, -0.115, -0.135, -0.165, -0.220, -0.340, -0.520)
_WIDE = (0.056, 0.060, 0.070, 0.108, 0.162, 0.203, 0.226, 0.236, 0.232)
_FRONT = (0.050, 0.052, 0.054, 0.057, 0.062, 0.073, 0.094, 0.120, 0.116)
_BACK = (0.058, 0.064, 0.072, 0.083, 0.092, 0.099, 0.107, 0.114, 0.108)
_SQUARE = 2.5  # exponent of a slice's outline: a body is between an ellipse and a box
_AXIS_Z = -0.007
_CLOTH_M = 0.004  # off the skin
_UP = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True)
class Piece:
    """A mesh of quads with what it is made of."""

    vertices: F32  # (V, 3)
    quads: I32  # (Q, 4)
    stuff: str  # "main", "trim", "under", "scarf": which of the outfit's cloths
    thickness_m: float = 0.0  # a sheet is made this thick


@dataclass(frozen=True)
class OutfitPlan:
    """What somebody wears below the chin."""

    garment: Garment
    scarf: bool
    build: float  # factor on the width of shoulders
    seed: int


def outfit(plan: OutfitPlan, ground: Ground) -> tuple[Piece, ...]:
    """The pieces of ``plan`` over the skin ``ground``."""
    rng = np.random.default_rng([plan.seed, 31])
    turn = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    pieces: list[Piece] = []
    if plan.garment in ("jacket", "hoodie"):
        under = _shell(plan, turn, _round_neck(turn, 0.004) + 0.010, ground, rng, 0.0)
        pieces += [Piece(*grid(under), "under"), Piece(*_edge(under[0], 0.0032), "under")]
    if plan.garment == "tee":
        rows = _shell(plan, turn, _round_neck(turn, float(rng.uniform(0.0, 0.022))), ground, rng, 0.0)
        pieces += [Piece(*grid(rows), "main"), Piece(*_edge(rows[0], 0.0042), "main")]
    elif plan.garment == "v-neck":
        rows = _shell(plan, turn, _v_neck(turn, float(rng.uniform(0.035, 0.075))), ground, rng, 0.0)
        pieces += [Piece(*grid(rows), "main"), Piece(*_edge(rows[0], 0.0030), "main")]
    elif plan.garment == "turtleneck":
        rows = _shell(plan, turn, _round_neck(turn, -0.006), ground, rng, 0.0)
        high = float(rng.uniform(0.020, 0.042))
        pieces += [Piece(*grid(rows), "main"), Piece(*grid(_roll(rows[0], high, ground)), "main")]
    elif plan.garment == "shirt":
        rows = _shell(plan, turn, _v_neck(turn, 0.03, 0.4) + 0.012, ground, rng, 0.0)
        pieces += [Piece(*grid(rows), "main"), *_shirt_collar(ground, rng)]
    elif plan.garment == "jacket":
        rows = _shell(plan, turn, _v_neck(turn, float(rng.uniform(0.16, 0.24)), 1.1), ground, rng, 0.010)
        pieces += [Piece(*grid(rows), "main", 0.003), Piece(*_edge(rows[0], 0.0035), "main")]
        if rng.random() < 0.6:
            pieces += _shirt_collar(ground, rng, "under")
    else:
        rows = _shell(plan, turn, _round_neck(turn, 0.02), ground, rng, 0.006)
        pieces += [Piece(*grid(rows), "main"), Piece(*_hood(ground), "main")]
    if plan.scarf:
        pieces += [Piece(*mesh, "scarf") for mesh in _scarf(ground, rng)]
    return tuple(pieces)


def _round_neck(turn: F64, low_m: float) -> F64:
    """Heights at which the cloth begins: close to the neck, ``low_m`` deeper in front."""
    front, back = np.maximum(np.cos(turn), 0) ** 2.2, smoothstep(-0.1, -1.0, np.cos(turn))
    return np.asarray(-0.101 + 0.010 * back - (0.016 + low_m) * front)


def _v_neck(turn: F64, low_m: float, width: float = 0.75) -> F64:
    """The same, pointed in front."""
    front = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    return np.asarray(_round_neck(turn, 0.0) - low_m * np.clip(1 - front / width, 0, 1) ** 0.9)


def _body(turn: F64, height: F64, build: float) -> F64:
    """Places ``(rows, around, 3)`` of a body without a head at ``height`` ``(rows, around)``."""
    wide, front, back = (_at(height, table) for table in (_WIDE, _FRONT, _BACK))
    wide = wide * (1 + (build - 1) * smoothstep(-0.10, -0.15, height))
    deep = np.where(np.cos(turn)[None] > 0, front, back)
    # Round above, where it is a neck, squarer below.
    power = 2 / (2 + (_SQUARE - 2) * smoothstep(-0.10, -0.16, height))
    x = wide * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** power
    z = deep * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** power
    return np.stack([x, height, _AXIS_Z + z], -1)


def _at(height: F64, table: tuple[float, ...]) -> F64:
    from scipy.interpolate import PchipInterpolator

    return np.asarray(PchipInterpolator(-np.array(_HEIGHT), np.array(table))(-height))


def _shell(
    plan: OutfitPlan, turn: F64, start: F64, ground: Ground, rng: np.random.Generator, over_m: float
) -> F64:
    """Cloth from its neckline's height ``start`` ``(around,)`` down, ``(rows, around, 3)``, with folds."""
    t = np.linspace(0, 1, _ROWS)[:, None] ** 1.7
    body = _body(turn, start[None] + (_HEIGHT[-1] - start[None]) * t, plan.build)
    clearance = _CLOTH_M + over_m
    for _ in range(3):
        body, _, _ = ground.lifted(body, clearance)
    body = _eased(body)
    if over_m:
        middle = np.array([0.0, -0.25, _AXIS_Z])
        gap = body - middle
        body = body + over_m * gap / np.linalg.norm(gap, axis=-1, keepdims=True)
    # Folds hang from shoulders and run down the chest.
    fold = np.zeros(body.shape[:2])
    for _ in range(7):
        direction = np.array([rng.normal(), 0.35 * rng.normal(), rng.normal()])
        direction /= np.linalg.norm(direction)
        wave = rng.uniform(0.03, 0.09)
        fold += np.sin(body @ direction * 2 * np.pi / wave + rng.uniform(0, 6.3)) * wave
    amount = 0.015 * smoothstep(0.02, 0.25, t)
    out = body - np.array([0.0, -0.25, _AXIS_Z])
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    body = body + (amount * fold)[..., None] * out
    lifted, _, _ = ground.lifted(body, clearance)
    return np.asarray(lifted)


def _eased(sheet: F64) -> F64:
    """``sheet`` without the dents that single vertices of the skin press into it; its edges stay."""
    for _ in range(3):
        around = 0.25 * (np.roll(sheet, 1, 1) + np.roll(sheet, -1, 1)) + 0.5 * sheet
        sheet = around.copy()
        sheet[1:-1] = 0.5 * around[1:-1] + 0.25 * (around[:-2] + around[2:])
    return sheet


def _edge(line: F64, radius: float) -> tuple[F32, I32]:
    """A hem round the neckline."""
    return tube_mesh(line, closed=True, radius_m=radius, sides=10)


def _neck_ring(
    front_y: float, back_y: float, clearance: float, ground: Ground, turn: F64, is_closed: bool = True
) -> F64:
    """A line round the neck, ``(around, 3)``."""
    y = back_y + (front_y - back_y) * (0.5 + 0.5 * np.cos(turn))
    ring = np.stack([0.056 * np.sin(turn), y, _AXIS_Z + 0.056 * np.cos(turn)], -1)
    for _ in range(4):
        ring, _, _ = ground.lifted(ring, clearance)
        ring[:, 1] = y
    smooth = ring.copy()
    for _ in range(6):
        eased = 0.5 * smooth + 0.25 * (np.roll(smooth, 1, 0) + np.roll(smooth, -1, 0))
        smooth = eased if is_closed else np.concatenate([smooth[:1], eased[1:-1], smooth[-1:]])
    return np.asarray(smooth)


def _roll(base: F64, high: float, ground: Ground) -> F64:
    """A turned-down collar that stands up from ``base`` ``(around, 3)``: up inside, over, down outside."""
    turn = np.linspace(0, 2 * np.pi, len(base), endpoint=False)
    rows = [base]
    lifts = (0.35, 0.8, 1.0, 1.05, 1.0, 0.7, 0.3)
    off_m = (0.005, 0.005, 0.006, 0.0075, 0.0095, 0.011, 0.0125)
    for lift, clearance in zip(lifts, off_m, strict=True):
        rows.append(_neck_ring(-0.112 + lift * high, -0.092 + 1.15 * lift * high, clearance, ground, turn))
    return np.stack(rows)


def _shirt_collar(ground: Ground, rng: np.random.Generator, stuff: str = "main") -> list[Piece]:
    """A band round the neck, open in front, and the leaf that falls over it with two points."""
    gap = float(rng.uniform(0.08, 0.30))  # radians on either side of the front
    leaf = float(rng.uniform(0.034, 0.046))
    rows = []
    steps = (
        (-0.010, 0.0045, 0.0), (0.006, 0.0055, 0.0), (0.020, 0.0065, 0.0), (0.026, 0.0085, 0.0),
        (0.024, 0.0115, 0.05), (0.015, 0.0140, 0.30), (0.004, 0.0170, 0.62), (-0.008, 0.0200, 1.0),
    )  # fmt: skip
    for lift, clearance, along in steps:
        # The front edges of the leaf run apart, so that it ends in two points.
        turn = np.linspace(gap + 0.30 * along, 2 * np.pi - gap - 0.30 * along, _AROUND)
        front = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
        ahead = np.exp(-(((front - gap) / 0.7) ** 2))
        ring = _neck_ring(-0.112 + lift, -0.088 + lift, clearance, ground, turn, is_closed=False)
        ring[:, 1] -= 0.016 * np.exp(-(((front - gap) / 0.6) ** 2)) + along * leaf * (0.25 + 0.55 * ahead)
        out = np.stack([np.sin(turn), 0 * turn, np.cos(turn)], -1)
        ring += (along * 0.016 * ahead)[:, None] * out
        rows.append(ring)
    sheet = np.stack(rows)
    sheet, _, _ = ground.lifted(sheet, 0.004)
    count, around = sheet.shape[:2]
    a = np.arange(count - 1)[:, None] * around + np.arange(around - 1)
    quads = np.stack([a, a + around, a + around + 1, a + 1], -1).reshape(-1, 4).astype(np.int32)
    return [Piece(sheet.reshape(-1, 3).astype(np.float32), quads, stuff, 0.0016)]


def _hood(ground: Ground) -> tuple[F32, I32]:
    """A hood that lies round the nape, thick behind and thin in front."""
    turn = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    back = 0.5 - 0.5 * np.cos(turn)
    line = _neck_ring(-0.135, -0.090, 0.020, ground, turn)
    line = line + np.stack([0 * turn, 0 * turn, -0.020 * back], -1)
    around = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    thick, wide = 0.010 + 0.012 * back, 0.016 + 0.026 * back
    out = np.stack([np.sin(turn), 0 * turn, np.cos(turn)], -1)
    rows = []
    for a in around:
        aside, above = 0.8 * wide * np.cos(a), thick * np.sin(a) - 0.3 * wide * np.cos(a)
        rows.append(line + aside[:, None] * out + above[:, None] * _UP)
    return _torus(np.stack(rows))


def _scarf(ground: Ground, rng: np.random.Generator) -> list[tuple[F32, I32]]:
    """Two turns of knitted cloth and an end that hangs down."""
    turn = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    made = []
    for front, back, clearance, wide in ((-0.108, -0.066, 0.014, 0.020), (-0.138, -0.090, 0.024, 0.023)):
        tilt = 0.008 * rng.normal()
        line = _neck_ring(front, back, clearance, ground, turn)
        line[:, 1] += tilt * np.sin(turn)
        out = np.stack([np.sin(turn), 0 * turn, np.cos(turn)], -1)
        rows = []
        for a in np.linspace(0, 2 * np.pi, 40, endpoint=False):
            crease = 1 + 0.10 * np.sin(3 * a + 2.0 * np.sin(turn * 2 + rng.uniform(0, 0.2)))
            aside, above = 0.55 * wide * np.cos(a) * crease, wide * np.sin(a) * crease
            rows.append(line + aside[:, None] * out + above[:, None] * _UP)
        made.append(_torus(np.stack(rows)))
    return made


def _torus(rows: F64) -> tuple[F32, I32]:
    """Rings ``(R, C, 3)`` joined by quads in both directions."""
    count, around = rows.shape[:2]
    a = np.arange(count)[:, None] * around + np.arange(around)
    right = np.arange(count)[:, None] * around + (np.arange(around) + 1) % around
    below = ((np.arange(count) + 1) % count)[:, None] * around
    quads = np.stack([a, below + np.arange(around), below + (np.arange(around) + 1) % around, right], -1)
    return rows.reshape(-1, 3).astype(np.float32), quads.reshape(-1, 4).astype(np.int32)
