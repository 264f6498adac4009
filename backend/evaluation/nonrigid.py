"""Non-rigid ICP: a patch of surface bent smoothly onto another surface, to find which point is which."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from backend.evaluation.align import Anchors
from backend.evaluation.closest import Surface
from backend.uvspace.cotangent import cotangent_operators

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

STIFFNESS_M = (0.040, 0.020, 0.010, 0.005, 0.0025)  # lengths over which offsets are shared, first to last
ROUNDS = 4  # at each stiffness
REACH_M = 0.020  # closest points farther than this do not pull
ON_PATCH_M = 0.003  # an anchor farther from the patch than this belongs to another one
FACING = 0.5  # least cosine between the normals of two points that may correspond
_COTANGENTS = (0.02, 20.0)


def bend_onto(vertices: F64, triangles: I64, target: Surface, anchors: Anchors | None = None) -> F64:
    """``vertices`` ``(V, 3)`` of a patch, metres, bent onto ``target``; returns their new places.

    Offsets ``d`` minimise  Σ aᵢ·|vᵢ + dᵢ − cᵢ|²  +  ℓ²·∫|∇d|²  +  Σ w·|dₖ − (tₖ − sₖ)|². Here aᵢ is the
    vertex's share of the patch's area and cᵢ its closest point on the target; it is left out where it is
    farther than REACH_M, faces away, or lies where the target ends (a hole does not draw its surroundings
    in). The integral is the patch's cotangent Laplacian. The last sum runs over those ``anchors`` that lie
    on the patch: the vertex nearest to ``source`` s moves as s does to ``target`` t; ``weight`` is in mean
    vertex areas. ℓ falls through STIFFNESS_M; every ℓ is solved ROUNDS times, with closest points found
    anew. The lengths make the result independent of the patch's resolution.
    """
    area, laplacian = cotangent_operators(vertices, triangles, _COTANGENTS)
    used = area > 0
    if not used.any():
        return vertices.copy()
    # Vertices without a triangle stay where they are.
    area = np.where(used, area, 1e-6 * area[used].mean())
    held, wanted = _held(vertices, used, area, anchors)
    own = _vertex_normals(vertices, triangles)
    bent = vertices.copy()
    for length in STIFFNESS_M:
        for _ in range(ROUNDS):
            hits = target.closest(bent)
            facing = np.einsum("nc,nc->n", own, target.normals[hits.triangle]) > FACING
            ends = target.on_border(hits)
            pull = area * (used & facing & ~ends & (hits.distance < REACH_M))
            rest = np.where(used, 1e-6 * area, area)  # keeps parts that nothing pulls where they are
            matrix = sparse.diags(pull + rest + held) + length**2 * laplacian
            right = pull[:, None] * (hits.point - vertices) + wanted
            solve = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
            bent = vertices + solve.solve(right)
    return bent


def _held(vertices: F64, used: NDArray[np.bool_], area: F64, anchors: Anchors | None) -> tuple[F64, F64]:
    """The anchors' weights ``(V,)`` and weighted offsets ``(V, 3)``."""
    from scipy.spatial import cKDTree

    weight, wanted = np.zeros(len(vertices)), np.zeros_like(vertices)
    if anchors is None or len(anchors.source) == 0:
        return weight, wanted
    rows = np.flatnonzero(used)
    gap, near = cKDTree(vertices[rows]).query(anchors.source)
    on = gap < ON_PATCH_M
    each = anchors.weight * float(area[used].mean())
    np.add.at(weight, rows[near[on]], each)
    np.add.at(wanted, rows[near[on]], each * (anchors.target - anchors.source)[on])
    return weight, wanted


def _vertex_normals(vertices: F64, triangles: I64) -> F64:
    corner = vertices[triangles]
    face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normal, triangles[:, k], face)
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-18))
