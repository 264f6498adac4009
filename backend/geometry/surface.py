"""Points of a head model under perspective, with their derivatives.

Basis rows are gathered once at the points that a solve needs; the full basis is never touched again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.geometry.state import LOG_FOCAL, SHAPE, FitState, cross_matrix
from backend.head.base import ParametricHead
from blender_addon.correctives import Correctives


@dataclass(frozen=True)
class LinearPoints:
    """N surface points as functions of identity and expression, linear but for correctives."""

    mean: F64  # (N, 3) metres
    basis: F64  # (N, 3, K_id + K_exp) metres per unit coefficient
    correctives: Correctives = field(default_factory=Correctives.none)
    corrected: F64 | None = None  # (N, 3, C) metres by which each corrective moves the points

    def positions(self, state: FitState) -> F64:
        """``(N, 3)`` head space, metres."""
        linear = self.mean + self.basis @ np.concatenate([state.identity, state.expression])
        if self.corrected is None:
            return np.asarray(linear)
        return np.asarray(linear + self.corrected @ self.correctives.weights(state.expression))

    def slopes(self, state: FitState) -> F64:
        """Derivatives ``(N, 3, K_id + K_exp)`` of ``positions`` at ``state``."""
        if self.corrected is None:
            return self.basis
        out = self.basis.copy()
        out[:, :, len(state.identity) :] += self.corrected @ self.correctives.slopes(state.expression)
        return out

    def take(self, rows: NDArray[np.intp]) -> LinearPoints:
        corrected = None if self.corrected is None else self.corrected[rows]
        return LinearPoints(self.mean[rows], self.basis[rows], self.correctives, corrected)


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
    whole = np.concatenate(parts, axis=2)
    corrected = _corrected(head, corners, w)
    if not corrected.any():  # far from where expressions meet
        return LinearPoints(mean, whole)
    return LinearPoints(mean, whole, head.correctives, corrected)


def between(corners: Sequence[LinearPoints], weights: F64) -> LinearPoints:
    """The points at ``weights`` ``(N, K)`` of K sets of N points of one head."""
    mean = sum(weights[:, k, None] * c.mean for k, c in enumerate(corners))
    basis = sum(weights[:, k, None, None] * c.basis for k, c in enumerate(corners))
    known = [(k, c.corrected) for k, c in enumerate(corners) if c.corrected is not None]
    if not known:
        return LinearPoints(np.asarray(mean), np.asarray(basis))
    corrected = sum(weights[:, k, None, None] * moved for k, moved in known)
    correctives = corners[known[0][0]].correctives
    return LinearPoints(np.asarray(mean), np.asarray(basis), correctives, np.asarray(corrected))


def _corrected(head: ParametricHead, corners: NDArray[np.integer[Any]], weights: F64) -> F64:
    """``(N, 3, C)`` metres by which the head's correctives move points at ``weights`` of ``corners``."""
    out = np.zeros((len(corners), 3, len(head.correctives)))
    dense = np.zeros((len(head.mean_vertices), 3))
    for c in range(len(head.correctives)):
        rows, offset = head.correctives.offsets.rows(c)
        dense[rows] = offset
        out[:, :, c] = np.einsum("nk,nkc->nc", weights, dense[corners])
        dense[rows] = 0.0
    return out


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
    basis = points.slopes(state)
    n, _, k = basis.shape
    motion[:, :, SHAPE:] = (
        (state.rotation @ basis.transpose(1, 0, 2).reshape(3, -1)).reshape(3, n, k).transpose(1, 0, 2)
    )
    jacobian = by_point @ motion
    jacobian[:, :, LOG_FOCAL] = offset
    return Projected(offset + np.asarray(principal_px), z, jacobian, motion[:, 2, :])


def project_only(points: LinearPoints, state: FitState, principal_px: tuple[float, float]) -> F64:
    """``(N, 2)`` pixels."""
    p = (points.positions(state) - state.pivot) @ state.rotation.T + state.translation
    return np.asarray(state.focal_px * p[:, :2] / p[:, 2:3] + np.asarray(principal_px))
