"""Hair of the head: where it grows, how it is combed, what it hangs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from synthdata.cycles.groom import Growth, Texture, follow, grow_guides
from synthdata.cycles.ground import F32, F64, Ground, Roots, smoothstep, sow, unit
from synthdata.cycles.hairstyles import STYLES, Style

_GUIDES = 1400
_FRINGE = 2  # the side of strands that fall over the forehead


@dataclass(frozen=True)
class HairPlan:
    """One person's hair."""

    style: str  # of STYLES
    seed: int
    part: float  # where it parts, −1 right … 1 left; the middle is 0
    receding: float  # [0, 1] at the temples
    bald_top: float  # [0, 1]
    wave: float  # factor on the style's own


@dataclass(frozen=True)
class Strands:
    """Hair of one kind."""

    points: F32  # (N, P, 3) head space, metres
    radius_m: float  # at the root


class Skull:
    """Where on the head a place lies."""

    def __init__(self, head: ParametricHead, vertices: F32) -> None:
        points = head.mediapipe.positions(vertices, head.triangles)
        self.ear_y, self.ear_z = float(points[[234, 454], 1].mean()), float(points[[234, 454], 2].mean())
        self.half_width = float(0.5 * (points[454, 0] - points[234, 0]))
        self.brow_y, self.hairline_y = float(points[9, 1]), float(points[10, 1])
        self.brow_z = float(points[9, 2])
        scalp = vertices[head.regions["scalp"] > 0.5].astype(np.float64)
        self.centre = np.array([0.0, self.ear_y + 0.035, float(np.median(scalp[:, 2]))])
        self.top_y, self.back_z = float(scalp[:, 1].max()), float(scalp[:, 2].min())
        self.front_z = float(scalp[:, 2].max())

    def topness(self, places: F64) -> F64:
        """0 at the ears, 1 on the top."""
        return smoothstep(self.ear_y + 0.035, self.ear_y + 0.095, places[..., 1])

    def frontness(self, places: F64) -> F64:
        """0 at the back, 1 at the forehead."""
        return smoothstep(self.back_z + 0.06, self.front_z - 0.005, places[..., 2])


def hair_line(head: ParametricHead, vertices: F32, plan: HairPlan) -> F64:
    """How densely hair grows ``(V,)`` in [0, 1]."""
    skull = Skull(head, vertices)
    v = vertices.astype(np.float64)
    rng = np.random.default_rng([plan.seed, 11])
    uneven = sum(
        np.sin(v @ unit(rng.normal(size=3)) * 2 * np.pi / wave + rng.uniform(0, 6.3)) * amount
        for wave, amount in ((0.035, 0.10), (0.019, 0.07), (0.011, 0.05))
    )
    scalp = head.regions["scalp"].astype(np.float64)
    weight = smoothstep(0.32, 0.85, scalp + 0.5 * uneven * (scalp > 0.02))
    temple = np.exp(
        -(((np.abs(v[:, 0]) - 0.052) / 0.020) ** 2)
        - ((v[:, 1] - skull.hairline_y - 0.006) / 0.026) ** 2
        - (np.minimum(v[:, 2] - skull.front_z + 0.035, 0) / 0.02) ** 2
    )
    weight *= 1 - np.clip(1.3 * plan.receding * temple, 0, 1)
    top = skull.topness(v) * smoothstep(skull.back_z + 0.02, skull.back_z + 0.05, v[:, 2])
    return np.asarray(weight * (1 - np.clip(plan.bald_top * top * 1.2, 0, 1)))


def grow_hair(plan: HairPlan, head: ParametricHead, vertices: F32, ground: Ground) -> tuple[Strands, ...]:
    """The hair of ``plan``; ``ground`` is what it lies on: the head with its clothes."""
    style = _own(plan)
    rng = np.random.default_rng([plan.seed, 12])
    skull = Skull(head, vertices)
    density = hair_line(head, vertices, plan)
    if density.max() < 0.05:
        return ()
    part_x = 0.035 * plan.part
    guides_at = sow(head, vertices, density, _GUIDES, rng)
    roots = sow(head, vertices, density, style.strands, rng)
    guide_side, side = (_sides(r, style, skull, part_x, rng) for r in (guides_at, roots))
    length = _lengths(guides_at, guide_side, style, skull)
    knot = np.array([0.0, skull.ear_y + 0.055, skull.back_z - 0.004])
    first, comb = _laid(guides_at, guide_side, style, skull, part_x, knot, rng)
    if style.comb == "tied":
        length = np.where(
            guide_side == _FRINGE, length, 1.12 * np.linalg.norm(knot - guides_at.place, axis=1)
        )
    lines = grow_guides(
        guides_at, first, comb, length, style.growth, ground, _beside_the_face(guide_side, part_x, skull), rng
    )
    # Hair thins out and gets finer towards its edge.
    share = 0.55 + 0.45 * smoothstep(0.1, 0.6, roots.weight)
    points = follow(roots, side, lines, guide_side, share, style.texture, ground, 0.0006, rng)
    grown = [Strands(points, style.radius_m)]
    if style.knot:
        grown.append(Strands(_knotted(style.knot, knot, skull, ground, rng), style.radius_m))
    return tuple(grown)


def _own(plan: HairPlan) -> Style:
    style = STYLES[plan.style]
    texture = style.texture
    return replace(style, texture=replace(texture, wave_m=texture.wave_m * plan.wave))


def _sides(
    roots: Roots, style: Style, skull: Skull, part_x: float, rng: np.random.Generator
) -> NDArray[np.int_]:
    """0 right of the parting, 1 left, _FRINGE over the forehead. Styles without a parting have one side."""
    x = roots.place[:, 0]
    # It is a line in front and is lost behind the crown.
    lost = 0.0055 + 0.010 * smoothstep(0.55, 0.35, skull.frontness(roots.place))
    wander = 0.002 * np.sin(roots.place[:, 2] * 160) + lost * rng.normal(size=len(x))
    side = (x > part_x + wander).astype(int) if style.comb in ("aside", "down") else np.zeros(len(x), int)
    if style.fringe_m > 0:
        front = skull.frontness(roots.place) * skull.topness(roots.place)
        near = np.abs(x) < 0.048
        side = np.where(near & (front > 0.80), _FRINGE, side)
    return np.asarray(side, np.int_)


def _lengths(roots: Roots, side: NDArray[np.int_], style: Style, skull: Skull) -> F64:
    top = skull.topness(roots.place)
    length = style.side_m + (style.top_m - style.side_m) * top
    if style.fringe_m > 0:
        # It is cut level: what grows higher is longer.
        over = style.fringe_m + np.maximum(roots.place[:, 1] - skull.hairline_y, 0) * 1.1
        length = np.where(side == _FRINGE, over, length)
    return np.asarray(length)


def _laid(
    roots: Roots,
    side: NDArray[np.int_],
    style: Style,
    skull: Skull,
    part_x: float,
    knot: F64,
    rng: np.random.Generator,
) -> tuple[F64, Callable[[F64], F64]]:
    """First directions ``(G, 3)`` and the function that combs on."""
    place, normal = roots.place, roots.normal
    top, front = skull.topness(place), skull.frontness(place)
    zero, one = np.zeros(len(place)), np.ones(len(place))
    away = np.where(side == 0, -1.0, 1.0) if style.comb in ("aside", "down") else np.sign(place[:, 0] + 1e-9)
    x_side = np.sign(place[:, 0] + 1e-9)
    if style.comb == "aside":
        # A side parting: the wide side is combed across the top.
        laid = np.stack(
            [
                1.0 * away * top + 0.15 * x_side * (1 - top),
                -0.25 * one - 0.5 * (1 - top),
                0.35 * front * top - 0.35 * (1 - top),
            ],
            1,
        )
    elif style.comb == "back":
        laid = np.stack([0.25 * x_side, 0.35 * front * top - 0.55 * (1 - top), -one], 1)
    elif style.comb == "forward":
        laid = np.stack([0.2 * away, -0.35 * (1 - top) + 0 * one, np.where(top > 0.4, 1.0, 0.35)], 1)
    elif style.comb == "down":
        laid = np.stack([away * (0.9 * top + 0.10), -0.55 * one - 0.6 * (1 - top), -0.38 * front], 1)
    elif style.comb == "out":
        laid = normal + np.stack([zero, 0.25 * top, zero], 1)
    else:
        laid = unit(knot - place)
    laid = unit(laid)
    sweep = 0.45 * (1.0 if part_x <= 0 else -1.0)
    over = unit(np.stack([sweep * one + 4.0 * place[:, 0], -0.35 * one, one], 1))
    laid = np.where((side == _FRINGE)[:, None], over, laid)
    lift = style.lift * np.where(side == _FRINGE, 0.6, 0.5 + 0.5 * top)
    first = unit(lift[:, None] * normal + (1 - lift)[:, None] * laid + rng.normal(0, 0.07, place.shape))
    to_knot = (side != _FRINGE) & (style.comb == "tied")

    falls = (style.comb in ("down", "aside")) & (side != _FRINGE)

    def comb(at: F64) -> F64:
        if not to_knot.any():
            # A comb lays hair over the skull; below the ears it hangs.
            left = smoothstep(skull.ear_y - 0.005, skull.ear_y + 0.06, at[:, 1])
            return np.asarray(laid * np.where(falls, left, 1.0)[:, None])
        gap = knot - at
        near = np.linalg.norm(gap, axis=1, keepdims=True) < 0.012
        return np.where(to_knot[:, None] & ~near, unit(gap), np.where(to_knot[:, None], 0.0, laid))

    return first, comb


def _beside_the_face(side: NDArray[np.int_], part_x: float, skull: Skull) -> Callable[[F64], F64]:
    """Keeps what is no fringe out of the face."""
    sign = np.where(side == 0, -1.0, 1.0)

    def keep_off(at: F64) -> F64:
        x, y, z = at.T
        below = smoothstep(skull.hairline_y + 0.004, skull.brow_y - 0.005, y)
        ahead = smoothstep(skull.ear_z + 0.004, skull.ear_z + 0.022, z)
        need = (skull.half_width - 0.008) * below * ahead * (side != _FRINGE)
        own = np.where(np.abs(x) > 0.02, np.sign(x), sign)
        out = at.copy()
        out[:, 0] = np.where(np.abs(x) < need, own * need, x)
        return out

    return keep_off


def _knotted(kind: str, knot: F64, skull: Skull, ground: Ground, rng: np.random.Generator) -> F32:
    """A bun wound from strands, or a tail that hangs from where hair is tied."""
    if kind == "bun":
        middle = knot + np.array([0.0, 0.006, -0.020])
        count, steps = 5000, 26
        axis = unit(np.array([0.0, 0.25, -1.0]) + rng.normal(0, 0.35, (count, 3)))
        first = unit(np.cross(axis, rng.normal(size=(count, 3))))
        second = np.cross(axis, first)
        turn = (
            rng.uniform(0, 2 * np.pi, count)[:, None] + np.linspace(0, rng.uniform(3.0, 5.0, count), steps).T
        )
        radius = 0.030 * rng.beta(6, 1.3, count)[:, None]
        high = rng.uniform(-0.010, 0.012, count)[:, None] * np.linspace(0.6, 1, steps)
        circle = np.sqrt(np.maximum(radius**2 - high**2, 1e-6))
        return np.asarray(
            middle + (circle * np.cos(turn))[..., None] * first[:, None]
            + (circle * np.sin(turn))[..., None] * second[:, None] + high[..., None] * axis[:, None],
            np.float32,
        )  # fmt: skip
    count = 500
    start = knot + 0.010 * unit(rng.normal(size=(count, 3))) * rng.random((count, 1)) ** 0.5
    roots = Roots(start, np.tile([0.0, 0.2, -1.0], (count, 1)), np.ones(count))
    swing = unit(np.array([0.3 * rng.normal(), 0.5, -1.0]) + rng.normal(0, 0.18, (count, 3)))
    lines = grow_guides(
        roots, swing, lambda at: 0 * at, np.full(count, float(rng.uniform(0.2, 0.32))),
        Growth(22, 0.0, 0.6, (0.004, 0.03)), ground, lambda at: at, rng,
    )  # fmt: skip
    dense = Roots(
        np.repeat(start, 14, 0) + rng.normal(0, 0.0015, (14 * count, 3)),
        np.repeat(roots.normal, 14, 0),
        np.ones(14 * count),
    )
    texture = Texture(0.4, 60, wave_m=0.004, wave_length_m=0.11, frizz_m=0.003)
    none = np.zeros(count, int)
    return follow(
        dense, np.zeros(len(dense), int), lines, none, np.ones(len(dense)), texture, ground, 0.001, rng
    )
