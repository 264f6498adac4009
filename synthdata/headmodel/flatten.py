"""Flattening by convex-combination maps: mean-value coordinates (Floater 2003), holes filled by fans.

With the border on a convex curve and positive weights such a map is one-to-one (Tutte 1963).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numpy.typing import NDArray
from scipy.spatial import cKDTree

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]


def split_quads(quads: I32) -> I32:
    """Triangles ``(2Q, 3)`` of quads along the 0–2 diagonal."""
    return np.asarray(np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32))


def fill_holes(vertices: F64, triangles: I32, loops: list[list[int]]) -> tuple[F64, I32]:
    """A fan to a new centre vertex for each hole (``loops`` run as the faces run along the border)."""
    v, t = [vertices], [triangles]
    for k, loop in enumerate(loops):
        centre = len(vertices) + k
        a = np.asarray(loop)
        t.append(np.stack([np.roll(a, -1), a, np.full(len(a), centre)], 1).astype(np.int32))
        v.append(vertices[a].mean(0, keepdims=True))
    return np.concatenate(v), np.concatenate(t)


def mean_value_weights(vertices: F64, triangles: I32) -> sp.csr_matrix:
    """Row i holds the (unnormalised, positive) mean-value weights of i's neighbours."""
    n = len(vertices)
    rows, cols, vals = [], [], []
    for k in range(3):
        i, j, m = triangles[:, k], triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        a, b = vertices[j] - vertices[i], vertices[m] - vertices[i]
        la, lb = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        cosine = np.clip((a * b).sum(1) / np.maximum(la * lb, 1e-18), -1, 1)
        half = np.tan(0.5 * np.arccos(cosine))
        rows += [i, i]
        cols += [j, m]
        vals += [half / np.maximum(la, 1e-9), half / np.maximum(lb, 1e-9)]
    return sp.csr_matrix((np.concatenate(vals), (np.concatenate(rows), np.concatenate(cols))), shape=(n, n))


def solve_pinned(weights: sp.csr_matrix, pinned: NDArray[np.intp], values: F64) -> F64:
    """Every free vertex at the weighted mean of its neighbours; ``pinned`` rows are given ``values``."""
    n = weights.shape[0]
    free = np.setdiff1d(np.arange(n), pinned)
    laplacian = sp.diags(np.asarray(weights.sum(1)).ravel()) - weights
    out = np.zeros((n, values.shape[1]))
    out[pinned] = values
    rhs = -(laplacian[free][:, pinned] @ values)
    out[free] = spla.splu(laplacian[free][:, free].tocsc()).solve(np.asarray(rhs))
    return out


def barycentric_lookup(plane: F64, triangles: I32, points: F64) -> tuple[NDArray[np.intp], F64, F64]:
    """The triangle of a flat mesh holding each 2D point; weights ``(N, 3)`` ≥ 0, and how far outside it lay.

    The last array is the most negative raw weight: below about −1e-6 the point missed the mesh.
    """
    corner = plane[triangles]
    tree = cKDTree(corner.mean(1))
    found = np.full(len(points), -1, np.intp)
    weight = np.zeros((len(points), 3))
    worst = np.full(len(points), -np.inf)
    for k in (16, 64, len(triangles)):
        todo = np.flatnonzero(worst < -1e-9)
        for chunk in np.array_split(todo, max(1, len(todo) * k // 4_000_000)):
            if len(chunk) == 0:
                continue
            if k == len(triangles):
                candidate = np.broadcast_to(np.arange(k), (len(chunk), k))
            else:
                _, candidate = tree.query(points[chunk], k=min(k, len(triangles)))
            w = _barycentric(corner[candidate], points[chunk][:, None])
            score = w.min(-1)
            pick = score.argmax(1)
            row = np.arange(len(chunk))
            found[chunk], weight[chunk], worst[chunk] = candidate[row, pick], w[row, pick], score[row, pick]
    weight = np.maximum(weight, 0)
    return found, weight / weight.sum(1, keepdims=True), worst


def _barycentric(corner: F64, point: F64) -> F64:
    a, b, c = corner[..., 0, :], corner[..., 1, :], corner[..., 2, :]
    e, f, g = b - a, c - a, point - a
    det = e[..., 0] * f[..., 1] - e[..., 1] * f[..., 0]
    det = np.where(np.abs(det) < 1e-300, 1e-300, det)
    v = (g[..., 0] * f[..., 1] - g[..., 1] * f[..., 0]) / det
    w = (e[..., 0] * g[..., 1] - e[..., 1] * g[..., 0]) / det
    return np.stack([1 - v - w, v, w], -1)


def signed_areas(plane: F64, triangles: I32) -> F64:
    """Signed areas of flat triangles, positive when anticlockwise."""
    a, b, c = plane[triangles[:, 0]], plane[triangles[:, 1]], plane[triangles[:, 2]]
    e, f = b - a, c - a
    return np.asarray(0.5 * (e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0]))


def half_disc(
    vertices: F64, mirror: I32, quads: I32, neck: list[int], holes: list[list[int]], rounded: list[list[int]]
) -> tuple[NDArray[np.complex128], I32]:
    """The x ≥ 0 half of a symmetric surface as a half disc: crown at 0, neck on |z| = 1, front at angle 0.

    Returns ``z`` (one value per vertex and hole centre; only the x ≥ 0 side is meant to be used; NaN for
    vertices without a face) and the
    half's triangles ``(T, 3)``. The whole surface is flattened, with mirrored triangles, so that the
    mid-sagittal line falls on the real axis exactly. ``holes`` and ``rounded`` loops are filled; the latter
    become circles, so that rings laid round them cannot cross them. Angle grows to the subject's left (+x).
    """
    half = split_quads(quads[vertices[quads, 0].mean(1) > 0])
    both = np.concatenate([half, mirror[half][:, ::-1]])
    v, t = fill_holes(vertices, both, holes + rounded)
    loop = _from_front(vertices, neck)
    p = vertices[loop]
    step = np.linalg.norm(np.roll(p, -1, 0) - p, axis=1)
    angle = 2 * np.pi * np.r_[0.0, np.cumsum(step)[:-1]] / step.sum()
    if p[1, 0] < 0:
        angle = -angle
    used, compact = np.unique(t, return_inverse=True)
    weights = mean_value_weights(v[used], compact.reshape(-1, 3))
    pinned, place = np.searchsorted(used, loop), np.stack([np.cos(angle), np.sin(angle)], 1)
    flat = solve_pinned(weights, pinned, place)
    rows = [np.searchsorted(used, r) for r in rounded]
    circles = [
        _circle(flat[row], np.linalg.norm(v[np.roll(r, -1)] - v[r], axis=1))
        for row, r in zip(rows, rounded, strict=True)
    ]
    flat = solve_pinned(weights, np.concatenate([pinned, *rows]), np.concatenate([place, *circles]))
    z = np.full(len(v), np.nan + 0j)
    z[used] = flat[:, 0] + 1j * flat[:, 1]
    middle = used[(used < len(vertices)) & (np.abs(v[used, 0]) < 1e-7)]
    z[middle] = z[middle].real
    crown = z[middle[vertices[middle, 1].argmax()]].real
    z[used] = (z[used] - crown) / (
        1 - crown * z[used]
    )  # the Möbius map of the disc that takes the crown to its centre
    keep = [h for h in t[len(both) :] if v[h, 0].mean() > 0]
    return z, np.concatenate([half, np.asarray(keep, np.int32).reshape(-1, 3)])


def _circle(loop: F64, length: F64) -> F64:
    """The circle that a flat closed loop ``(N, 2)`` resembles: same middle, mean radius and turn.

    ``length`` ``(N,)``, of the edge from each vertex to the next, sets the steps along it.
    """
    z = loop[:, 0] + 1j * loop[:, 1]
    arm = z - z.mean()
    step = np.exp(2j * np.pi * np.r_[0.0, np.cumsum(length)[:-1]] / length.sum())
    if (arm * np.roll(arm, 1).conj()).imag.sum() < 0:
        step = step.conj()
    turn = (arm * step.conj()).sum()
    out = z.mean() + np.abs(arm).mean() * step * turn / np.abs(turn)
    return np.stack([out.real, out.imag], 1)


def _from_front(vertices: F64, loop: list[int]) -> list[int]:
    p = vertices[loop]
    first = int(np.argmax(p[:, 2] - 1e3 * np.abs(p[:, 0])))
    return loop[first:] + loop[:first]
