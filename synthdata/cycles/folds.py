"""Folds of cloth: ridges along lines on a sheet of rings. Head space, metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from synthdata.cycles.ground import F64, unit

_STEPS = 60
_HOLLOW, _HOLLOW_WIDE = 0.45, 2.1  # a ridge stands between two hollows
_REACH = 4.5  # widths beyond which a fold does nothing


@dataclass(frozen=True)
class Fold:
    """One ridge."""

    line: F64  # (n, 3) on the sheet
    width_m: float
    height_m: float


def folded(rows: F64, folds: list[Fold]) -> F64:
    """Rings ``(R, C, 3)`` with their folds, along the sheet's normals; ridges fade at their ends."""
    flat = rows.reshape(-1, 3)
    lift = np.zeros(len(flat))
    for fold in folds:
        gap, at = cKDTree(fold.line).query(flat, distance_upper_bound=_REACH * fold.width_m)
        near = np.flatnonzero(np.isfinite(gap))
        d = (gap[near] / fold.width_m) ** 2
        share = at[near] / (len(fold.line) - 1)
        ends = np.sin(np.pi * np.clip(share, 0, 1)) ** 0.7
        lift[near] += fold.height_m * ends * (np.exp(-d) - _HOLLOW * np.exp(-d / _HOLLOW_WIDE**2))
    return np.asarray(rows + lift.reshape(rows.shape[:2])[..., None] * normals_of(rows))


def normals_of(rows: F64) -> F64:
    """Unit normals ``(R, C, 3)`` of rings that close, away from each ring's middle."""
    down = np.gradient(rows, axis=0)
    around = 0.5 * (np.roll(rows, -1, 1) - np.roll(rows, 1, 1))
    out = unit(np.cross(down, around))
    away = (out * (rows - rows.mean(1, keepdims=True))).sum(-1)
    return np.asarray(out * np.where(away.mean() < 0, -1.0, 1.0))


def torso_folds(rows: F64, loose: float, rng: np.random.Generator) -> list[Fold]:
    """What a shirt does: strained from the armpits, hanging between the shoulders, slack over the belly.

    ``loose`` scales the folds: 0.5 sits close, 1 hangs.
    """
    out = []
    for side in (-1.0, 1.0):
        armpit = (side * 1.2, -0.235)
        for _ in range(5):
            end = (side * rng.uniform(0.15, 0.75), -0.235 + rng.uniform(-0.15, 0.02))
            out.append(_fold(rows, [armpit, end], (0.006, 0.011), (0.004, 0.009), loose, rng))
        for _ in range(3):
            end = (side * rng.uniform(0.45, 0.95), rng.uniform(-0.165, -0.14))
            out.append(_fold(rows, [armpit, end], (0.006, 0.010), (0.003, 0.007), loose, rng))
        for _ in range(3):
            start = (side * rng.uniform(2.0, 2.8), rng.uniform(-0.3, -0.2))
            out.append(_fold(rows, [(side * 1.9, -0.235), start], (0.007, 0.012), (0.003, 0.008), loose, rng))
    for _ in range(4):
        wide, top = rng.uniform(0.5, 1.0), rng.uniform(-0.16, -0.13)
        sag = top - rng.uniform(0.03, 0.09)
        middle = rng.normal(0, 0.15)
        path = [(-wide, top), (middle, sag), (wide, top + rng.normal(0, 0.01))]
        out.append(_fold(rows, path, (0.006, 0.012), (0.003, 0.006), loose, rng))
    for _ in range(9):
        turn, y = rng.uniform(-1.1, 1.1), rng.uniform(-0.46, -0.24)
        way = np.array([rng.uniform(0.4, 1.0) * rng.choice((-1, 1)), rng.normal(0, 0.05)])
        path = [(turn, y), (turn + 0.5 * way[0], y + way[1] - 0.01), (turn + way[0], y + way[1])]
        out.append(_fold(rows, path, (0.007, 0.016), (0.003, 0.009), loose, rng))
    return out


def sleeve_folds(rows: F64, loose: float, rng: np.random.Generator) -> list[Fold]:
    """Folds that wind round an arm."""
    count, around = rows.shape[:2]
    out = []
    for _ in range(16):
        start, turn = rng.uniform(0.25, 0.85), rng.uniform(0, 1)
        along, half = 0.14 * rng.normal(), rng.uniform(0.15, 0.5)
        t = np.linspace(0, 1, _STEPS)
        r = np.clip((start + along * t) * (count - 1), 0, count - 1).astype(int)
        c = ((turn + half * t) * around).astype(int) % around
        bend = 0.010 * np.sin(np.pi * t)
        line = rows[r, c] - np.array([0.0, 1.0, 0.0]) * bend[:, None]
        out.append(Fold(line, float(rng.uniform(0.006, 0.011)), float(loose * rng.uniform(0.003, 0.008))))
    return out


def _fold(
    rows: F64,
    path: list[tuple[float, float]],
    width: tuple[float, float],
    height: tuple[float, float],
    loose: float,
    rng: np.random.Generator,
) -> Fold:
    """Through ``path``: turn from the front in radians, height in metres."""
    corners = np.array(path)
    corners = corners + rng.normal(0, [0.05, 0.005], corners.shape)
    t = np.linspace(0, 1, _STEPS)
    if len(corners) == 2:
        turn, y = ((1 - t) * corners[0, k] + t * corners[1, k] for k in (0, 1))
        y = y - rng.uniform(0.0, 0.012) * np.sin(np.pi * t)
    else:
        turn, y = (
            (1 - t) ** 2 * corners[0, k] + 2 * t * (1 - t) * corners[1, k] + t**2 * corners[2, k]
            for k in (0, 1)
        )
    line = on_sheet(rows, turn, y)
    return Fold(line, float(rng.uniform(*width)), float(loose * rng.uniform(*height)))


def on_sheet(rows: F64, turn: F64, height: F64) -> F64:
    """The sheet's places ``(n, 3)`` at ``turn`` from the front and at ``height``."""
    around = rows.shape[1]
    column = np.rint(turn / (2 * np.pi) * around).astype(int) % around
    y = rows[:, column, 1]
    row = np.abs(y - height[None]).argmin(0)
    place = rows[row, column]
    for _ in range(4):  # nodes of the grid lie beside the line
        place[1:-1] = 0.5 * place[1:-1] + 0.25 * (place[:-2] + place[2:])
    return np.asarray(place)
