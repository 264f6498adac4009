"""Where things lie on a face: soft layers beyond the head's regions, and the lines along which skin folds.

Places follow Face Mesh's points, which every head has.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from backend.artifacts import F32
from backend.head.base import ParametricHead
from backend.uvspace.chart import skin_triangles
from backend.uvspace.normals import vertex_normals
from synthdata.skin.marks import Lines
from synthdata.skin.parameters import SkinParameters
from synthdata.skin.surface import MM, SkinSurface

F64 = NDArray[np.float64]

REGIONS = (
    "lips",
    "cheeks",
    "nose",
    "eyelids",
    "forehead",
    "chin",
    "scalp",
    "ears",
    "neck",
    "beard",
    "brows",
    "nostrils",
    "face",
)
DERIVED = ("under_eye", "wings", "moustache", "blush", "mouth_inside", "around_eye", "sunny")
# Face Mesh's points, on the subject's right and left.
UNDER_EYE = ((226, 31, 228, 229, 230, 231, 232), (446, 261, 448, 449, 450, 451, 452))
TROUGH = ((244, 128, 121, 120, 119, 118), (464, 357, 350, 349, 348, 347))
UPPER_LASHES = ((33, 246, 161, 160, 159, 158, 157), (263, 466, 388, 387, 386, 385, 384))
WING = ((129, 98), (358, 327))
NASOLABIAL = ((129, 203, 206, 216), (358, 423, 426, 436))
MARIONETTE = ((61, 204, 211), (291, 424, 431))
BROW = ((55, 65, 52, 53, 46), (285, 295, 282, 283, 276))
BROW_TOP = ((107, 66, 105, 63, 70), (336, 296, 334, 293, 300))
OUTER, INNER, MOUTH = (33, 263), (133, 362), (61, 291)
CHEEKBONE = ((50, 117, 123), (280, 346, 352))
MENTAL = (43, 106, 182, 18, 406, 335, 273)
UPPER_LIP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
PIECE_MM = 0.9
SOFT_STEPS = 12  # of blur at the beard's border, about a centimetre


def layers_of(head: ParametricHead, vertices_head: F32) -> dict[str, F32]:
    """Weights ``(V,)`` in [0, 1] of regions and of DERIVED, by name."""
    place = MM * vertices_head.astype(np.float64)
    mark = MM * head.mediapipe.positions(vertices_head, head.triangles)
    nothing = np.zeros(len(place), np.float32)
    out = {name: head.regions.get(name, nothing).astype(np.float32) for name in REGIONS}

    out["nostrils"] = _filled(out["nostrils"], head)
    out["beard"] = _softened(out["beard"], head)

    def near(groups: Sequence[Sequence[int]], width: float) -> F32:
        gap = np.min([_distance(place, mark[list(points)]) for points in groups], axis=0)
        return np.asarray(np.exp(-((gap / width) ** 2)), np.float32)

    front = out["face"] * (1 - out["lips"])
    out["under_eye"] = near(UNDER_EYE, 6.5) * front
    out["wings"] = near(WING, 4.5) * front
    out["around_eye"] = near((*UNDER_EYE, *UPPER_LASHES, OUTER[:1], OUTER[1:]), 15.0) * front
    out["moustache"] = near((UPPER_LIP,), 7.0) * front * (place[:, 1] > mark[0, 1]).astype(np.float32)
    out["blush"] = near(CHEEKBONE, 14.0) * front * (1 - out["nose"]) * (1 - out["eyelids"])
    depth = (mark[[13, 14], 2].mean() - 2.5 - place[:, 2]) / 3.0
    out["mouth_inside"] = (np.clip(depth, 0, 1) * (out["lips"] > 0.9)).astype(np.float32)
    normal_up = vertex_normals(vertices_head, head.triangles)[:, 1]
    out["sunny"] = np.asarray(np.clip(0.5 + 0.6 * normal_up, 0, 1), np.float32)
    return out


def _filled(weights: F32, head: ParametricHead) -> F32:
    """``weights`` ``(V,)`` with 1 on the islands of skin that they enclose, such as a nostril's far end."""
    triangles = head.triangles[skin_triangles(head)]
    outside = weights <= 0.5
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    edges = edges[outside[edges].all(1)]
    size = (len(weights), len(weights))
    _, label = connected_components(csr_matrix((np.ones(len(edges)), edges.T), size), directed=False)
    islands = outside & np.isin(np.arange(len(weights)), triangles)
    if not islands.any():
        return weights
    islands &= label != np.bincount(label[islands]).argmax()
    return np.where(islands, np.float32(1), weights)


def _softened(weights: F32, head: ParametricHead) -> F32:
    """``weights`` ``(V,)`` blurred from vertex to vertex: hair thins out slowly."""
    triangles = head.triangles[skin_triangles(head)]
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).T
    size = (len(weights), len(weights))
    near = csr_matrix((np.ones(edges.shape[1], np.float32), edges), size)
    near = near + near.T
    count = np.maximum(np.asarray(near.sum(1)).ravel(), 1).astype(np.float32)
    for _ in range(SOFT_STEPS):
        weights = np.asarray(0.5 * weights + 0.5 * (near @ weights) / count, np.float32)
    return weights


@dataclass(frozen=True)
class Fold:
    """One line of the face: its course in millimetres, how deep and wide it is."""

    course_mm: F64  # (n, 3), near the skin
    depth_mm: float
    width_mm: float


def folds_of(surface: SkinSurface, parameters: SkinParameters, expression: Mapping[str, float]) -> list[Fold]:
    """The lines of this face. ``expression``: ARKit weights, which deepen those that they make."""
    rng = np.random.default_rng([parameters.seed, 1])
    mark = surface.landmarks_mm
    age = parameters.wrinkles

    def acted(*names: str) -> float:
        found = [
            max(expression.get(n, 0.0), expression.get(f"{n}Left", 0.0), expression.get(f"{n}Right", 0.0))
            for n in names
        ]
        return max(found, default=0.0)

    folds: list[Fold] = []
    raised = acted("browInnerUp", "browOuterUp")
    left, right, top = mark[334], mark[105], mark[10]
    rows = int(rng.integers(3, 6))
    for k in range(rows):
        share = (k + 0.8 + rng.uniform(-0.25, 0.25)) / (rows + 0.6)
        reach = rng.uniform(0.75, 1.15)
        t = np.linspace(-reach, reach, 13)
        middle = mark[9] + share * (top - mark[9])
        side = np.where(t[:, None] < 0, right - mark[9], left - mark[9]) * np.abs(t)[:, None]
        arch = (
            side
            + middle
            + np.array([0.0, 1.0, 0.0]) * (2.0 * np.cos(2.6 * t) - 2.0)[:, None] * (1 - 0.3 * share)
        )
        arch[:, 1] += rng.normal(0, 0.5, len(t)).cumsum() * 0.5
        depth = (0.02 + 0.60 * age**1.4 + 0.6 * raised) * rng.uniform(0.45, 1.0)
        folds.append(Fold(arch, depth, rng.uniform(0.55, 0.9)))
    frown = acted("browDown", "noseSneer")
    for sign in (-1, 1):
        inner = mark[107] if sign < 0 else mark[336]
        x = 0.55 * inner[0] + rng.normal(0, 0.8)
        low = np.array([0.8 * x, mark[8, 1] - rng.uniform(0, 3), mark[8, 2]])
        high = np.array([1.1 * x, mark[9, 1] + rng.uniform(4, 11), mark[9, 2]])
        depth = (0.03 + 0.60 * age**1.4 + 0.6 * frown) * rng.uniform(0.3, 1.0)
        folds.append(Fold(_bent(low, high, rng, 1.0), depth, rng.uniform(0.6, 1.0)))
    for side in (0, 1):
        folds += _beside(mark, side, age, acted, rng)
    for k, (share, depth) in enumerate(((0.40, 0.16), (0.62, 0.13), (0.85, 0.08))):
        folds.append(
            _neck_ring(
                surface,
                share + rng.normal(0, 0.05),
                depth * rng.uniform(0.5, 1.2) + 0.25 * age * rng.random(),
                k,
            )
        )
    folds.append(Fold(mark[list(MENTAL)], (0.05 + 0.12 * age) * rng.uniform(0.4, 1.2), 1.8))
    lip = mark[list(UPPER_LIP)]
    for _ in range(int(26 * max(age - 0.45, 0) + 10 * acted("mouthPucker"))):
        at = rng.uniform(1.5, len(lip) - 2.5)
        base = lip[int(at)] + (at % 1) * (lip[int(at) + 1] - lip[int(at)])
        end = base + np.array([0.12 * (base[0] - mark[0, 0]), rng.uniform(4, 9), -0.5])
        folds.append(
            Fold(
                _bent(base, end, rng, 0.3), (0.05 + 0.15 * age) * rng.uniform(0.3, 1.0), rng.uniform(0.3, 0.5)
            )
        )
    return folds


def _beside(
    mark: F64, side: int, age: float, acted: Callable[..., float], rng: np.random.Generator
) -> list[Fold]:
    """Lines of one half of the face."""
    out_ward = np.array([-1.0 if side == 0 else 1.0, 0.0, 0.0])
    corner = mark[OUTER[side]]
    squint, smile = acted("eyeSquint", "cheekSquint"), acted("mouthSmile")
    folds = []
    for angle in np.radians(np.linspace(-42, 30, int(rng.integers(4, 7))) + rng.normal(0, 4)):
        start = corner + rng.uniform(5, 8) * (
            np.cos(angle) * out_ward + np.sin(angle) * np.array([0, 1.0, 0])
        )
        length = rng.uniform(8, 20)
        bend = angle + rng.normal(-0.15, 0.2)
        end = (
            start
            + length * (np.cos(bend) * out_ward + np.sin(bend) * np.array([0, 1.0, 0]))
            - np.array([0, 0, 0.7 * length])
        )
        depth = (0.015 + 0.70 * age**1.3 + 0.5 * max(squint, 0.7 * smile)) * rng.uniform(0.35, 1.0)
        folds.append(Fold(_bent(start, end, rng, 0.8), depth, rng.uniform(0.35, 0.6)))
    lid, trough = mark[list(UNDER_EYE[side])], mark[list(TROUGH[side])]
    for share, depth in ((0.35, 0.06), (0.75, 0.10)):
        lower = trough[np.linspace(5, 0, len(lid)).round().astype(int)]
        course = lid + share * rng.uniform(0.8, 1.2) * (lower - lid)
        folds.append(
            Fold(
                course,
                (depth * (0.4 + 2.4 * age) + 0.2 * squint) * rng.uniform(0.5, 1.2),
                rng.uniform(0.45, 0.8),
            )
        )
    for _ in range(int(9 * age)):
        a, b = sorted(rng.uniform(0, len(lid) - 1.01, 2))
        k = np.linspace(a, min(b + 1, len(lid) - 1.01), 6)
        course = np.stack([lid[int(v)] + (v % 1) * (lid[int(v) + 1] - lid[int(v)]) for v in k])
        course[:, 1] -= rng.uniform(0.5, 6) + 0.3 * rng.normal(0, 1, 6).cumsum()
        folds.append(Fold(course, 0.32 * age * rng.uniform(0.3, 1.0), rng.uniform(0.25, 0.4)))
    course = mark[list(NASOLABIAL[side])]
    depth = (0.06 + 0.75 * age + 0.6 * max(smile, acted("noseSneer"))) * rng.uniform(0.7, 1.2)
    folds.append(Fold(course, depth, 1.6 + 0.8 * age))
    course = mark[list(MARIONETTE[side])]
    depth = (0.65 * max(age - 0.25, 0) + 0.4 * acted("mouthFrown")) * rng.uniform(0.5, 1.2)
    folds.append(Fold(course, depth, 1.0))
    for _ in range(int(10 * max(age - 0.5, 0))):
        base = mark[CHEEKBONE[side][0]] + rng.normal(0, 9, 3)
        end = base + 12 * out_ward * rng.uniform(0.2, 0.7) - np.array([0, rng.uniform(8, 18), 4.0])
        folds.append(
            Fold(_bent(base, end, rng, 1.2), 0.28 * age * rng.uniform(0.2, 1.0), rng.uniform(0.3, 0.6))
        )
    return folds


def _neck_ring(surface: SkinSurface, share: float, depth: float, number: int) -> Fold:
    """A line round the front of the neck, ``share`` of the way from the chin down."""
    neck = surface.vertices_mm[surface.region("neck") > 0.6]
    high, low = surface.landmarks_mm[152, 1] - 12.0, float(neck[:, 1].min())
    y = high + share * 0.75 * (low - high)
    angle = np.radians(np.linspace(-75, 75, 26))
    near = neck[np.abs(neck[:, 1] - y) < 6.0]
    middle = np.array([0.0, y, near[:, 2].min() * 0.4 + near[:, 2].max() * 0.6])
    radius = 0.5 * (near[:, 0].max() - near[:, 0].min())
    course = middle + radius * np.stack([np.sin(angle), 0.10 * np.abs(angle), np.cos(angle)], 1)
    course[:, 1] += 0.8 * np.sin(3 * angle + number)
    return Fold(course, depth, 0.8)


def _bent(start: F64, end: F64, rng: np.random.Generator, amount_mm: float) -> F64:
    """A line that wanders by about ``amount_mm`` between two points."""
    t = np.linspace(0, 1, 7)[:, None]
    wander = rng.normal(0, amount_mm, (3, 3))
    waves = np.concatenate([np.sin(np.pi * t), 0.5 * np.sin(2 * np.pi * t), 0.3 * np.sin(3 * np.pi * t)], 1)
    return np.asarray(start + t * (end - start) + waves @ wander)


def fold_lines(surface: SkinSurface, folds: Sequence[Fold], rng: np.random.Generator) -> Lines:
    """The folds as pieces on the skin, fading towards their ends, of uneven depth."""
    starts, ends, widths, depths = [], [], [], []
    for fold in folds:
        if fold.depth_mm < 0.008:
            continue
        course = _smoothed(fold.course_mm)
        length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(course, axis=0), axis=1))]
        pieces = max(int(length[-1] / PIECE_MM), 3)
        at = np.linspace(0, length[-1], pieces + 1)
        places = np.stack([np.interp(at, length, course[:, k]) for k in range(3)], 1)
        t = at / length[-1]
        phase = rng.uniform(0, 2 * np.pi, 3)
        uneven = 1 + 0.3 * np.sin(4.1 * np.pi * t + phase[0]) + 0.2 * np.sin(11.3 * np.pi * t + phase[1])
        depth = fold.depth_mm * np.sin(np.pi * np.clip(t, 0.0, 1.0)) ** 0.7 * uneven
        starts.append(places[:-1])
        ends.append(places[1:])
        widths.append(np.full(pieces, fold.width_mm))
        depths.append(np.stack([depth[:-1], depth[1:]], 1))
    if not starts:
        none = np.zeros((0, 3), np.float32)
        return Lines(none, none, none, np.zeros(0, np.float32), np.zeros((0, 2), np.float32))
    start, normal = surface.snapped(np.concatenate(starts))
    end, _ = surface.snapped(np.concatenate(ends))
    return Lines(
        start,
        end,
        normal,
        np.concatenate(widths).astype(np.float32),
        np.concatenate(depths).astype(np.float32),
    )


def _smoothed(course: F64) -> F64:
    """Corners cut (Chaikin), ends kept."""
    for _ in range(3):
        a, b = course[:-1], course[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], 1).reshape(-1, 3)
        course = np.concatenate([course[:1], cut, course[-1:]])
    return course


def _distance(points: F64, polyline: F64) -> F64:
    if len(polyline) == 1:
        return np.asarray(np.linalg.norm(points - polyline[0], axis=1))
    best = np.full(len(points), np.inf)
    for a, b in itertools.pairwise(polyline):
        t = np.clip(((points - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - a - t[:, None] * (b - a), axis=1))
    return best
