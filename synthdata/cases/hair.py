"""Strands of hair on the scalp, grown step by step; head space, no Blender."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from backend.uvspace.normals import vertex_normals
from synthdata.cases.case_set import HeadPlan

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Style:
    """How hair of one kind grows."""

    strands: int
    length_m: float
    steps: int
    lift: float  # share of the skin's normal in the first direction; the rest follows the comb
    gravity: float  # share of down that each step adds
    clearance_m: float  # kept from the skin
    fringe: float  # share of the strands at the front that fall over the forehead


STYLES = {
    "short": Style(18000, 0.019, 5, 0.30, 0.04, 0.0008, 0.0),
    "long": Style(18000, 0.22, 26, 0.22, 0.26, 0.0025, 0.6),
}
FRINGE_SHARE = 0.32  # of the length: it ends at the brows
RADIUS_M = 0.00016  # thicker than hair, as there are fewer strands


def grow_hair(plan: HeadPlan, head: ParametricHead, vertices: F32) -> F32 | None:
    """Strands ``(N, steps + 1, 3)`` in metres, or None for heads whose hair is painted or absent."""
    from scipy.spatial import cKDTree

    style = STYLES.get(plan.hair)
    if style is None:
        return None
    rng = np.random.default_rng([plan.seed, 3])
    skin = head.triangles[head.triangle_part == 0]
    rows = np.unique(skin)
    normals = vertex_normals(vertices, skin).astype(np.float64)
    points = vertices.astype(np.float64)
    tree = cKDTree(points[rows])
    root, normal, forward = _roots(style.strands, head, points, normals, skin, rng)
    falls, comb = _comb(plan, root, forward, style, rng)
    direction = _unit(style.lift * normal + (1 - style.lift) * comb + rng.normal(0, 0.10, root.shape))
    length = style.length_m * rng.uniform(0.75, 1.1, len(root)) * np.where(falls, FRINGE_SHARE, 1.0)
    step = (length / style.steps)[:, None]
    strands = [root - 0.001 * normal]
    place = root.copy()
    for _ in range(style.steps):
        direction = _unit(direction + style.gravity * np.array([0.0, -1.0, 0.0]) + 0.06 * comb)
        place = place + step * direction
        gap, near = tree.query(place)
        below, out = points[rows[near]], normals[rows[near]]
        depth = ((place - below) * out).sum(1)
        short = np.maximum(style.clearance_m - depth, 0.0) * (gap < 0.03)
        place = place + short[:, None] * out
        # What was pushed out of the skin runs on along it.
        inward = np.minimum((direction * out).sum(1), 0.0) * (short > 0)
        direction = _unit(direction - inward[:, None] * out)
        strands.append(place)
    return np.stack(strands, 1).astype(np.float32)


def _roots(
    count: int,
    head: ParametricHead,
    points: F64,
    normals: F64,
    skin: NDArray[np.int32],
    rng: np.random.Generator,
) -> tuple[F64, F64, F64]:
    """Places on the scalp, their normals, and how far to the front they lie: 1 is the hair line."""
    scalp = head.regions["scalp"][skin].mean(1)
    corner = points[skin]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    chance = area * np.clip((scalp - 0.35) / 0.3, 0, 1)
    triangle = skin[rng.choice(len(skin), count, p=chance / chance.sum())]
    weight = rng.dirichlet((1, 1, 1), count)
    root = np.einsum("nk,nkc->nc", weight, points[triangle])
    normal = _unit(np.einsum("nk,nkc->nc", weight, normals[triangle]))
    low, high = np.quantile(root[:, 2], [0.02, 0.98])
    return root, normal, np.clip((root[:, 2] - low) / (high - low), 0, 1)


def _comb(
    plan: HeadPlan, root: F64, forward: F64, style: Style, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], F64]:
    """Which strands fall over the forehead, and which way each is laid: they forward, the others back."""
    parting = 0.02 * (1 if plan.seed % 2 else -1)
    away = np.sign(root[:, 0] - parting + 1e-9)
    back = np.stack([0.5 * away, np.full(len(root), 0.05), -0.3 - 1.2 * forward], 1)
    over = np.stack([0.5 * away, np.full(len(root), -0.1), np.ones(len(root))], 1)
    falls = (forward > 0.75) & (rng.random(len(root)) < style.fringe)
    return falls, _unit(np.where(falls[:, None], over, back))


def _unit(vectors: F64) -> F64:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
