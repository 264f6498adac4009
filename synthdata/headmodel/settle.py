"""Faces that fold in some people or expressions are smoothed in all of them: still one linear map of ICT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from backend.head.meshing import edges_of

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

SHAPES, SIGMA, SEED = 120, 2.5, 5  # identities looked at, drawn uniformly within ±SIGMA of each mode
MIN_COSINE = 0.20  # between the corner normals of a quad
STEP = 0.25  # of the way to the neighbours' mean, each round
FARTHEST_M = 0.0012  # on the mean; a vertex that has gone farther stays, unless the mean itself folds there


@dataclass(frozen=True)
class LinearMap:
    """Points that are weighted means of ICT's vertices."""

    matrix: sp.csr_matrix  # (N, S), rows sum to 1

    def apply(self, values: NDArray[np.floating[Any]]) -> F64:
        """Values ``(…, S or more, C)`` at ICT's vertices, taken at the points: ``(…, N, C)``."""
        known = np.asarray(values)[..., : self.matrix.shape[1], :]
        v = np.moveaxis(known.astype(np.float64), -2, 0)
        out = self.matrix @ v.reshape(len(v), -1)
        return np.moveaxis(out.reshape(len(out), *v.shape[1:]), 0, -2)


def sample_shapes(ict: ParametricHead, mean: F64) -> F64:
    """``(M, S, 3)`` shapes to be sound in: ``mean``, every expression, and random identities."""
    rng = np.random.default_rng(SEED)
    drawn = np.clip(rng.standard_normal((SHAPES, len(ict.identity_basis))) * 1.25, -SIGMA, SIGMA)
    people = np.tensordot(drawn, ict.identity_basis[:, : len(mean)].astype(np.float64), 1)
    acted = ict.expression_basis[:, : len(mean)].astype(np.float64)
    return np.asarray(mean + np.concatenate([np.zeros((1, *mean.shape)), acted, people]))


def settle(
    start: LinearMap, quads: I32, shapes: F64, held: NDArray[np.bool_], offset: F64, rounds: int = 250
) -> LinearMap:
    """Move vertices of quads that fold in any of ``shapes`` towards their neighbours, in every shape alike.

    ``shapes`` ``(M, S, 3)`` begin with the mean; ``held`` ``(N,)`` vertices stay where they are; ``offset``
    ``(N, 3)`` is added to every shape's points.
    """
    n = start.matrix.shape[0]
    a, b = edges_of(quads).T
    graph = sp.csr_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), shape=(n, n))
    mean = sp.diags(1.0 / np.maximum(np.asarray(graph.sum(1)).ravel(), 1.0)) @ graph
    matrix = start.matrix
    columns = np.moveaxis(shapes, 1, 0).reshape(shapes.shape[1], -1)
    points = matrix @ columns
    before = points[:, :3].copy()
    watched = np.arange(len(quads))
    for k in range(rounds):
        if k % 10 == 0:
            watched = np.arange(len(quads))  # smoothing one place can only disturb those next to it
        worst = _worst_cosine(points.reshape(n, len(shapes), 3) + offset[:, None], quads[watched])
        bad = quads[watched[worst < MIN_COSINE]]
        move = np.zeros(n, bool)
        move[bad] = True
        near = np.linalg.norm(points[:, :3] - before, axis=1) < FARTHEST_M
        on_mean = _worst_cosine(points[:, None, :3] + offset[:, None], quads[watched]) < MIN_COSINE
        near[quads[watched[on_mean]]] = True
        move &= ~held & near
        if not move.any():
            if len(watched) == len(quads):
                break
            watched = np.arange(len(quads))
            continue
        watched = np.flatnonzero(move[quads].any(1))
        share = sp.diags(np.where(move, STEP, 0.0))
        blend = (sp.eye(n) - share + share @ mean).tocsr()
        matrix, points = (blend @ matrix).tocsr(), blend @ points
    return LinearMap(matrix)


def _worst_cosine(points: F64, quads: I32) -> F64:
    """``(Q,)`` over the shapes ``(N, M, 3)``: the smallest cosine between two corner normals of each quad."""
    out = np.full(len(quads), 1.0)
    for chunk in np.array_split(np.arange(len(quads)), max(1, len(quads) // 1000)):
        p = points[quads[chunk]]  # (q, 4, M, 3)
        normals = []
        for k in range(4):
            n = np.cross(p[:, k] - p[:, k - 1], p[:, (k + 1) % 4] - p[:, k])
            normals.append(n / np.maximum(np.linalg.norm(n, axis=2, keepdims=True), 1e-15))
        pairs = [(normals[i] * normals[j]).sum(2) for i in range(4) for j in range(i)]
        out[chunk] = np.min(pairs, axis=(0, 2))
    return out
