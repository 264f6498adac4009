"""Offsets on the skin: rough ones made smooth, lips held together; linings and inner parts move along."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from backend.head.base import ParametricHead
from backend.head.meshing import LEAST_AREA_M2, together, vertices_of
from backend.uvspace.cotangent import cotangent_operators

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

LININGS = ("mouth", "sockets")  # joined to the skin's borders
# Parts that move as one, with the skin before them: eyeballs stay round, a bite stays a bite. What is in
# neither list follows the skin beside each of its vertices.
TOGETHER = (
    ("eye_left", "cornea_left"),
    ("eye_right", "cornea_right"),
    ("teeth", "gums", "tongue"),
)
NEAREST = 8  # skin vertices that a vertex follows
TOUCHING_M = 0.0008  # lips nearer than this touch at rest
HELD = 100.0  # how much more touching lips are held together than offsets are believed
LIPS_REACH_M = 0.004  # how far from where lips touch holding them together is felt
LEAST_TRUST = 1e-4
SMOOTH_M = 0.0022  # waves shorter than about six times this are damped


class Follower:
    """Smooths offsets of one head's surface (linear, symmetric if the head is)."""

    def __init__(self, head: ParametricHead, trust: F64) -> None:
        """``trust`` ``(V,)`` in [0, 1]: how far a vertex's offsets are to be believed; 0 off the skin."""
        mean = head.mean_vertices.astype(np.float64)
        of_part = {name: vertices_of(head, name) for name in head.part_names}
        skin = of_part["skin"]
        area, stiffness = cotangent_operators(mean, triangles_of(head, ("skin",)))
        self._skin, self._weight = skin, area[skin] * np.maximum(trust[skin], LEAST_TRUST)
        pull = across_the_lips(head, mean, area)[skin][:, skin]
        own = stiffness[skin][:, skin]
        self._solve_skin = factorised(
            sp.diags(self._weight) + bending_energy(own, area[skin], SMOOTH_M) + pull
        )
        self._line = Lining(head, mean, skin)
        tree = cKDTree(mean[skin])
        self._rigid = []
        for group in TOGETHER:
            rows = together(head, group)
            if len(rows) == 0:
                continue
            front = rows[mean[rows, 2] > np.quantile(mean[rows, 2], 0.7)]
            self._rigid.append((rows, skin[np.unique(tree.query(mean[front], k=NEAREST)[1])]))
        taken = {"skin", *LININGS, *(name for group in TOGETHER for name in group)}
        self._beside = []
        for name in sorted(set(head.part_names) - taken):
            # Strands may be rooted in the skin, whose vertices stay the skin's.
            rows = np.setdiff1d(of_part[name], np.concatenate([skin, self._line.rows]))
            self._beside.append((rows, skin[tree.query(mean[rows], k=NEAREST)[1]]))

    def __call__(self, offsets: F64) -> F64:
        """Smooth offsets ``(…, V, 3)`` of all vertices from rough ones of the skin."""
        rough = np.moveaxis(offsets, -2, 0).reshape(offsets.shape[-2], -1)
        smooth = np.zeros_like(rough)
        smooth[self._skin] = self._solve_skin(self._weight[:, None] * rough[self._skin])
        self._line(smooth)
        shape = (offsets.shape[-2], *offsets.shape[:-2], 3)
        out = np.moveaxis(smooth.reshape(shape), 0, -2)
        for rows, near in self._rigid:
            out[..., rows, :] = out[..., near, :].mean(-2, keepdims=True)
        for rows, near in self._beside:
            out[..., rows, :] = out[..., near, :].mean(-2)
        return out


def hold_lips(head: ParametricHead, offsets: F64) -> F64:
    """``offsets`` ``(…, V, 3)`` changed round the mouth so that lips which touch at rest stay together."""
    mean = head.mean_vertices.astype(np.float64)
    skin = vertices_of(head, "skin")
    area, stiffness = cotangent_operators(mean, triangles_of(head, ("skin",)))
    pull = across_the_lips(head, mean, area)[skin][:, skin]
    bending = bending_energy(stiffness[skin][:, skin], area[skin], LIPS_REACH_M)
    flat = np.moveaxis(offsets, -2, 0).reshape(len(mean), -1)
    change = np.zeros_like(flat)
    change[skin] = -factorised(sp.diags(area[skin]) + bending + pull)(pull @ flat[skin])
    Lining(head, mean, skin)(change)
    return np.asarray(offsets + np.moveaxis(change.reshape(len(mean), *offsets.shape[:-2], 3), 0, -2))


class Lining:
    """Harmonic extension from the skin's borders into mouth bag and eye sockets."""

    def __init__(self, head: ParametricHead, mean: F64, skin: NDArray[np.intp]) -> None:
        self.rows = np.setdiff1d(together(head, LININGS), skin)
        self._skin = skin
        _, stiffness = cotangent_operators(mean, triangles_of(head, ("skin", *LININGS)))
        self._from_skin = -stiffness[self.rows][:, skin]
        self._solve = factorised(stiffness[self.rows][:, self.rows])

    def __call__(self, values: F64) -> None:
        """Fill the linings' rows of ``values`` ``(V, N)`` in place."""
        if len(self.rows):
            values[self.rows] = self._solve(self._from_skin @ values[self._skin])


def bending_energy(stiffness: sp.csr_matrix, area: F64, length_m: float) -> sp.csr_matrix:
    """Energy by which waves shorter than 2π ``length_m`` are damped, against ``diag(area)``."""
    return length_m**4 * stiffness @ sp.diags(1.0 / np.maximum(area, LEAST_AREA_M2)) @ stiffness


def factorised(matrix: sp.spmatrix) -> Callable[[F64], F64]:
    """A solver for a symmetric positive definite ``matrix``."""
    if matrix.shape[0] == 0:
        return lambda right: right
    return cast(
        Callable[[F64], F64],
        spla.splu(
            matrix.tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        ).solve,
    )


def across_the_lips(head: ParametricHead, mean: F64, area: F64) -> sp.csr_matrix:
    """Springs ``(V, V)`` between lips that touch at rest, so that no shape parts them."""
    jaw = np.linalg.norm(head.expression_basis[head.expression_names.index("jawOpen")], axis=1)
    lips = vertices_of(head, "skin")
    lips = lips[(head.regions["lips"][lips] > 0.5)]
    below = jaw[lips] > 0.5 * jaw[lips].max(initial=0.0)
    upper, lower = lips[~below], lips[below]
    gap, near = cKDTree(mean[lower]).query(mean[upper])
    meet = gap < TOUCHING_M
    a, b = upper[meet], lower[near[meet]]
    k = HELD * np.maximum(area[a], area[b])
    n = len(area)
    return sp.csr_matrix((np.r_[k, k, -k, -k], (np.r_[a, b, a, b], np.r_[a, b, b, a])), shape=(n, n))


def triangles_of(head: ParametricHead, parts: tuple[str, ...]) -> I32:
    chosen = [k for k, name in enumerate(head.part_names) if name in parts]
    return head.triangles[np.isin(head.triangle_part, chosen)]
