"""The cotangent Laplacian of a triangle mesh (Pinkall & Polthier 1993): smoothness, whatever the meshing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from backend.artifacts import F64


def cotangent_operators(
    vertices: NDArray[np.floating[Any]],
    triangles: NDArray[np.integer[Any]],
    cotangents: tuple[float, float] = (-20.0, 20.0),
) -> tuple[F64, sparse.csr_matrix]:
    """Vertex areas ``(V,)`` in m², a third of each triangle's, and the cotangent stiffness ``(V, V)``.

    ``x @ stiffness @ x`` is the integral of the squared gradient of ``x`` ``(V,)`` over the surface.
    Cotangents are held within ``cotangents``: slivers would outweigh all else, and a least one above 0
    keeps the weights positive on obtuse triangles. A vertex without a triangle has area 0 and an empty row.
    """
    points = np.asarray(vertices, np.float64)
    count = len(points)
    rows, columns, values = [], [], []
    area = np.zeros(count)
    for corner in range(3):
        o, i, j = (triangles[:, (corner + s) % 3] for s in range(3))
        e, f = points[i] - points[o], points[j] - points[o]
        double = np.linalg.norm(np.cross(e, f), axis=1)
        area += np.bincount(o, double / 6, count)
        half = np.clip(np.einsum("tc,tc->t", e, f) / np.maximum(double, 1e-18), *cotangents) / 2
        rows += [i, j, i, j]
        columns += [j, i, i, j]
        values += [-half, -half, half, half]
    stiffness = sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(count, count)
    )
    return area, stiffness
