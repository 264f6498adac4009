"""A hand laid on a cheek: bones, flesh around them as a distance field, nails, a cuff. Head space, metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.head.base import ParametricHead
from synthdata.cases.covers import grid
from synthdata.cycles.folds import folded, sleeve_folds
from synthdata.cycles.ground import F32, F64, I32, unit
from synthdata.cycles.piece import Piece
from synthdata.cycles.surface_nets import surface_nets

# A left hand of 18.5 cm: x towards the thumb, y towards the fingertips, z out of its back; the wrist is 0.
_KNUCKLES = ((0.027, 0.088, 0.003), (0.005, 0.092, 0.006), (-0.015, 0.087, 0.004), (-0.033, 0.077, -0.001))
_PHALANGES = ((0.043, 0.025, 0.019), (0.047, 0.029, 0.020), (0.043, 0.027, 0.020), (0.033, 0.020, 0.017))
_FINGER_M = (0.0102, 0.0106, 0.0099, 0.0088)  # radii at the knuckles
_TAPER = (1.0, 0.90, 0.78, 0.64)
_SPLAY_DEG = (5.0, 1.0, -4.0, -11.0)
_THUMB = ((0.020, 0.022, -0.007), (0.044, 0.052, -0.014), (0.055, 0.082, -0.018), (0.058, 0.107, -0.017))
_THUMB_M = (0.0150, 0.0118, 0.0102, 0.0074)
_ARM_M = 0.24
_STEP_M = 0.0019
_PRESS_M = 0.002
_SKIN, _FINGERS = 0.010, 0.003  # how softly parts run into each other


@dataclass(frozen=True)
class _Bone:
    """A cone with round ends."""

    start: F64  # (3,)
    end: F64
    start_m: float
    end_m: float

    def away(self, places: F64) -> F64:
        """Distances ``(N,)``, negative inside."""
        along = self.end - self.start
        share = np.clip((places - self.start) @ along / (along @ along), 0, 1)
        gap = np.linalg.norm(places - self.start - share[:, None] * along, axis=1)
        return np.asarray(gap - (self.start_m + share * (self.end_m - self.start_m)))


@dataclass(frozen=True)
class Hand:
    """A hand's bones in its own space, and its nails."""

    palm: tuple[_Bone, ...]
    fingers: tuple[tuple[_Bone, ...], ...]
    nails: tuple[F64, ...]  # grids (rows, columns, 3)

    def away(self, places: F64) -> F64:
        """Distances ``(N,)`` from the skin, negative inside."""
        palm = _soft([bone.away(places) for bone in self.palm], _SKIN)
        fingers = np.stack([_soft([b.away(places) for b in f], _FINGERS) for f in self.fingers]).min(0)
        return _soft([palm, fingers], 0.7 * _SKIN)


def hand_pieces(head: ParametricHead, vertices: F32, side: float, seed: int) -> tuple[Piece, ...]:
    """Skin ("hand"), nails ("nail") and cuff ("main") at the subject's left (``side`` 1) or right cheek."""
    rng = np.random.default_rng([seed, 61])
    hand = _drawn(rng)
    mirror = np.array([side, 1.0, 1.0])
    turn, place = _laid(hand, head, vertices.astype(np.float64) * mirror, rng)
    low, high = np.array([-0.055, -_ARM_M, -0.085]), np.array([0.085, 0.205, 0.045])
    count = np.ceil((high - low) / _STEP_M).astype(int) + 1
    axes = [low[k] + _STEP_M * np.arange(count[k]) for k in range(3)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    field = hand.away(places.reshape(-1, 3)).reshape(places.shape[:3])
    skin, quads = surface_nets(field, low, _STEP_M)

    def there(own: F64) -> F32:
        return np.asarray((own @ turn + place) * mirror, np.float32)

    cuff = _cuff(rng)
    nails = [Piece(there(n.reshape(-1, 3)), _flat_quads(*n.shape[:2]), "nail", 0.0004) for n in hand.nails]
    cloth, cloth_quads = grid(cuff)
    return (
        Piece(there(skin), quads, "hand"),
        *nails,
        Piece(there(cloth.astype(np.float64)), cloth_quads, "main", 0.002),
    )


def _drawn(rng: np.random.Generator) -> Hand:
    fingers, nails = [], []
    curl = rng.uniform(0.4, 1.3)
    for k in range(4):
        splay = np.radians(_SPLAY_DEG[k] + 2 * rng.normal())
        joint, bend = np.array(_KNUCKLES[k]), np.radians(curl * rng.uniform(6, 16))
        bones = []
        radii = _FINGER_M[k] * np.array(_TAPER)
        for segment, length in enumerate(_PHALANGES[k]):
            ahead = np.array([np.sin(splay) * np.cos(bend), np.cos(splay) * np.cos(bend), -np.sin(bend)])
            tip = joint + length * ahead
            bones.append(_Bone(joint, tip, float(radii[segment]), float(radii[segment + 1])))
            # Joints are thicker than what lies between them.
            bones.append(
                _Bone(joint, joint + 1e-4 * ahead, float(1.045 * radii[segment]), float(radii[segment]))
            )
            joint = tip
            bend += np.radians(curl * rng.uniform(10, 26) * (1.0 if segment == 0 else 0.6))
        fingers.append(tuple(bones))
        nails.append(_nail(bones[-2]))
    thumb = [np.array(p) for p in _THUMB]
    thumb[2] = thumb[2] + rng.normal(0, 0.003, 3)
    thumb[3] = thumb[3] + rng.normal(0, 0.005, 3)
    bones = [_Bone(thumb[k], thumb[k + 1], _THUMB_M[k], _THUMB_M[k + 1]) for k in range(3)]
    fingers.append(tuple(bones))
    nails.append(_nail(bones[-1]))
    wrist = [
        _Bone(np.array([x, 0.0, 0.0]), np.array([1.1 * x, -_ARM_M, 0.0]), 0.019, 0.030)
        for x in (-0.011, 0.011)
    ]
    back = [
        _Bone(np.array([0.011 - 0.008 * k, 0.008, 0.0]), np.array(joint) - [0, 0.006, 0.004], 0.0150, 0.0112)
        for k, joint in enumerate(_KNUCKLES)
    ]
    balls = [
        _Bone(np.array([0.017, 0.018, -0.010]), np.array([0.036, 0.050, -0.015]), 0.0150, 0.0135),
        _Bone(np.array([-0.017, 0.016, -0.009]), np.array([-0.027, 0.062, -0.008]), 0.0140, 0.0115),
    ]
    return Hand((*wrist, *back, *balls), tuple(fingers), tuple(nails))


def _soft(fields: list[F64], softness: float) -> F64:
    """Their union, its inner edges filled (polynomial smooth minimum)."""
    out = fields[0]
    for other in fields[1:]:
        share = np.clip(0.5 + 0.5 * (other - out) / softness, 0, 1)
        out = other + (out - other) * share - softness * share * (1 - share)
    return np.asarray(out)


def _nail(last: _Bone) -> F64:
    """The plate on a last phalanx ``(rows, columns, 3)``."""
    ahead = unit(last.end - last.start)
    up = unit(np.array([0.0, 0.0, 1.0]) - ahead[2] * ahead)
    aside = np.cross(ahead, up)
    length = float(np.linalg.norm(last.end - last.start))
    t = np.linspace(0.52, 1.0 + 0.35 * last.end_m / length, 14)[:, None]
    u = np.linspace(-1, 1, 13)[None]
    square = np.abs(2 * (t - t.min()) / (t.max() - t.min()) - 1)
    angle = 0.92 * u * np.sqrt(np.clip(1.08 - square**4, 0.08, 1))
    radius = 0.00035 + last.start_m + np.minimum(t, 1.0) * (last.end_m - last.start_m)
    flat = radius * (1 - 0.10 * np.maximum(t - 0.85, 0) / 0.2)
    place = last.start + (t * length)[..., None] * ahead
    return np.asarray(
        place + (flat * np.sin(angle))[..., None] * aside + (flat * np.cos(angle))[..., None] * up
    )


def _cuff(rng: np.random.Generator) -> F64:
    """A sleeve's end round the forearm ``(rows, around, 3)``."""
    y = np.linspace(-0.055 - 0.05 * rng.random(), -_ARM_M - 0.03, 90)
    turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    wide = np.interp(-y, [0.0, _ARM_M], [0.036, 0.050])[:, None]
    rows = np.stack([wide * np.cos(turn), y[:, None] + 0 * turn, 0.8 * wide * np.sin(turn)], -1)
    return folded(rows, sleeve_folds(rows, 0.8, rng))


def _laid(hand: Hand, head: ParametricHead, vertices: F64, rng: np.random.Generator) -> tuple[F64, F64]:
    """Rows of the hand's axes in head space, and its wrist: it just touches the left cheek."""
    points = head.mediapipe.positions(vertices.astype(np.float32), head.triangles).astype(np.float64)
    # The mirrored head keeps its point numbers: the left cheek is the one at positive x.
    jaw, cheek, ear = (
        points[list(pair)][np.argmax(points[list(pair), 0])] for pair in ((288, 58), (280, 50), (454, 234))
    )
    middle = 0.55 * cheek + 0.45 * jaw + [0.0, 0.0, 0.004]
    lean = np.radians(rng.uniform(-12, 38))
    outward = unit(np.array([0.80, -0.12 + 0.15 * rng.normal(), 0.60]))
    up = np.array([0.0, np.cos(lean), 0.0]) + np.sin(lean) * unit(ear - cheek)
    up = unit(up - (up @ outward) * outward)
    turn = np.stack([np.cross(up, outward), up, outward])
    knuckle = np.array(_KNUCKLES).mean(0) + np.array([0.0, rng.uniform(-0.005, 0.03), -0.012])
    place = middle - knuckle @ turn
    skin = vertices[head.regions["face"] > 0.3]
    for _ in range(6):
        gap = float(hand.away((skin - place) @ turn.T).min())
        place = place - (gap + _PRESS_M) * outward
    return turn, place


def _flat_quads(rows: int, columns: int) -> I32:
    a = np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)
    return np.asarray(np.stack([a, a + columns, a + columns + 1, a + 1], -1).reshape(-1, 4), np.int32)
