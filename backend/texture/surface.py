"""Smooth fields on the skin's surface, solved on its vertices: no chart seam can show in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from backend.artifacts import F32, F64
from backend.head.base import ParametricHead
from backend.uvspace.cotangent import cotangent_operators

_WELD_M = 2e-5  # vertices nearer than this are one (heads split them along charts and parts)


@dataclass(frozen=True)
class SkinSurface:
    """The skin of a head as a graph: welded vertices, cotangent stiffness, lumped area."""

    node: NDArray[np.int64]  # (V,) node of each vertex, −1 where no skin triangle uses it
    stiffness: Any  # scipy csr (N, N), dimensionless, symmetric, rows sum to 0
    area: F64  # (N,) m²

    @property
    def count(self) -> int:
        return int(self.area.shape[0])

    def gather(self, values: F32, weight: F32) -> tuple[F64, F64]:
        """Vertex ``values`` ``(V, C)`` with ``weight`` ``(V,)`` averaged into nodes ``(N, C)``, ``(N,)``."""
        used = self.node >= 0
        index = self.node[used]
        w = weight[used].astype(np.float64)
        mass = np.bincount(index, w, self.count)
        total = np.stack(
            [np.bincount(index, w * values[used, k], self.count) for k in range(values.shape[1])], -1
        )
        mean: F64 = total / np.maximum(mass, 1e-12)[:, None]
        return mean, mass.astype(np.float64)

    def scatter(self, values: F64) -> F32:
        """Node ``values`` ``(N, C)`` back to vertices ``(V, C)``; 0 off the skin."""
        out = np.where((self.node >= 0)[:, None], values[np.maximum(self.node, 0)], 0)
        return out.astype(np.float32)

    def smooth(self, target: F64, weight: F64, length_m: float) -> F64:
        """argmin ``Σ area·weight·(x − target)² + xᵀ(length²·stiffness)x``: ``target`` ``(N, C)`` low-passed.

        ``weight`` ``(N,)`` is dimensionless (1 trusted, 0 unknown); where it is 0 the field continues
        harmonically. ``length_m`` is the smoothing length in metres.
        """
        return self.smoother(weight, length_m)(target)

    def smoother(self, weight: F64, length_m: float) -> Callable[[F64], F64]:
        """``smooth`` with ``weight`` and ``length_m`` held, factored once for several targets."""
        data = self.area * np.maximum(weight, 1e-9)
        system = (sparse.diags(data) + length_m**2 * self.stiffness).tocsc()
        factor = linalg.splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})

        def low_pass(target: F64) -> F64:
            out: F64 = factor.solve(np.ascontiguousarray(data[:, None] * target))
            return out

        return low_pass


def skin_surface(head: ParametricHead, vertices: NDArray[np.floating[Any]]) -> SkinSurface:
    """The skin part (part 0) of ``head`` with ``vertices`` ``(V, 3)`` metres."""
    triangles = head.triangles[head.triangle_part == 0]
    points = np.asarray(vertices, np.float64)
    used = np.unique(triangles)
    # Welded on the mean head: lips and lids that touch in an expression must stay apart.
    key = np.round(head.mean_vertices[used].astype(np.float64) / _WELD_M).astype(np.int64)
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    node = np.full(len(points), -1, np.int64)
    node[used] = inverse.reshape(-1)
    # Negative cotangents (obtuse slivers) would break the maximum principle.
    area, stiffness = cotangent_operators(points[used][first], node[triangles], (2e-3, 20.0))
    return SkinSurface(node, stiffness, np.maximum(area, 1e-12))
