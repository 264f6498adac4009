"""Skin covers gums: expressions that part the lips must not pull the skin through what lies beneath."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.artifacts import F64
from backend.geometry.normals import vertex_normals
from backend.geometry.state import SHAPE, FitState
from backend.geometry.surface import LinearPoints
from backend.geometry.terms import Quadratic
from backend.head.base import ParametricHead

MARGIN_M = 0.003  # thinnest lip over gum; a head whose mean is thinner keeps what it has
SIGMA_M = 0.0007
MAX_PAIRS = 80
NEAR_M = 0.02  # skin farther from a gum vertex than this does not lie over it
NEIGHBOURS = 24  # skin vertices about a gum vertex among which the one over it is sought
OUTWARD = 0.5  # least cosine between skin normal and the way from gum to skin


@dataclass(frozen=True)
class CoverTerm:
    """``½ Σ (max(0, margin − n·(skin − gum)) / σ)²`` over pairs of skin and gum points."""

    apart: LinearPoints  # (N) skin minus gum; correctives, which act where lips meet, are left out
    normal: F64  # (N, 3) unit, outwards
    margin_m: F64  # (N,)

    def _missing(self, state: FitState) -> F64:
        depth = np.einsum("nc,nc->n", self.normal, self.apart.positions(state))
        return np.asarray(np.maximum(self.margin_m - depth, 0.0) / SIGMA_M)

    def cost(self, state: FitState) -> float:
        r = self._missing(state)
        return 0.5 * float(r @ r)

    def model(self, state: FitState) -> Quadratic:
        r = self._missing(state)
        j = np.zeros((len(r), state.size))
        j[:, SHAPE:] = -np.einsum("nc,nck->nk", self.normal, self.apart.basis) / SIGMA_M
        j *= (r > 0)[:, None]
        return Quadratic(0.5 * float(r @ r), j.T @ r, j.T @ j)


def cover_of(head: ParametricHead) -> CoverTerm | None:
    """The term for ``head``, or None where it has no gums."""
    from scipy.spatial import cKDTree

    if "gums" not in head.part_names:
        return None
    mean = head.mean_vertices.astype(np.float64)
    gums = np.unique(head.triangles[head.triangle_part == head.part_names.index("gums")])
    normals = vertex_normals(head.mean_vertices, head.triangles)
    skin = np.unique(head.triangles[head.triangle_part == 0])
    low, high = mean[gums].min(0) - NEAR_M, mean[gums].max(0) + NEAR_M
    skin = skin[((mean[skin] > low) & (mean[skin] < high)).all(1)]
    if len(skin) < NEIGHBOURS:
        return None
    distance, nearest = cKDTree(mean[skin]).query(mean[gums], k=NEIGHBOURS)
    way = mean[skin[nearest]] - mean[gums][:, None]
    cosine = np.einsum("gkc,gkc->gk", way, normals[skin[nearest]]) / np.maximum(distance, 1e-9)
    over = (cosine > OUTWARD) & (distance < NEAR_M) & (normals[skin[nearest]][..., 2] > 0)
    first = over.argmax(1)
    rows = np.flatnonzero(over.any(1))
    if len(rows) == 0:
        return None
    thickness = np.einsum("gc,gc->g", way[rows, first[rows]], normals[skin[nearest[rows, first[rows]]]])
    rows = rows[np.argsort(thickness, kind="stable")[:MAX_PAIRS]]  # the thinnest cover tears first
    above, below = skin[nearest[rows, first[rows]]], gums[rows]
    bases = [
        np.moveaxis((basis[:, above] - basis[:, below]).astype(np.float64), 0, -1)
        for basis in (head.identity_basis, head.expression_basis)
    ]
    normal = np.asarray(normals[above], np.float64)
    apart = mean[above] - mean[below]
    thick = np.einsum("nc,nc->n", normal, apart)
    return CoverTerm(
        LinearPoints(apart, np.concatenate(bases, axis=2)), normal, np.minimum(MARGIN_M, 0.8 * thick)
    )
