"""The left brow: tapered strips that lie along the skin. The albedo paints brows; these are for close-ups."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from backend.head.surface import closest_on
from synthdata.headmodel.flatten import split_quads
from synthdata.headmodel.parts import PartHalf, same_chart_mirrored

F64 = NDArray[np.float64]

SEED = 20240616
BROW_LINE = (3615, 4240, 4114, 2734, 2509)  # ICT's vertices at iBUG's points 22 to 26, nose to temple
COUNT = 84
BELOW_M = 0.0019  # from the landmarks, which lie on the upper rim, to the brow's middle
HALF_HEIGHT_M = ((0.0, 0.0034), (0.25, 0.0040), (0.65, 0.0030), (1.0, 0.0008))  # over the way to the temple
LENGTH_M = ((0.0, 0.0062), (0.3, 0.0085), (1.0, 0.0060))
UPWARD_DEG = ((0.0, 78.0), (0.25, 48.0), (0.6, 14.0), (1.0, -4.0))  # from the line, on the brow's middle
LEAN_DEG = 26.0  # more below the middle, less above: both sides lean towards it
LIFT_DEG = 9.0  # off the skin
WIDTH_M = 0.00030
ROOTED_M = 0.0001


def build_brows(ict: ParametricHead, skin: PartHalf) -> PartHalf:
    """One quad a hair, rooted in the skin half, with which it moves."""
    rng = np.random.default_rng(SEED)
    triangles = split_quads(skin.quads)
    line = ict.mean_vertices[list(BROW_LINE)].astype(np.float64)
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    # Evenly over the brow's area: golden ratio along, random across.
    along = np.modf(0.5 + 0.6180339887 * np.arange(COUNT))[0] ** 0.92
    along = np.sort(along)
    across = rng.uniform(-1, 1, COUNT)
    at = np.stack([np.interp(along * length[-1], length, line[:, c]) for c in range(3)], 1)
    ahead = np.stack([np.interp((along + 0.05) * length[-1], length, line[:, c]) for c in range(3)], 1)
    behind = np.stack([np.interp((along - 0.05) * length[-1], length, line[:, c]) for c in range(3)], 1)
    half = _at(along, HALF_HEIGHT_M)
    at[:, 1] += across * half - np.minimum(BELOW_M, half)
    hit, weight = closest_on(at, skin.vertices, triangles)
    corner = triangles[hit]
    root = np.einsum("nk,nkc->nc", weight, skin.vertices[corner])
    p = skin.vertices[corner]
    normal = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    tangent = ahead - behind
    tangent -= (tangent * normal).sum(1, keepdims=True) * normal
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    up = np.cross(normal, tangent)
    angle = np.radians(_at(along, UPWARD_DEG) - LEAN_DEG * across + rng.normal(0, 9.0, COUNT))[:, None]
    lift = np.radians(LIFT_DEG)
    heading = np.cos(angle) * tangent + np.sin(angle) * up
    size = (_at(along, LENGTH_M) * rng.uniform(0.75, 1.15, COUNT))[:, None]
    start = root - ROOTED_M * normal
    tip = root + size * (np.cos(lift) * heading + np.sin(lift) * normal)
    tip = _above(tip, 0.25 * size * np.sin(lift), skin.vertices, triangles)
    side = 0.5 * WIDTH_M * np.cross(heading, normal)
    vertices = np.stack([start - side, start + side, tip - 0.15 * side, tip + 0.15 * side], 1).reshape(-1, 3)
    quads = (4 * np.arange(COUNT)[:, None] + np.array([0, 1, 3, 2])).astype(np.int32)
    left = (np.arange(COUNT) + 0.1) / COUNT
    right = left + 0.8 / COUNT
    zero, one = np.zeros(COUNT), np.ones(COUNT)
    uvs = np.stack([np.stack([left, right, left, right], 1), np.stack([zero, zero, one, one], 1)], -1)

    def carry(offsets: NDArray[np.floating[Any]]) -> F64:
        moved = np.einsum("...nkc,nk->...nc", skin.carry(offsets)[..., corner, :], weight)
        return np.repeat(moved, 4, axis=-2)

    return PartHalf(
        name="brows",
        mirror_name="brows",
        vertices=vertices,
        quads=quads,
        uvs=uvs.reshape(-1, 2),
        quad_uvs=quads,
        carry=carry,
        own_expressions={},
        mirror_uv=same_chart_mirrored,
    )


def _at(along: F64, knots: tuple[tuple[float, float], ...]) -> F64:
    return np.asarray(np.interp(along, *np.array(knots).T))


def _above(points: F64, height: F64, vertices: F64, triangles: NDArray[np.int32]) -> F64:
    """``points`` raised to at least ``height`` ``(N, 1)`` over the surface, which bulges between."""
    hit, weight = closest_on(points, vertices, triangles)
    p = vertices[triangles[hit]]
    normal = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    foot = np.einsum("nk,nkc->nc", weight, p)
    over = ((points - foot) * normal).sum(1, keepdims=True)
    return np.asarray(points + np.maximum(height - over, 0.0) * normal)
