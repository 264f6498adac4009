"""Glasses of many shapes with their lenses. Head space, metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from backend.head.base import ParametricHead
from synthdata.cases.glasses import tube_mesh
from synthdata.cycles.ground import F32, F64, I32

Frame = Literal["wire", "acetate", "rimless"]
_AROUND = 64
_BASE_CURVE_M = 0.115  # radius of a lens' front


@dataclass(frozen=True)
class GlassesPlan:
    """One pair."""

    frame: Frame
    half_width_m: float  # of a lens
    half_height_m: float
    squareness: float  # exponent of the outline: 2 an ellipse, 5 nearly a rectangle
    cat_eye: float  # outer corners drawn up, metres
    rim_m: float  # half thickness
    frame_linear: tuple[float, float, float]
    metallic: bool
    tint: tuple[float, float, float]  # share of light that a lens lets pass
    mirror: float  # share that a coating throws back


@dataclass(frozen=True)
class Glasses:
    """Meshes of one pair."""

    frame: tuple[tuple[F32, I32], ...]
    lenses: tuple[tuple[F32, I32], ...]


def build_glasses(plan: GlassesPlan, head: ParametricHead, vertices: F32) -> Glasses:
    """A pair that sits on the nose, its lenses before the eyes."""
    points = head.mediapipe.positions(vertices, head.triangles)
    pupils = []
    for part in ("eye_left", "eye_right"):
        eye = vertices[np.unique(head.quads[head.quad_part == head.part_names.index(part)])]
        pupils.append(np.array([eye[:, 0].mean(), eye[:, 1].mean(), eye[:, 2].max()]))
    bridge = points[[6, 168]].mean(0)
    brow = float(points[[9, 105, 334], 2].max())
    front = max(float(max(p[2] for p in pupils)) + 0.014, brow + 0.002)
    middle_y = 0.5 * (pupils[0][1] + pupils[1][1]) - 0.003
    frame: list[tuple[F32, I32]] = []
    lenses: list[tuple[F32, I32]] = []
    for pupil, ear in zip(pupils, (points[454], points[234]), strict=True):
        side = float(np.sign(pupil[0]))
        centre = np.array([side * max(abs(pupil[0]) + 0.001, plan.half_width_m + 0.0085), middle_y, front])
        rim = _rim(plan, centre, side)
        lenses.append(_lens(rim, centre))
        if plan.frame == "acetate":
            frame.append(_band(rim, centre, plan.rim_m))
        elif plan.frame == "wire":
            frame.append(tube_mesh(rim, closed=True, radius_m=plan.rim_m))
        outer = rim[np.argmax(side * rim[:, 0])]
        hinge = outer + np.array([side * 0.001, 0.5 * plan.half_height_m, -0.001])
        if plan.frame == "rimless":
            hinge[1] = outer[1] + 0.3 * plan.half_height_m
        temple = np.array([ear[0] + side * 0.004, hinge[1] + 0.001, front - 0.016])
        behind = np.array([ear[0] + side * 0.0065, hinge[1] - 0.004, ear[2] - 0.022])
        hook = behind + np.array([side * 0.001, -0.022, -0.024])
        line = np.concatenate(
            [
                _curve(np.stack([hinge, temple, behind])),
                _curve(np.stack([behind, behind + np.array([0, -0.001, -0.014]), hook]))[1:],
            ]
        )
        arm = plan.rim_m * (0.9 if plan.frame == "acetate" else 0.8)
        vertices_arm, quads = tube_mesh(line, closed=False, radius_m=1.0, sides=12)
        ring = vertices_arm.reshape(len(line), 12, 3) - line[:, None]
        tall = 1.6 if plan.frame == "acetate" else 1.0
        ring = ring * np.array([0.75 * arm, tall * arm, arm])
        frame.append(((line[:, None] + ring).reshape(-1, 3).astype(np.float32), quads))
        if plan.frame != "acetate":
            pad = np.array([side * 0.0062, bridge[1] - 0.010, bridge[2] + 0.0005])
            inner = rim[np.argmin(np.abs(rim - [side * 0.008, bridge[1] - 0.004, front]).sum(1))]
            stem = _curve(np.stack([inner, 0.5 * (inner + pad) + [0, 0, -0.003], pad]))
            frame.append(tube_mesh(stem, closed=False, radius_m=0.0005))
            frame.append(_pad(pad, side))
    frame.append(_bridge(plan, lenses, middle_y, front))
    return Glasses(tuple(frame), tuple(lenses))


def _rim(plan: GlassesPlan, centre: F64, side: float) -> F64:
    """A lens' outline ``(around, 3)``."""
    turn = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    power = 2 / plan.squareness
    x = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** power
    y = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** power
    outwards = 0.5 + 0.5 * side * x
    lift = plan.cat_eye * outwards**2 * np.clip(y + 0.6, 0, 1)
    narrow = 1 - 0.10 * np.clip(-y, 0, 1)  # narrower below
    place = np.stack([plan.half_width_m * x * narrow, plan.half_height_m * y + lift, 0 * x], -1)
    place[:, 2] = -(place[:, 0] ** 2 + place[:, 1] ** 2) / (2 * _BASE_CURVE_M)
    wrap = 0.14 * np.maximum(side * place[:, 0], 0)  # the frame follows the face a little
    place[:, 2] -= wrap + 0.10 * (plan.half_height_m - place[:, 1])  # and leans in below
    return np.asarray(centre + place)


def _lens(rim: F64, centre: F64) -> tuple[F32, I32]:
    """The curved disc within ``rim``; rings of quads, the innermost nearly a point."""
    shares = np.array([1.0, 0.85, 0.65, 0.4, 0.15, 0.02])
    flat = rim - centre
    rows = []
    for share in shares:
        ring = flat * share
        radius_2 = (flat[:, :2] ** 2).sum(1)
        bow = radius_2 * (1 - share**2) / (2 * _BASE_CURVE_M)
        ring[:, 2] = flat[:, 2] * share + bow
        rows.append(centre + ring)
    stacked = np.stack(rows)
    count, around = stacked.shape[:2]
    a = np.arange(count - 1)[:, None] * around + np.arange(around)
    b = np.arange(count - 1)[:, None] * around + (np.arange(around) + 1) % around
    quads = np.stack([a, b, b + around, a + around], -1).reshape(-1, 4).astype(np.int32)
    return stacked.reshape(-1, 3).astype(np.float32), quads


def _band(rim: F64, centre: F64, half: float) -> tuple[F32, I32]:
    """A rim of rectangular section with soft corners, deeper than it is tall."""
    out = rim - centre
    out[:, 2] = 0
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    across = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.5
    deep = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.5
    ring = rim[:, None] + (half * across)[None, :, None] * out[:, None]
    ring = ring + (0.9 * max(half, 0.0014) * deep)[None, :, None] * np.array([0.0, 0.0, 1.0])
    count, around = ring.shape[:2]
    a = np.arange(count)[:, None] * around + np.arange(around)
    after = ((np.arange(count) + 1) % count)[:, None] * around
    beside = (np.arange(around) + 1) % around
    quads = np.stack(
        [a, np.arange(count)[:, None] * around + beside, after + beside, after + np.arange(around)], -1
    )
    return ring.reshape(-1, 3).astype(np.float32), quads.reshape(-1, 4).astype(np.int32)


def _bridge(
    plan: GlassesPlan, lenses: list[tuple[F32, I32]], middle_y: float, front: float
) -> tuple[F32, I32]:
    left, right = (float(np.abs(v[:_AROUND, 0]).min()) for v, _ in lenses)
    y = middle_y + 0.25 * plan.half_height_m
    ends = np.array(
        [
            [left + 0.0005, y, front - 0.001],
            [0.0, y + 0.006, front + 0.002],
            [-right - 0.0005, y, front - 0.001],
        ]
    )
    radius = plan.rim_m * (1.15 if plan.frame == "acetate" else 0.9)
    return tube_mesh(_curve(ends), closed=False, radius_m=radius, sides=12)


def _pad(place: F64, side: float) -> tuple[F32, I32]:
    line = place + np.linspace(-1, 1, 9)[:, None] * np.array([side * 0.0012, -0.0042, 0.0008])
    vertices, quads = tube_mesh(line, closed=False, radius_m=1.0, sides=10)
    ring = vertices.reshape(9, 10, 3) - line[:, None]
    round_off = np.sqrt(np.clip(1 - np.linspace(-1, 1, 9) ** 2, 0.03, 1))[:, None, None]
    return (line[:, None] + 0.0016 * round_off * ring * [0.5, 1, 1]).reshape(-1, 3).astype(np.float32), quads


def _curve(corners: F64, count: int = 24) -> F64:
    """A quadratic Bézier curve through the ends of three points."""
    t = np.linspace(0, 1, count)[:, None]
    a, b, c = corners
    return np.asarray((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c)
