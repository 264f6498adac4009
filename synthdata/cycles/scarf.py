"""A scarf: cloth gathered into thick loops round the neck, and an end that hangs. Head space, metres."""

from __future__ import annotations

import numpy as np

from synthdata.cycles.body import AROUND
from synthdata.cycles.ground import F64, Ground
from synthdata.cycles.piece import Piece
from synthdata.cycles.tailoring import Front, neck_ring, torus

_UP = np.array([0.0, 1.0, 0.0])
_SECTION = 96
# Heights before and behind, distance from the neck, half the height of each loop.
_LOOPS = ((-0.104, -0.064, 0.014, 0.024), (-0.128, -0.078, 0.024, 0.026), (-0.146, -0.096, 0.030, 0.022))


def scarf(ground: Ground, front: Front, rng: np.random.Generator) -> list[Piece]:
    """Two or three loops; cloth folds lengthways where it is gathered."""
    turn = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    pieces = []
    for first, last, clearance, half in _LOOPS[: int(rng.integers(2, 4))]:
        line = neck_ring(first + 0.006 * rng.normal(), last, clearance, ground, turn)
        # No loop lies level or is as thick everywhere.
        line[:, 1] += 0.010 * rng.normal() * np.sin(turn) + 0.005 * np.sin(2 * turn + rng.uniform(0, 6.3))
        thick = half * (
            1 + 0.12 * np.sin(turn + rng.uniform(0, 6.3)) + 0.08 * np.sin(3 * turn + rng.uniform(0, 6.3))
        )
        pieces.append(Piece(*torus(_gathered(line, turn, thick, rng)), "scarf"))
    return [*pieces, _end(front, rng)]


def _gathered(line: F64, turn: F64, thick: F64, rng: np.random.Generator) -> F64:
    """Rings of a loop ``(section, around, 3)`` whose skin is pleated along it."""
    out = np.stack([np.sin(turn), 0 * turn, np.cos(turn)], -1)
    angle = np.linspace(0, 2 * np.pi, _SECTION, endpoint=False)[:, None]
    drift = 0.8 * np.sin(turn + rng.uniform(0, 6.3)) + 0.4 * np.sin(2 * turn + rng.uniform(0, 6.3))
    pleats = np.ones((_SECTION, len(turn)))
    for count, depth in ((3, 0.10), (5, 0.09), (8, 0.06)):
        phase = count * angle + drift[None] * count * 0.5 + rng.uniform(0, 6.3)
        pleats += depth * (1 - 2 * np.abs(np.sin(phase / 2)))  # ridges are round, hollows sharp
    aside = 0.62 * thick[None] * np.cos(angle) * pleats
    above = thick[None] * np.sin(angle) * pleats
    return np.asarray(line[None] + aside[..., None] * out[None] + above[..., None] * _UP)


def _end(front: Front, rng: np.random.Generator) -> Piece:
    """The end that hangs down in front, pleated lengthways."""
    side = float(rng.choice((-1.0, 1.0)))
    rows = 70
    y = np.linspace(-0.150, -0.150 - rng.uniform(0.20, 0.36), rows)[:, None]
    angle = np.linspace(0, 2 * np.pi, _SECTION, endpoint=False)[None]
    half = 0.030 + 0.026 * np.clip((-0.150 - y) / 0.2, 0, 1)
    x = side * (0.028 + 0.03 * (-0.150 - y)) + half * np.cos(angle)
    pleat = 1 + 0.45 * np.cos(9 * np.arccos(np.clip(np.cos(angle), -1, 1)) + rng.uniform(0, 6.3))
    off = 0.014 + 0.010 * np.sin(angle) * pleat
    place = front.at(x, y + 0 * x, off + 0 * x)
    from synthdata.cases.covers import grid

    return Piece(*grid(place), "scarf")
