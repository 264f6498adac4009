"""The user's head laid over the engine's surface, so that the avatar has eyes, teeth, rig and expressions.

Rigidly by iBUG's 68 points, then the identity modes by closest points, then a smooth bending of the skin
for what the modes cannot say. Sizes are kept: both heads are in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from backend.artifacts import F32, F64
from backend.errors import BadInput
from backend.evaluation.align import Anchors
from backend.evaluation.closest import Surface
from backend.evaluation.nonrigid import bend_onto
from backend.head.base import ParametricHead
from backend.head.correspondences import points68
from backend.head.lid_motion import rested_eyes
from backend.uvspace.normals import vertex_normals

ROUNDS = 6  # of closest points and modes
NOISE_M = 0.0015  # how far a closest point is believed to be from the right one
LANDMARK_NOISE_M = 0.003  # the two heads' 68 points are not quite the same places
REACH_M = 0.015  # a closest point farther than this, or facing away, says nothing
FACING = 0.5
ANCHOR_WEIGHT = 30.0  # in mean vertex areas
MOST_VERTICES = 3000  # of the skin that take part in the modes' fit
RIGHT_SIZE = (0.7, 1.4)  # of the two heads' points; outside, the file's unit is not the decimetre
SPARSITY = 0.05  # what a weight costs, over what a shape of middling size moves
SWEEPS = 200
NEIGHBOURS = 8  # skin vertices that carry a vertex of another part along


@dataclass(frozen=True)
class Registered:
    """The user's head as the person on the engine's surface, in the user's head's own space."""

    identity: F32  # (K,)
    expression: F32  # (E,) in [0, 1]
    neutral_head: F32  # (V, 3) metres
    vertices_head: F32  # (V, 3) with expression
    rotation: F64  # (3, 3): the engine's head space to the user's, x' = R·x + t
    translation: F64  # (3,) metres
    surface_neutral: F32  # (N, 3) the engine's vertices there
    residual_m: float  # median distance of the face's skin from the surface


def register(source: ParametricHead, neutral: F32, expressive: F32, target: ParametricHead) -> Registered:
    """Lay ``target`` over ``source``'s vertices ``neutral`` and ``expressive`` ``(N, 3)``, metres.

    Raises: BadInput (a head without 68 points, or of a wholly other size: its file's unit is another one).
    """
    theirs = points68(source).positions(neutral, source.triangles)
    ours = points68(target).positions(target.mean_vertices, target.triangles)
    ratio = float(np.std(theirs - theirs.mean(0)) / np.std(ours - ours.mean(0)))
    if not RIGHT_SIZE[0] < ratio < RIGHT_SIZE[1]:
        raise BadInput(
            f"the head '{source.name}' is {ratio:.2f} times as large as '{target.name}'; its file is not in "
            "decimetres, or the fit went wrong: use --head hifi3dpp to see it"
        )
    rotation, translation = _rigid(theirs, ours)
    surface = neutral.astype(np.float64) @ rotation.T + translation
    goal = Surface(surface, source.triangles)
    points = theirs @ rotation.T + translation

    identity = _modes(target, goal, points)
    skin = target.triangles[target.triangle_part == 0].astype(np.int64)
    start = target.shape(identity).astype(np.float64)
    anchors = Anchors(points68(target).positions(start, target.triangles), points, ANCHOR_WEIGHT)
    bent = bend_onto(start, skin, goal, anchors)
    settled = rested_eyes(target, _carried(target, start, bent, np.unique(skin))).astype(np.float64)

    face = np.unique(skin)[target.regions["face"][np.unique(skin)] > 0.5]
    hits = goal.closest(settled[face])
    moved = (expressive - neutral).astype(np.float64) @ rotation.T
    weights = _expression(target, source.triangles, face, hits.triangle, hits.barycentric, moved)
    shown = settled + (target.shape(identity, weights) - target.shape(identity)).astype(np.float64)
    return Registered(
        identity=identity.astype(np.float32),
        expression=weights,
        neutral_head=settled.astype(np.float32),
        vertices_head=shown.astype(np.float32),
        rotation=rotation,
        translation=translation,
        surface_neutral=surface.astype(np.float32),
        residual_m=float(np.median(hits.distance)),
    )


def _rigid(source: F64, target: F64) -> tuple[F64, F64]:
    """R, t with x' = R·x + t that carry points ``(N, 3)`` best onto others (Kabsch 1976)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, _, vt = np.linalg.svd(a.T @ b)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u @ sign @ vt).T
    return rotation, target.mean(0) - rotation @ source.mean(0)


def _modes(head: ParametricHead, goal: Surface, points: F64) -> F64:
    """Identity coefficients: point to plane at closest points, point to point at the 68, prior N(0, 1)."""
    skin = np.unique(head.triangles[head.triangle_part == 0])
    weight = head.regions["face"][skin]
    rows = skin[weight > 0.1]
    rows = rows[:: max(1, len(rows) // MOST_VERTICES)]
    basis = head.identity_basis[:, rows].astype(np.float64)  # (K, n, 3)
    marks = points68(head)
    corners = head.triangles[marks.triangle]
    mark_basis = np.einsum("nk,bnkc->bnc", marks.barycentric, head.identity_basis[:, corners]).astype(
        np.float64
    )
    mark_mean = marks.positions(head.mean_vertices, head.triangles)
    j_marks = mark_basis.reshape(len(basis), -1).T / LANDMARK_NOISE_M
    r_marks = (points - mark_mean).reshape(-1) / LANDMARK_NOISE_M
    identity = np.zeros(len(basis))
    for round_ in range(ROUNDS):
        shape = head.shape(identity)
        normals = vertex_normals(shape, head.triangles)[rows].astype(np.float64)
        here = shape[rows].astype(np.float64)
        hits = goal.closest(here)
        facing = np.einsum("nc,nc->n", normals, goal.normals[hits.triangle])
        # The first round knows only the 68 points: closest points of a mean head are other places.
        good = (hits.distance < REACH_M) & (facing > FACING) & ~goal.on_border(hits) & (round_ > 0)
        plane = goal.normals[hits.triangle]
        j = np.einsum("knc,nc->nk", basis, plane) * (good / NOISE_M)[:, None]
        mean = head.mean_vertices[rows].astype(np.float64)
        r = np.einsum("nc,nc->n", hits.point - mean, plane) * good / NOISE_M
        # Neighbouring vertices err together: they count as one for every 25.
        share = 1 / 25
        normal_matrix = share * j.T @ j + j_marks.T @ j_marks + np.eye(len(basis))
        identity = np.linalg.solve(normal_matrix, share * j.T @ r + j_marks.T @ r_marks)
    return np.asarray(identity)


def _carried(head: ParametricHead, start: F64, bent: F64, skin: NDArray[np.int64]) -> F64:
    """All vertices: the skin bent, every other part moved as a whole or, where it is thin, with the skin."""
    out = bent.copy()
    change = bent[skin] - start[skin]
    tree = cKDTree(start[skin])
    for number, name in enumerate(head.part_names):
        if number == 0:
            continue
        rows = np.setdiff1d(np.unique(head.triangles[head.triangle_part == number]), skin)
        if len(rows) == 0:
            continue
        gap, near = tree.query(start[rows], k=NEIGHBOURS)
        share = 1 / (gap + 1e-4)
        offset = np.einsum("nk,nkc->nc", share / share.sum(1, keepdims=True), change[near])
        follows = any(word in name for word in ("lash", "brow", "tear", "mouth", "sockets"))
        out[rows] = start[rows] + (offset if follows else offset.mean(0))
    return out


def _expression(
    head: ParametricHead,
    triangles: NDArray[np.int32],
    face: NDArray[np.int64],
    triangle: NDArray[np.int64],
    barycentric: F64,
    moved: F64,
) -> F32:
    """Weights in [0, 1] whose shapes move the face as ``moved`` ``(N, 3)`` does; few rather than many."""
    wanted = np.einsum("nk,nkc->nc", barycentric, moved[triangles[triangle]]).reshape(-1)
    shapes = head.expression_basis[:, face].astype(np.float64).reshape(len(head.expression_names), -1).T
    gram, right = shapes.T @ shapes, shapes.T @ wanted
    moves = np.diag(gram).copy()
    price = SPARSITY * np.median(moves)
    weights = np.zeros(len(moves))
    for _ in range(SWEEPS):  # coordinate descent: ½|A·w − d|² + price·Σw, 0 ≤ w ≤ 1
        for k in np.flatnonzero(moves > 0):
            free = right[k] - gram[k] @ weights + moves[k] * weights[k]
            weights[k] = np.clip((free - price) / moves[k], 0, 1)
    return weights.astype(np.float32)
