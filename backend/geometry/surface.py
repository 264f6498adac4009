"""Points of a linear head model under perspective, with their derivatives.

Basis rows are gathered once at the points that a solve needs; the full basis is never touched again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.geometry.state import LOG_FOCAL, SHAPE, FitState, cross_matrix
from backend.head.base import ParametricHead


@dataclass(frozen=True)
class LinearPoints:
    """N surface points as linear functions of identity and expression."""

    mean: F64  # (N, 3) metres
    basis: F64  # (N, 3, K_id + K_exp) metres per unit coefficient

    def positions(self, state: FitState) -> F64:
        """``(N, 3)`` head space, metres."""
        return np.asarray(self.mean + self.basis @ np.concatenate([state.identity, state.expression]))

    def take(self, rows: NDArray[np.intp]) -> LinearPoints:
        return LinearPoints(self.mean[rows], self.basis[rows])


def gather(
    head: ParametricHead, triangle: NDArray[np.integer[Any]], barycentric: NDArray[np.floating[Any]]
) -> LinearPoints:
    """The points of ``triangle`` ``(N,)`` (all ≥ 0) at ``barycentric`` ``(N, 3)`` weights."""
    corners = head.triangles[triangle]  # (N, 3)
    w = np.asarray(barycentric, np.float64)
    mean = np.einsum("nk,nkc->nc", w, head.mean_vertices[corners].astype(np.float64))
    parts = []
    for basis in (head.identity_basis, head.expression_basis):
        rows = np.zeros((len(triangle), 3, len(basis)))
        for k in range(3):
            rows += w[:, k, None, None] * np.moveaxis(basis[:, corners[:, k]], 0, -1)
        parts.append(rows)
    return LinearPoints(mean, np.concatenate(parts, axis=2))


@dataclass(frozen=True)
class Projected:
    """Projections and their derivatives."""

    pixels: F64  # (N, 2)
    depth: F64  # (N,) metres
    jacobian: F64  # (N, 2, P) pixels per unit of each unknown
    depth_jacobian: F64  # (N, P) metres per unit of each unknown


def project(points: LinearPoints, state: FitState, principal_px: tuple[float, float]) -> Projected:
    """Project ``points`` and differentiate by every unknown of ``state`` (order of ``state.moved``)."""
    turned = (points.positions(state) - state.pivot) @ state.rotation.T  # (N, 3)
    p = turned + state.translation
    z = p[:, 2]
    focal = state.focal_px
    offset = focal * p[:, :2] / z[:, None]
    by_point = np.zeros((len(p), 2, 3))
    by_point[:, 0, 0] = by_point[:, 1, 1] = focal / z
    by_point[:, :, 2] = -offset / z[:, None]
    motion = np.zeros((len(p), 3, state.size))  # camera-space metres per unit
    motion[:, :, 0:3] = -cross_matrix(turned)
    motion[:, :, 3:6] = np.eye(3)
    n, _, k = points.basis.shape
    motion[:, :, SHAPE:] = (
        (state.rotation @ points.basis.transpose(1, 0, 2).reshape(3, -1)).reshape(3, n, k).transpose(1, 0, 2)
    )
    jacobian = by_point @ motion
    jacobian[:, :, LOG_FOCAL] = offset
    return Projected(offset + np.asarray(principal_px), z, jacobian, motion[:, 2, :])


def project_only(points: LinearPoints, state: FitState, principal_px: tuple[float, float]) -> F64:
    """``(N, 2)`` pixels."""
    p = (points.positions(state) - state.pivot) @ state.rotation.T + state.translation
    return np.asarray(state.focal_px * p[:, :2] / p[:, 2:3] + np.asarray(principal_px))
