"""Fitting the layout to the flattened surface: outlines pinned, the rest at weighted neighbour means.

Reweighted solves, each a convex-combination map, whose fixed point gives neighbouring edges the same
importance × 3D length (equidistribution).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numpy.typing import NDArray

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]


def pull(edges: I32, weight: F64, on_mirror: NDArray[np.bool_], fixed: NDArray[np.bool_], values: F64) -> F64:
    """One coordinate of every free vertex at its neighbours' weighted mean; ``values`` where fixed.

    Vertices ``on_mirror`` see their off-mirror neighbours twice, as the whole mesh would.
    """
    n = len(values)
    a, b = edges.T
    to_b = weight * np.where(on_mirror[a] & ~on_mirror[b], 2.0, 1.0)  # how strongly a is drawn to b
    to_a = weight * np.where(on_mirror[b] & ~on_mirror[a], 2.0, 1.0)
    w = sp.csr_matrix((np.r_[to_b, to_a], (np.r_[a, b], np.r_[b, a])), shape=(n, n))
    laplacian = (sp.diags(np.asarray(w.sum(1)).ravel()) - w).tocsr()
    free, held = np.flatnonzero(~fixed), np.flatnonzero(fixed)
    out = values.copy()
    rhs = -(laplacian[free][:, held] @ values[held])
    out[free] = spla.splu(laplacian[free][:, free].tocsc()).solve(rhs)
    return out


def relax(
    position: F64,
    edges: I32,
    lift: Callable[[F64], F64],
    importance: Callable[[F64], F64],
    fixed: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    on_mirror: NDArray[np.bool_],
    iterations: int,
    stiffness: F64 | None = None,
) -> F64:
    """Relax planar ``position`` ``(N, 2)``; ``fixed`` says per coordinate which vertices are pinned.

    ``lift`` gives 3D points of planar ones; ``importance`` a density factor at 3D points; ``stiffness``
    ``(E,)`` a factor of each edge's pull, 1 where not given.
    """
    a, b = edges.T
    own = np.ones(len(edges)) if stiffness is None else stiffness
    weight = np.ones(len(edges))
    for step in range(iterations + 1):
        position = np.stack(
            [pull(edges, own * weight, on_mirror, fixed[k], position[:, k]) for k in range(2)], 1
        )
        if step == iterations:
            break
        point = lift(position)
        flat = np.linalg.norm(position[a] - position[b], axis=1)
        solid = np.linalg.norm(point[a] - point[b], axis=1)
        scale = solid / np.maximum(flat, 1e-9) * importance(0.5 * (point[a] + point[b]))
        # Force balance makes stiffness × planar length equal, so this stiffness evens out 3D lengths.
        new = np.clip(scale / np.median(scale), 0.003, 300.0)
        weight = new if step == 0 else np.sqrt(weight * new)
    return position
