"""The left eye's lashes: tapered strips on the front edge of the lid margins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.head.arkit import ARKIT_NAMES
from backend.head.base import ParametricHead
from synthdata.headmodel.lid_edge import LidEdge, shown_skin
from synthdata.headmodel.parts import PartHalf, same_chart_mirrored

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

SEED = 20240615
ROOTED_M = 0.0003  # of a lash lies in the lid
TWIST = np.radians(40.0)  # strips face every which way, so that some show from any side


@dataclass(frozen=True)
class Row:
    """One lid's lashes. Across the eye u runs from −1 at the inner to 1 at the outer corner."""

    count: int
    sections: tuple[float, ...]  # shares of the length with two vertices each
    span: tuple[float, float]  # u of first and last
    longest_m: float
    shortest_m: float
    rise_deg: tuple[float, float]  # from straight ahead towards the brow (or cheek): root, tip
    width_m: float
    clump: tuple[int, int]  # how many lashes lean together
    turn: float  # with the lid, over the angle by which it slides


UPPER = Row(60, (0.0, 0.45, 1.0), (-0.84, 0.97), 0.0094, 0.0052, (-12.0, 64.0), 0.00024, (2, 4), 1.9)
LOWER = Row(30, (0.0, 0.45, 1.0), (-0.60, 0.93), 0.0050, 0.0028, (10.0, 52.0), 0.00017, (1, 3), 1.0)


def build_lashes(ict: ParametricHead, skin: PartHalf, edge: LidEdge) -> PartHalf:
    """Both lids' lashes; each turns with its place on the lid."""
    rng = np.random.default_rng(SEED)
    roots = edge.margin.on(skin.vertices)
    strands, columns, quads, uvs = [], [], [], []
    total = 0
    for row, lid, up in ((UPPER, edge.upper, 1.0), (LOWER, edge.lower, -1.0)):
        points, column = _strands(row, roots[lid], edge.eyeball.centre, up, rng)
        sections = len(row.sections)
        strands.append(points.reshape(-1, 3))
        columns.append(np.repeat(lid[column], 2 * sections))
        first = (np.arange(row.count)[:, None] * 2 * sections + 2 * np.arange(sections - 1)).ravel() + total
        quads.append(np.stack([first, first + 1, first + 3, first + 2], 1))
        left = (np.arange(row.count) + 0.1) / row.count
        u = np.stack([left, left + 0.8 / row.count], 1)[:, None] + np.zeros((1, sections, 1))
        v = 0.5 * np.broadcast_to(np.asarray(row.sections)[None, :, None], u.shape) + (0.5 if up > 0 else 0.0)
        uvs.append(np.stack([u, v], -1).reshape(-1, 2))
        total += len(strands[-1])
    vertices, column = np.concatenate(strands), np.concatenate(columns)
    local = vertices - roots[column]
    is_upper = np.arange(total) < 2 * UPPER.count * len(UPPER.sections)
    all_quads = np.concatenate(quads).astype(np.int32)

    def carry(offsets: NDArray[np.floating[Any]]) -> F64:
        return edge.margin.on(skin.carry(offsets))[..., column, :]

    own = {}
    for name in ARKIT_NAMES:
        shown = shown_skin(ict, skin, name)
        turned = np.where(
            is_upper[:, None, None],
            edge.turns(shown, UPPER.turn)[column],
            edge.turns(shown, LOWER.turn)[column],
        )
        own[name] = edge.margin.on(shown)[column] + np.einsum("nij,nj->ni", turned, local) - vertices
    return PartHalf(
        name="lashes",
        mirror_name="lashes",
        vertices=vertices,
        quads=all_quads,
        uvs=np.concatenate(uvs),
        quad_uvs=all_quads,
        carry=carry,
        own_expressions=own,
        mirror_uv=same_chart_mirrored,
    )


def _strands(
    row: Row, margin: F64, eye_centre: F64, up: float, rng: np.random.Generator
) -> tuple[F64, NDArray[np.intp]]:
    """Strips ``(count, sections, 2, 3)`` and the place in ``margin`` that each is nearest to."""
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(margin, axis=0), axis=1))]
    u = np.linspace(*row.span, row.count)
    u = u + rng.uniform(-0.35, 0.35, row.count) * (u[1] - u[0])
    place = 0.5 * (u + 1) * length[-1]
    root = np.stack([np.interp(place, length, margin[:, c]) for c in range(3)], 1)
    column = np.abs(length[None] - place[:, None]).argmin(1)

    arm = root - eye_centre
    forward = 0.55 * arm / np.linalg.norm(arm, axis=1, keepdims=True) + np.array([0.0, 0.0, 0.45])
    forward[:, 0] += 0.38 * u + rng.normal(0, 0.05, row.count)
    forward[:, 1] *= 0.3
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    aloft = np.array([0.0, up, 0.0]) - up * forward[:, 1:2] * forward
    aloft /= np.linalg.norm(aloft, axis=1, keepdims=True)

    size = row.shortest_m + (row.longest_m - row.shortest_m) * np.exp(-(((u - 0.35) / 0.60) ** 2))
    size *= rng.uniform(0.80, 1.12, row.count)
    steps = 24
    t = (np.arange(steps) + 0.5) / steps
    start, end = np.radians(row.rise_deg)
    bend = start + (end - start) * t**1.15 + rng.normal(0, np.radians(6), row.count)[:, None]
    walk = np.cos(bend)[..., None] * forward[:, None] + np.sin(bend)[..., None] * aloft[:, None]
    path = np.concatenate([np.zeros((row.count, 1, 3)), np.cumsum(walk / steps, 1)], 1) * size[:, None, None]
    path = _clumped(path, row, rng, root)
    at = np.asarray(row.sections)
    grid = np.linspace(0, 1, steps + 1)
    index = np.abs(grid[None] - at[:, None]).argmin(1)
    middle = path[:, index]
    towards = np.gradient(path, axis=1)[:, index]
    towards /= np.linalg.norm(towards, axis=2, keepdims=True)
    side = np.cross(towards, aloft[:, None])
    side /= np.linalg.norm(side, axis=2, keepdims=True)
    twist = rng.uniform(-TWIST, TWIST, row.count)[:, None, None]
    side = np.cos(twist) * side + np.sin(twist) * np.cross(towards, side)
    half = 0.5 * row.width_m * np.interp(at, [0, 0.35, 0.7, 1.0], [1.0, 0.9, 0.55, 0.08])[None, :, None]
    middle = middle + (root - ROOTED_M * walk[:, 0])[:, None]
    return np.stack([middle - half * side, middle + half * side], 2), column


def _clumped(path: F64, row: Row, rng: np.random.Generator, root: F64) -> F64:
    """Neighbours lean together towards their tips."""
    out = path.copy()
    start = 0
    while start < row.count:
        group = slice(start, start + int(rng.integers(row.clump[0], row.clump[1] + 1)))
        tip = (root + path[:, -1])[group]
        pull = 0.55 * (tip.mean(0) - tip)
        out[group] += pull[:, None] * (np.linspace(0, 1, path.shape[1]) ** 1.5)[None, :, None]
        start = group.stop
    return out
