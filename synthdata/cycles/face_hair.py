"""Brows and beards as strands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from backend.head.base import ParametricHead
from backend.head.surface import closest_on
from synthdata.cycles.groom import Growth, Texture, follow, grow_guides
from synthdata.cycles.ground import F32, F64, Ground, smoothstep, sow, unit
from synthdata.cycles.hair import Strands

Beard = Literal["", "short", "full", "goatee", "moustache", "long"]
# Face Mesh's brow outlines from temple to nose: upper and lower rim, the subject's left and right.
_RIMS = (
    ((300, 293, 334, 296, 336), (276, 283, 282, 295, 285)),
    ((70, 63, 105, 66, 107), (46, 53, 52, 65, 55)),
)
_BROW_POINTS = 6
_BROW_RADIUS_M, _BEARD_RADIUS_M = 5e-5, 7e-5
_LENGTH_M = {"short": 0.009, "full": 0.022, "goatee": 0.016, "moustache": 0.012, "long": 0.055}


@dataclass(frozen=True)
class FacePlan:
    """Hair of the face."""

    brows: float  # [0, 1]: thin … bushy
    beard: Beard
    length: float  # factor on the beard's own
    seed: int


def grow_brows(plan: FacePlan, head: ParametricHead, vertices: F32) -> Strands:
    """Both brows, between the outlines that Face Mesh knows; hairs lean towards the temples."""
    rng = np.random.default_rng([plan.seed, 21])
    points = head.mediapipe.positions(vertices, head.triangles)
    skin = head.triangles[head.triangle_part == 0]
    count = int(170 + 260 * plan.brows)
    both = []
    for upper, lower in _RIMS:
        along = rng.beta(1.15, 0.95, count)  # 0 at the temple, 1 at the nose
        knots = np.linspace(0, 1, len(upper))
        high, low, ahead = (
            np.stack([np.interp(np.clip(along + by, 0, 1), knots, points[list(rim), c]) for c in range(3)], 1)
            for rim, by in ((upper, 0.0), (lower, 0.0), (upper, -0.04))
        )
        thick = (0.50 + 0.45 * plan.brows) * (0.45 + 0.55 * smoothstep(0.0, 0.35, along))
        across = np.clip(0.5 + 0.5 * thick * np.clip(rng.normal(0, 0.55, count), -1, 1), 0, 1)[:, None]
        hit, weight = closest_on(low + across * (high - low), vertices.astype(np.float64), skin)
        corner = vertices.astype(np.float64)[skin[hit]]
        root = np.einsum("nk,nkc->nc", weight, corner)
        normal = unit(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]))
        out = unit(ahead - high)
        out = unit(out - (out * normal).sum(1, keepdims=True) * normal)
        up = np.cross(normal, out) * np.sign(np.cross(normal, out)[:, 1:2])
        rise = np.interp(along, [0, 0.45, 0.8, 1.0], [-6, 14, 42, 74]) - 26 * (2 * across[:, 0] - 1)
        rise = np.radians(rise + rng.normal(0, 10, count))[:, None]
        heading = np.cos(rise) * out + np.sin(rise) * up
        length = np.interp(along, [0, 0.5, 1], [0.0055, 0.0088, 0.0068]) * rng.uniform(0.65, 1.15, count)
        t = np.linspace(0, 1, _BROW_POINTS)
        bow = 0.30 * t - 0.22 * t**2  # off the skin first, then back to it
        step = length[:, None, None]
        line = root[:, None] + step * (
            t[None, :, None] * heading[:, None] + bow[None, :, None] * normal[:, None]
        )
        line += step * (0.10 * t**2)[None, :, None] * out[:, None]
        both.append(line - 0.0003 * normal[:, None])
    return Strands(np.concatenate(both).astype(np.float32), _BROW_RADIUS_M)


def grow_beard(plan: FacePlan, head: ParametricHead, vertices: F32, ground: Ground) -> Strands | None:
    """Beard and moustache; None for who has none."""
    if not plan.beard:
        return None
    rng = np.random.default_rng([plan.seed, 22])
    weight = _grown(plan.beard, head, vertices)
    points = head.mediapipe.positions(vertices, head.triangles)
    mouth = 0.5 * (points[13] + points[14])
    length = _LENGTH_M[plan.beard] * plan.length
    guides_at = sow(head, vertices, weight, 700, rng)
    roots = sow(head, vertices, weight, 9000 if length < 0.03 else 12000, rng)
    laid = _laid(guides_at.place, mouth)
    first = unit(0.55 * guides_at.normal + laid + rng.normal(0, 0.12, laid.shape))
    growth = Growth(6 if length < 0.015 else 9, 0.35, 0.25, (0.0015, 0.008))
    own = length * np.where(_is_moustache(guides_at.place, mouth), min(1.0, 0.013 / length), 1.0)
    if length > 0.03:
        # A long beard ends in a point: what grows on the cheeks is short, and all leans to the middle.
        x, y = guides_at.place[:, 0], guides_at.place[:, 1]
        low = smoothstep(mouth[1] + 0.02, points[152, 1] + 0.01, y)
        own = own * (0.18 + 0.82 * np.exp(-((x / 0.040) ** 2)) * low)
        laid = unit(laid - np.stack([0.9 * np.clip(x / 0.04, -1, 1), 0 * x, 0 * x], 1))
    lines = grow_guides(guides_at, first, lambda at: laid, own, growth, ground, lambda at: at, rng)
    texture = Texture(0.35, 14, wave_m=0.0012, wave_length_m=0.012, frizz_m=0.0016, uneven=0.3)
    none = np.zeros(len(guides_at), int)
    share = 0.35 + 0.65 * smoothstep(0.1, 0.75, roots.weight)
    side = np.zeros(len(roots), int)
    return Strands(follow(roots, side, lines, none, share, texture, ground, 0.0003, rng), _BEARD_RADIUS_M)


def _grown(beard: Beard, head: ParametricHead, vertices: F32) -> F64:
    """How densely the beard grows ``(V,)``."""
    weight = smoothstep(0.25, 0.9, head.regions["beard"]) * (1 - np.clip(2 * head.regions["lips"], 0, 1))
    points = head.mediapipe.positions(vertices, head.triangles)
    mouth = 0.5 * (points[13] + points[14])
    v = vertices.astype(np.float64)
    lip = _is_moustache(v, mouth)
    if beard == "moustache":
        return np.asarray(weight * lip * smoothstep(0.040, 0.026, np.abs(v[:, 0])))
    if beard == "goatee":
        round_mouth = smoothstep(0.040, 0.026, np.abs(v[:, 0])) * smoothstep(0.02, 0.05, v[:, 2])
        return np.asarray(weight * round_mouth)
    neck = smoothstep(points[152, 1] - 0.045, points[152, 1] - 0.02, v[:, 1])
    return np.asarray(weight * neck)


def _is_moustache(places: F64, mouth: F64) -> F64:
    return np.asarray(
        (places[:, 1] > mouth[1] + 0.003) & (np.abs(places[:, 0]) < 0.036) & (places[:, 2] > 0.07)
    )


def _laid(places: F64, mouth: F64) -> F64:
    """Down along the cheeks, aside above the lip, forward under the chin."""
    x = places[:, 0]
    lip = _is_moustache(places, mouth)
    down = np.stack([0.2 * np.sign(x), -np.ones(len(x)), np.full(len(x), 0.25)], 1)
    aside = np.stack([np.clip(x / 0.012, -1, 1), -0.75 * np.ones(len(x)), np.full(len(x), 0.15)], 1)
    return unit(np.where(lip[:, None], aside, down))
