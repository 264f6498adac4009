"""What is worn below the chin: garments with folds, seams and collars. Head space, metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from synthdata.cases.covers import grid
from synthdata.cycles.body import AROUND, AXIS_Z, LOWEST_Y, ROWS, arm, torso
from synthdata.cycles.folds import folded, sleeve_folds, torso_folds
from synthdata.cycles.ground import F64, Ground, smoothstep
from synthdata.cycles.piece import Piece
from synthdata.cycles.scarf import scarf
from synthdata.cycles.tailoring import (
    Front,
    band,
    hood,
    lapels,
    placket,
    roll_collar,
    shirt_collar,
    tie,
)

Garment = Literal["tee", "v-neck", "turtleneck", "shirt", "jacket", "hoodie"]
GARMENTS: tuple[Garment, ...] = ("tee", "v-neck", "turtleneck", "shirt", "jacket", "hoodie")
_CLOTH_M = 0.004  # off the skin
_LOOSE = {"tee": 0.85, "v-neck": 0.75, "turtleneck": 0.6, "shirt": 1.0, "jacket": 0.6, "hoodie": 1.2}
_OVER_M = {"jacket": 0.011, "hoodie": 0.008}


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
    turn = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    pieces: list[Piece] = []
    if plan.garment == "jacket":
        pieces += _jacket(plan, turn, ground, rng)
    elif plan.garment == "shirt":
        rows = _shell(plan, turn, v_neck(turn, 0.03, 0.4) + 0.012, ground, rng)
        pieces += [Piece(*grid(rows), "main"), *_sleeves(plan, rng), *shirt_collar(ground, rng)]
        pieces += placket(Front(rows), -0.150)
    elif plan.garment == "turtleneck":
        rows = _shell(plan, turn, round_neck(turn, -0.006), ground, rng)
        pieces += [Piece(*grid(rows), "main"), *_sleeves(plan, rng)]
        pieces.append(roll_collar(rows[0], float(rng.uniform(0.020, 0.042)), ground, rng))
    elif plan.garment == "hoodie":
        under = _shell(plan, turn, round_neck(turn, 0.004) + 0.008, ground, rng, "tee")
        rows = _shell(plan, turn, round_neck(turn, 0.02), ground, rng)
        pieces += [Piece(*grid(under), "under"), band(under, 0.016, "under")]
        pieces += [Piece(*grid(rows), "main"), *_sleeves(plan, rng), *hood(ground, Front(rows))]
    else:
        low = float(rng.uniform(0.0, 0.022) if plan.garment == "tee" else rng.uniform(0.035, 0.075))
        start = round_neck(turn, low) if plan.garment == "tee" else v_neck(turn, low)
        rows = _shell(plan, turn, start, ground, rng)
        wide = float(rng.uniform(0.012, 0.024) if plan.garment == "tee" else rng.uniform(0.010, 0.018))
        pieces += [Piece(*grid(rows), "main"), band(rows, wide, "trim"), *_sleeves(plan, rng)]
    if plan.scarf:
        pieces += scarf(ground, Front(_outermost(pieces)), rng)
    return tuple(pieces)


def _jacket(plan: OutfitPlan, turn: F64, ground: Ground, rng: np.random.Generator) -> list[Piece]:
    has_collar = rng.random() < 0.65
    neck = v_neck(turn, 0.03, 0.4) + 0.012 if has_collar else round_neck(turn, 0.004) + 0.008
    under = _shell(plan, turn, neck, ground, rng, "tee")
    pieces = [Piece(*grid(under), "under")]
    if has_collar:
        pieces += shirt_collar(ground, rng, "under")
        front = Front(under)
        pieces += tie(front, -0.120, rng) if rng.random() < 0.4 else placket(front, -0.150, "under")
    else:
        pieces.append(band(under, 0.016, "under"))
    rows = _shell(plan, turn, v_neck(turn, float(rng.uniform(0.16, 0.24)), 0.8), ground, rng)
    front = Front(rows)
    pieces += [Piece(*grid(rows), "main", 0.003), *lapels(rows, front, rng), *_sleeves(plan, rng)]
    pieces.append(band(rows, 0.007))
    for height in (-0.33, -0.43):
        pieces += placket(front, height + 0.028)[1:2]
    return pieces


def _sleeves(plan: OutfitPlan, rng: np.random.Generator) -> list[Piece]:
    """Set in: where they meet the body is a seam."""
    pieces = []
    for side in (-1.0, 1.0):
        ease = 0.004 + _OVER_M.get(plan.garment, 0.0) + 0.004 * _LOOSE[plan.garment]
        sleeve = arm(side, plan.build, ease)
        sleeve = folded(sleeve, sleeve_folds(sleeve, _LOOSE[plan.garment], rng))
        pieces.append(Piece(*grid(sleeve), "main"))
    return pieces


def _outermost(pieces: list[Piece]) -> F64:
    return np.concatenate([p.vertices for p in pieces]).astype(np.float64)[None]


def round_neck(turn: F64, low_m: float) -> F64:
    """Heights at which the cloth begins: close to the neck, ``low_m`` deeper in front."""
    front, back = np.maximum(np.cos(turn), 0) ** 2.2, smoothstep(-0.1, -1.0, np.cos(turn))
    return np.asarray(-0.101 + 0.010 * back - (0.016 + low_m) * front)


def v_neck(turn: F64, low_m: float, width: float = 0.75) -> F64:
    """The same, pointed in front."""
    front = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    return np.asarray(round_neck(turn, 0.0) - low_m * np.clip(1 - front / width, 0, 1) ** 0.9)


def _shell(
    plan: OutfitPlan,
    turn: F64,
    start: F64,
    ground: Ground,
    rng: np.random.Generator,
    garment: str = "",
) -> F64:
    """Cloth from its neckline's height ``start`` ``(around,)`` down, ``(rows, around, 3)``, with folds."""
    garment = garment or plan.garment
    over_m = _OVER_M.get(garment, 0.0)
    t = np.linspace(0, 1, ROWS)[:, None] ** 1.5
    body = torso(turn, start[None] + (LOWEST_Y - start[None]) * t, plan.build)
    clearance = _CLOTH_M + over_m
    for _ in range(3):
        body, _, _ = ground.lifted(body, clearance)
    body = _eased(body)
    if over_m:
        gap = body - np.array([0.0, -0.25, AXIS_Z])
        body = body + over_m * gap / np.linalg.norm(gap, axis=-1, keepdims=True)
    body = folded(body, torso_folds(body, _LOOSE[garment], rng))
    lifted, _, _ = ground.lifted(body, clearance)
    return np.asarray(lifted)


def _eased(sheet: F64) -> F64:
    """``sheet`` without the dents that single vertices of the skin press into it; its edges stay."""
    for _ in range(3):
        around = 0.25 * (np.roll(sheet, 1, 1) + np.roll(sheet, -1, 1)) + 0.5 * sheet
        sheet = around.copy()
        sheet[1:-1] = 0.5 * around[1:-1] + 0.25 * (around[:-2] + around[2:])
    return sheet
