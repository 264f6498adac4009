"""What is sewn to a garment: bands, collars, lapels, plackets, buttons, ties, hoods. Head space, metres."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from synthdata.cases.covers import grid
from synthdata.cases.glasses import tube_mesh
from synthdata.cycles.body import AROUND, AXIS_Z
from synthdata.cycles.folds import normals_of
from synthdata.cycles.ground import F32, F64, I32, Ground, smoothstep, unit
from synthdata.cycles.piece import Piece

_UP = np.array([0.0, 1.0, 0.0])
# A band's section: metres down from the neckline, metres off the cloth.
_BAND = ((0.0, -0.0015), (-0.0008, 0.0012), (0.0, 0.0028), (0.25, 0.0034), (0.75, 0.0034), (0.97, 0.0026),
         (1.0, 0.0004))  # fmt: skip
_RIBS, _RIB_M = 150, 0.0006


class Front:
    """How far forward a garment's front lies."""

    def __init__(self, rows: F64) -> None:
        flat = rows.reshape(-1, 3)
        ahead = flat[flat[:, 2] > AXIS_Z + 0.02]
        self._z, self._tree = ahead[:, 2], cKDTree(ahead[:, :2])

    def at(self, x: F64, y: F64, off_m: F64 | float) -> F64:
        """Places ``(..., 3)`` that stand ``off_m`` before the cloth at ``x``, ``y``."""
        gap, near = self._tree.query(np.stack([x, y], -1), k=6)
        weight = 1 / (gap + 0.0015) ** 2
        z = (weight * self._z[near]).sum(-1) / weight.sum(-1)
        return np.stack([x, y, z + off_m], -1)


def band(rows: F64, width_m: float, stuff: str = "main") -> Piece:
    """A strip along the neckline ``rows[0]``, folded over its edge."""
    along = np.cumsum(
        np.concatenate([np.zeros((1, rows.shape[1])), np.linalg.norm(np.diff(rows, axis=0), axis=-1)]), 0
    )
    out = normals_of(rows)
    made = []
    for share, off in _BAND:
        place, normal = np.empty(rows.shape[1:]), np.empty(rows.shape[1:])
        for c in range(rows.shape[1]):
            down = max(share, 0) * width_m
            for k in range(3):
                place[c, k] = np.interp(down, along[:, c], rows[:, c, k])
                normal[c, k] = np.interp(down, along[:, c], out[:, c, k])
        ahead = unit(rows[1] - rows[0])
        made.append(place + off * unit(normal) + min(share, 0) * ahead)
    return Piece(*grid(np.stack(made)), stuff)


def placket(front: Front, top_y: float, stuff: str = "main") -> list[Piece]:
    """The double strip that a shirt is buttoned along, with its buttons."""
    half, low = 0.0165, -0.50
    y = np.linspace(top_y, low, 90)[:, None]
    across = np.array([-1.0, -0.985, -0.9, -0.5, 0.0, 0.5, 0.9, 0.985, 1.0])
    off = np.array([0.0002, 0.0018, 0.0024, 0.0022, 0.0022, 0.0022, 0.0024, 0.0018, 0.0002])
    x = half * across[None] + 0 * y
    sheet = front.at(x, y + 0 * x, off[None] + 0 * x)
    pieces = [Piece(*_sheet(sheet), stuff)]
    for height in np.arange(top_y - 0.028, low, -0.085):
        place = front.at(np.array([0.0]), np.array([height]), 0.0026)[0]
        pieces.append(Piece(*_button(place), "button"))
    return pieces


def _button(place: F64, radius: float = 0.0055) -> tuple[F32, I32]:
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rows = []
    for share, high in (
        (1.0, 0.0),
        (1.0, 0.0012),
        (0.92, 0.0019),
        (0.78, 0.0019),
        (0.68, 0.0012),
        (0.05, 0.0012),
    ):
        rows.append(
            place
            + np.stack([share * radius * np.cos(turn), share * radius * np.sin(turn), 0 * turn + high], 1)
        )
    return grid(np.stack(rows))


def tie(front: Front, top_y: float, rng: np.random.Generator) -> list[Piece]:
    """A knot and the blade that hangs from it."""
    y = np.linspace(top_y - 0.026, -0.50, 70)[:, None]
    down = (top_y - y) / 0.4
    half = 0.014 + (0.026 + 0.014 * rng.random()) * np.clip(down, 0, 1) ** 0.8
    across = np.linspace(-1, 1, 15)[None]
    bow = 0.0055 * (1 - across**2) + 0.0065
    dimple = -0.003 * np.exp(-((across / 0.22) ** 2)) * np.exp(-((down - 0.07) / 0.10))
    blade = front.at(half * across, y + 0 * across, bow + np.clip(dimple, -0.004, 0) * np.ones_like(y))
    rows = []
    for share in np.linspace(0, 1, 14):
        wide = 0.019 - 0.007 * share
        thick = 0.0115 * np.sqrt(np.clip(1 - (2 * share - 1) ** 6, 0.05, 1))
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        middle = front.at(np.array([0.0]), np.array([top_y - 0.034 * share]), 0.010)[0]
        rows.append(
            middle
            + np.stack([wide * np.cos(turn), 0.004 * np.cos(turn) * (1 - share), thick * np.sin(turn)], 1)
        )
    return [Piece(*_sheet(blade), "tie", 0.0015), Piece(*grid(np.stack(rows)), "tie")]


def lapels(rows: F64, front: Front, rng: np.random.Generator) -> list[Piece]:
    """The turned-back edges of a jacket, widest below the notch."""
    widest = float(rng.uniform(0.055, 0.078))
    around = rows.shape[1]
    turn = np.linspace(0, 2 * np.pi, around, endpoint=False)
    made = []
    for side in (-1.0, 1.0):
        ahead = np.where(side > 0, turn, 2 * np.pi - turn)
        pick = np.argsort(ahead)
        edge = rows[0, pick][np.sort(ahead) < 1.35]
        edge = edge[edge[:, 1] < -0.128]  # from the bottom of the V up to the notch
        u = np.linspace(0, 1, 80)
        own = np.linspace(0, 1, len(edge))
        line = np.stack([np.interp(u, own, edge[:, k]) for k in range(3)], 1)
        for _ in range(10):
            line[1:-1] = 0.5 * line[1:-1] + 0.25 * (line[:-2] + line[2:])
        way = unit(np.gradient(line[:, :2], axis=0))
        out = np.stack([way[:, 1], -way[:, 0]], 1)
        out *= np.where(side * out[:, :1] < 0, -1.0, 1.0)
        width = widest * np.clip(u / 0.8, 0, 1) ** 0.85 * np.where(u > 0.8, 1 - 0.35 * (u - 0.8) / 0.2, 1)
        v = np.array([-0.04, -0.03, 0.0, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99, 1.0])[None]
        # Its top edge slants down outwards, as the notch is cut.
        slant = 0.40 * smoothstep(0.82, 1.0, u)[:, None] * np.maximum(v, 0)
        x = line[:, :1] + out[:, :1] * width[:, None] * v
        y = line[:, 1:2] + out[:, 1:2] * width[:, None] * v - slant * width[:, None] * 0.55
        roll = 0.0045 * np.exp(-((v / 0.25) ** 2)) + 0.0042
        roll = np.where(v < -0.035, -0.001, np.where(v < 0, 0.003, roll))
        made.append(Piece(*_sheet(front.at(x, y, roll + 0 * x)), "main", 0.0016))
    return made


def neck_ring(
    front_y: float, back_y: float, clearance: float, ground: Ground, turn: F64, is_closed: bool = True
) -> F64:
    """A line round the neck, ``(around, 3)``."""
    y = back_y + (front_y - back_y) * (0.5 + 0.5 * np.cos(turn))
    ring = np.stack([0.056 * np.sin(turn), y, AXIS_Z + 0.056 * np.cos(turn)], -1)
    for _ in range(4):
        ring, _, _ = ground.lifted(ring, clearance)
        ring[:, 1] = y
    smooth = ring.copy()
    for _ in range(6):
        eased = 0.5 * smooth + 0.25 * (np.roll(smooth, 1, 0) + np.roll(smooth, -1, 0))
        smooth = eased if is_closed else np.concatenate([smooth[:1], eased[1:-1], smooth[-1:]])
    return np.asarray(smooth)


def roll_collar(base: F64, high: float, ground: Ground, rng: np.random.Generator) -> Piece:
    """A ribbed collar that stands up from ``base`` ``(around, 3)``: up inside, over, down outside."""
    count = 3 * AROUND
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    own = np.linspace(0, 2 * np.pi, len(base) + 1)
    first = np.stack([np.interp(turn, own, np.r_[base[:, k], base[0, k]]) for k in range(3)], 1)
    rows = [first]
    lifts = (0.35, 0.8, 1.0, 1.05, 1.0, 0.7, 0.3, 0.12, 0.05)
    off_m = (0.005, 0.005, 0.006, 0.0075, 0.0098, 0.0118, 0.0132, 0.0128, 0.0095)
    sag = 0.004 * np.sin(turn * 2 + rng.uniform(0, 6.3)) + 0.003 * np.sin(turn * 3 + rng.uniform(0, 6.3))
    for lift, clearance in zip(lifts, off_m, strict=True):
        ring = neck_ring(-0.112 + lift * high, -0.092 + 1.15 * lift * high, clearance, ground, turn)
        ring[:, 1] += sag * lift
        rows.append(ring)
    sheet = np.stack(rows)
    ribs = _RIB_M * np.cos(_RIBS * turn)
    return Piece(*grid(sheet + ribs[None, :, None] * normals_of(sheet)), "main")


def shirt_collar(ground: Ground, rng: np.random.Generator, stuff: str = "main") -> list[Piece]:
    """A band round the neck, open in front, and the leaf that falls over it with two points."""
    gap = float(rng.uniform(0.06, 0.24))  # radians on either side of the front
    leaf = float(rng.uniform(0.034, 0.046))
    rows = []
    steps = (
        (-0.010, 0.0045, 0.0), (0.006, 0.0055, 0.0), (0.020, 0.0065, 0.0), (0.026, 0.0085, 0.0),
        (0.024, 0.0115, 0.05), (0.015, 0.0140, 0.30), (0.004, 0.0170, 0.62), (-0.008, 0.0200, 1.0),
    )  # fmt: skip
    for lift, clearance, along in steps:
        # The front edges of the leaf run apart, so that it ends in two points.
        turn = np.linspace(gap + 0.30 * along, 2 * np.pi - gap - 0.30 * along, AROUND)
        front = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
        ahead = np.exp(-(((front - gap) / 0.7) ** 2))
        ring = neck_ring(-0.112 + lift, -0.088 + lift, clearance, ground, turn, is_closed=False)
        ring[:, 1] -= 0.016 * np.exp(-(((front - gap) / 0.6) ** 2)) + along * leaf * (0.25 + 0.55 * ahead)
        out = np.stack([np.sin(turn), 0 * turn, np.cos(turn)], -1)
        ring += (along * 0.016 * ahead)[:, None] * out
        rows.append(ring)
    sheet = np.stack(rows)
    sheet, _, _ = ground.lifted(sheet, 0.004)
    edge = 0.88 * sheet[-1] + 0.12 * sheet[-2] + 0.0006 * unit(sheet[-1] * [1, 0, 1])
    return [Piece(*_sheet(sheet), stuff, 0.0018), Piece(*tube_mesh(edge, False, 0.0007, 6), stuff)]


def hood(ground: Ground, front: Front) -> list[Piece]:
    """A hood that lies round the nape, thick behind and thin in front, and its two cords."""
    turn = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    back = 0.5 - 0.5 * np.cos(turn)
    line = neck_ring(-0.135, -0.090, 0.020, ground, turn)
    line = line + np.stack([0 * turn, 0 * turn, -0.020 * back], -1)
    thick, wide = 0.010 + 0.012 * back, 0.016 + 0.026 * back
    out = np.stack([np.sin(turn), 0 * turn, np.cos(turn)], -1)
    rows = []
    for a in np.linspace(0, 2 * np.pi, 40, endpoint=False):
        crease = 1 + 0.10 * np.sin(3 * a + 2 * np.sin(2 * turn)) + 0.05 * np.sin(5 * a + 3 * turn)
        aside = 0.8 * wide * np.cos(a) * crease
        above = thick * np.sin(a) * crease - 0.3 * wide * np.cos(a)
        rows.append(line + aside[:, None] * out + above[:, None] * _UP)
    pieces = [Piece(*torus(np.stack(rows)), "main")]
    for side in (-1.0, 1.0):
        y = np.linspace(-0.145, -0.30, 40)
        x = side * (0.034 + 0.010 * np.sin((y + 0.145) * 18))
        cord = front.at(x, y, 0.004)
        pieces.append(Piece(*tube_mesh(cord, False, 0.0024, 8), "under"))
    return pieces


def torus(rows: F64) -> tuple[F32, I32]:
    """Rings ``(R, C, 3)`` joined by quads in both directions."""
    count, around = rows.shape[:2]
    a = np.arange(count)[:, None] * around + np.arange(around)
    right = np.arange(count)[:, None] * around + (np.arange(around) + 1) % around
    below = ((np.arange(count) + 1) % count)[:, None] * around
    quads = np.stack([a, below + np.arange(around), below + (np.arange(around) + 1) % around, right], -1)
    return rows.reshape(-1, 3).astype(np.float32), quads.reshape(-1, 4).astype(np.int32)


def _sheet(rows: F64) -> tuple[F32, I32]:
    """Rows ``(R, C, 3)`` that do not close, joined by quads."""
    count, around = rows.shape[:2]
    a = np.arange(count - 1)[:, None] * around + np.arange(around - 1)
    quads = np.stack([a, a + around, a + around + 1, a + 1], -1).reshape(-1, 4).astype(np.int32)
    return rows.reshape(-1, 3).astype(np.float32), quads
