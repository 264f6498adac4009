"""Skin pushed clear of what lies beneath it: the smoothest displacement that keeps a given distance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numpy.typing import NDArray

from backend.head.meshing import LEAST_AREA_M2
from backend.uvspace.cotangent import cotangent_operators

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
# Points (S, 3) to how far each has to go (S,), metres, positive where it must move, and where to (S, 3).
Missing = Callable[[F64], tuple[F64, F64]]

DIVISIONS = 4  # of a triangle's edge: quads that a shape stretches sag between their corners
STIFF_M = 0.004  # waves shorter than about six times this are damped
TOLERANCE_M = 4e-5
CONTACT = 300.0  # how much more contact counts than smoothness


class Sheet:
    """A patch of a mesh that may move; everything else stays."""

    def __init__(self, vertices: F64, triangles: I32, free: NDArray[np.bool_]) -> None:
        """``vertices`` ``(V, 3)`` at rest, ``triangles`` ``(T, 3)`` of the surface, ``free`` ``(V,)``."""
        self.free = np.flatnonzero(free)
        near = triangles[free[triangles].any(1)]
        grown = np.zeros(len(vertices), bool)
        grown[near] = True
        own = np.flatnonzero(grown)
        row = np.full(len(vertices), -1)
        row[own] = np.arange(len(own))
        area, stiffness = cotangent_operators(vertices[own], row[triangles[grown[triangles].all(1)]])
        area = np.maximum(area, LEAST_AREA_M2)
        bending = stiffness @ sp.diags(1.0 / area) @ stiffness
        self._fixed = np.setdiff1d(own, self.free)
        inside, outside = row[self.free], row[self._fixed]
        within = bending[inside][:, inside].tocsc()
        self._across = bending[inside][:, outside]
        self._continued = _symmetric(within)
        damped = STIFF_M**4 * within + sp.diags(1e-3 * area[inside])
        self._smooth = sp.kron(damped, sp.eye(3)).tocsc()
        self._weight = CONTACT * float(np.mean(area[inside]))

    def interpolate(self, values: F64) -> F64:
        """``values`` ``(V, N)`` whose free rows are the smoothest continuation of the others."""
        out = values.copy()
        out[self.free] = self._continued.solve(-self._across @ values[self._fixed])
        return out

    def clear(self, vertices: F64, triangles: I32, missing: Missing, rounds: int = 5) -> F64:
        """The displacement ``(V, 3)`` of the posed ``vertices`` after which ``triangles`` miss nothing."""
        count = len(vertices)
        column = np.full(count, -1)
        column[self.free] = np.arange(len(self.free))
        weights = _barycentric(DIVISIONS)
        corners = np.repeat(triangles, len(weights), axis=0)
        share = np.tile(weights, (len(triangles), 1))
        moved = np.zeros((count, 3))
        n = len(self.free)
        active = np.zeros(len(corners), bool)
        for _ in range(rounds):
            depth, way = missing(sampled(vertices + moved, triangles))
            if not (depth > TOLERANCE_M).any():
                break
            # What once had to move keeps to its distance, or it would fall back in the next round.
            active |= depth > 0
            bad = np.flatnonzero(active)
            held = column[corners[bad]]
            use = held >= 0
            r = np.repeat(np.arange(len(bad)), 9)
            c = (3 * held[:, :, None] + np.arange(3)).reshape(len(bad), -1)
            value = (share[bad][:, :, None] * way[bad][:, None, :] * use[:, :, None]).reshape(len(bad), -1)
            rows = sp.csr_matrix((value.ravel(), (r, np.maximum(c, 0).ravel())), (len(bad), 3 * n))
            already = rows @ moved[self.free].ravel()
            system = self._smooth + self._weight * rows.T @ rows
            right = self._weight * rows.T @ (already + depth[bad])
            moved[self.free] = _symmetric(system.tocsc()).solve(right).reshape(-1, 3)
        return moved


def sampled(vertices: F64, triangles: I32) -> F64:
    """The points ``(S, 3)`` of ``triangles`` at which contact is looked for, always in one order."""
    return np.asarray((_barycentric(DIVISIONS) @ vertices[triangles]).reshape(-1, 3))


def _symmetric(matrix: sp.csc_matrix) -> spla.SuperLU:
    """Factors of a symmetric positive definite matrix, which needs no pivots: half the time."""
    return spla.splu(
        matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )


def _barycentric(divisions: int) -> F64:
    """All grid points of a triangle ``(N, 3)``."""
    steps = range(divisions + 1)
    grid = [(i, j, divisions - i - j) for i in steps for j in steps if i + j <= divisions]
    return np.asarray(grid, np.float64) / divisions
