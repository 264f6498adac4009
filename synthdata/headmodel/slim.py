"""Flattening with little stretch: scalable locally injective maps (Rabinovich et al. 2017).

Minimises the symmetric Dirichlet energy, which grows without bound as a triangle collapses, so that a map
that starts without flips keeps without them.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numpy.typing import NDArray

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

PROXIMAL = 1e-5  # keeps each solve regular; share of the mean diagonal


def rest_frames(corners: F64) -> F64:
    """Triangles ``(T, 3, 3)`` laid in their own planes: ``(T, 2, 2)``, columns are the edges 0→1 and 0→2."""
    e, f = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = np.linalg.norm(e, axis=1)
    along = (e * f).sum(1) / length
    height = np.linalg.norm(np.cross(e, f), axis=1) / length
    return np.stack([np.stack([length, along], 1), np.stack([np.zeros_like(length), height], 1)], 1)


def minimise_stretch(
    uv: F64, triangles: I32, rest: F64, importance: F64, fixed: NDArray[np.bool_], iterations: int
) -> F64:
    """The map ``(N, 2)`` from ``rest`` frames to the plane that stretches least, from a flip-free ``uv``.

    ``importance`` ``(T,)`` weighs triangles beside their areas; coordinates ``fixed`` ``(N, 2)`` stay.
    Raises: ValueError when ``uv`` has a flipped triangle.
    """
    inverse = np.linalg.inv(rest)
    area = 0.5 * np.linalg.det(rest) * importance
    area = area / area.sum()
    n, count = len(uv), len(triangles)
    # Row t of d[j] takes a coordinate of the vertices to its derivative along the frame's axis j.
    row = np.repeat(np.arange(count), 3)
    d = []
    for axis in range(2):
        g = np.stack(
            [-inverse[:, 0, axis] - inverse[:, 1, axis], inverse[:, 0, axis], inverse[:, 1, axis]], 1
        )
        d.append(sp.csr_matrix((g.ravel(), (row, triangles.ravel())), shape=(count, n)))
    free = ~fixed.T.ravel()
    x = uv.T.ravel().copy()
    energy = _energy(_jacobian(d, x, n), area)
    if not np.isfinite(energy):
        raise ValueError("the map to improve has flipped triangles")
    for _ in range(iterations):
        jacobian = _jacobian(d, x, n)
        u, sigma, vt = np.linalg.svd(jacobian)
        rotation = u @ vt
        slack = np.where(np.abs(sigma - 1) < 1e-6, 1.0, sigma - 1)
        weight = np.sqrt(np.where(np.abs(sigma - 1) < 1e-6, 4.0, (sigma - sigma**-3.0) / slack))
        w = np.einsum("tik,tk,tjk->tij", u, weight, u)
        target = w @ rotation
        root = np.sqrt(area)
        blocks, rhs = [], []
        for i in range(2):
            for k in range(2):
                blocks.append([sp.diags(root * w[:, i, c]) @ d[k] for c in range(2)])
                rhs.append(root * target[:, i, k])
        whole = sp.bmat(blocks, format="csr")
        matrix = whole[:, free]
        goal = np.concatenate(rhs) - whole[:, ~free] @ x[~free]
        normal = (matrix.T @ matrix).tocsc()
        shift = PROXIMAL * normal.diagonal().mean()
        normal = normal + shift * sp.eye(normal.shape[0], format="csc")
        solved = spla.splu(normal).solve(matrix.T @ goal + shift * x[free])
        move = np.zeros_like(x)
        move[free] = solved - x[free]
        step = min(1.0, 0.8 * _first_collapse(jacobian, _jacobian(d, move, n)))
        while (after := _energy(_jacobian(d, x + step * move, n), area)) > energy and step > 1e-6:
            step *= 0.5
        if after >= energy * (1 - 1e-6):
            break
        x, energy = x + step * move, after
    return np.asarray(x.reshape(2, n).T)


def _jacobian(d: list[sp.csr_matrix], x: F64, n: int) -> F64:
    return np.stack([np.stack([d[k] @ x[c * n : (c + 1) * n] for k in range(2)], 1) for c in range(2)], 1)


def _energy(jacobian: F64, area: F64) -> float:
    """Symmetric Dirichlet energy, infinite where a triangle is flipped."""
    det = np.linalg.det(jacobian)
    if det.min() <= 0:
        return float("inf")
    return float((area * (jacobian**2).sum((1, 2)) * (1 + det**-2)).sum())


def _first_collapse(j: F64, move: F64) -> float:
    """The least step at which a triangle's area vanishes, of det(j + t·move) = 0."""
    a = np.linalg.det(move)
    c = np.linalg.det(j)
    swapped = np.stack(
        [np.stack([move[:, 1, 1], -move[:, 1, 0]], 1), np.stack([-move[:, 0, 1], move[:, 0, 0]], 1)], 1
    )
    b = np.einsum("tij,tij->t", j, swapped)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(b * b - 4 * a * c)
        candidates = np.stack([2 * c / (-b - root), 2 * c / (-b + root)])  # stable where a is near 0
    candidates = candidates[np.isfinite(candidates) & (candidates > 0)]
    return float(candidates.min()) if len(candidates) else np.inf
