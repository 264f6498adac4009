"""Alignment of shapes: similarity and rigid transforms from matched points, and from points to a surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.closest import Surface

F64 = NDArray[np.float64]
Points = NDArray[np.floating[Any]]

# Mean squares are compared in the units of the truth (m²): 1e-12 m² is a thousandth of a millimetre, squared.
_SETTLED_M2 = 1e-12


@dataclass(frozen=True)
class Similarity:
    """``x`` ↦ ``scale · rotation · x + translation``."""

    scale: float
    rotation: F64  # (3, 3), proper
    translation: F64  # (3,)

    def apply(self, points: Points) -> F64:
        """``(..., 3)`` points mapped."""
        return np.asarray(self.scale * (np.asarray(points, np.float64) @ self.rotation.T) + self.translation)

    def inverse(self) -> Similarity:
        """The transform that undoes this one."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def after(self, first: Similarity) -> Similarity:
        """``first``, then this one."""
        return Similarity(
            self.scale * first.scale, self.rotation @ first.rotation, self.apply(first.translation)
        )


def fit_similarity(
    source: Points, target: Points, weights: Points | None = None, *, with_scale: bool = True
) -> Similarity:
    """The similarity (rigid when not ``with_scale``) that maps ``source`` onto ``target`` best.

    Least squares in the target's space over ``(N ≥ 3, 3)`` matched points (Umeyama 1991); never a mirror
    image. Raises: ValueError when the points do not fix a transform (fewer than 3, or all in one place).
    """
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if a.shape != b.shape or len(a) < 3:
        raise ValueError("an alignment needs at least three matched points")
    w = np.ones(len(a)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    mean_a, mean_b = w @ a, w @ b
    da, db = a - mean_a, b - mean_b
    spread = float(w @ (da * da).sum(1))
    if spread <= 0:
        raise ValueError("an alignment needs points that do not all lie in one place")
    u, values, vt = np.linalg.svd((db * w[:, None]).T @ da)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    scale = float(values @ sign) / spread if with_scale else 1.0
    return Similarity(scale, rotation, mean_b - scale * rotation @ mean_a)


@dataclass(frozen=True)
class Anchors:
    """Matched points that take part in an ICP beside the closest ones."""

    source: F64  # (K, 3) in the moving surface's own space
    target: F64  # (K, 3) in the space of the points
    weight: float  # of each, where each of the points has weight 1


def rigid_icp(
    points: Points, surface: Surface, start: Similarity, *, anchors: Anchors | None = None, rounds: int = 100
) -> Similarity:
    """Move ``surface`` rigidly, from ``start``, until its closest points meet ``points`` ``(N, 3)``.

    Point-to-point ICP; the scale of ``start`` is kept. ``start`` and the result map the surface's space to
    that of the points. Ends when the mean square settles, or after ``rounds``.
    """
    fixed = np.asarray(points, np.float64)
    weights = np.ones(len(fixed))
    if anchors is not None:
        fixed = np.concatenate([fixed, anchors.target])
        weights = np.concatenate([weights, np.full(len(anchors.target), anchors.weight)])
    now, before = start, np.inf
    for _ in range(rounds):
        moved = now.apply(surface.closest(now.inverse().apply(points)).point)
        if anchors is not None:
            moved = np.concatenate([moved, now.apply(anchors.source)])
        step = fit_similarity(moved, fixed, weights, with_scale=False)
        error = float(np.average(((step.apply(moved) - fixed) ** 2).sum(1), weights=weights))
        now = step.after(now)
        if abs(before - error) < _SETTLED_M2:
            break
        before = error
    return now


def refine_to_surface(points: Points, surface: Surface, start: Similarity, *, rounds: int = 60) -> Similarity:
    """Move ``surface`` rigidly, from ``start``, to the least mean squared distance from ``points`` to it.

    Gauss-Newton on the distance to the tangent plane at the closest point, which slides where
    point-to-point ICP crawls; a step that does not lower the squared distance itself is replaced by a
    point-to-point step. The scale of ``start`` is kept.
    """
    fixed = np.asarray(points, np.float64)
    now, (moved, normal, error) = start, _distance(fixed, surface, start)
    for _ in range(rounds):
        for step in (_plane_step(fixed, moved, normal), fit_similarity(moved, fixed, with_scale=False)):
            then = step.after(now)
            there = _distance(fixed, surface, then)
            if there[2] < error:
                break
        else:
            return now
        settled = error - there[2] < 1e-6 * error
        now, (moved, normal, error) = then, there
        if settled:
            break
    return now


def _distance(points: F64, surface: Surface, transform: Similarity) -> tuple[F64, F64, float]:
    """Closest points, their normals, both in the points' space, and the mean squared distance."""
    hits = surface.closest(transform.inverse().apply(points))
    moved = transform.apply(hits.point)
    normal = surface.normals[hits.triangle] @ transform.rotation.T
    return moved, normal, float(((moved - points) ** 2).sum(1).mean())


def _plane_step(fixed: F64, moved: F64, normal: F64) -> Similarity:
    centre = moved.mean(0)
    size = max(float(np.abs(moved - centre).max()), 1e-12)
    rows = np.concatenate([np.cross((moved - centre) / size, normal), normal], axis=1)
    gap = np.einsum("nc,nc->n", normal, fixed - moved)
    # A flat or round patch leaves sliding open: the least step is taken there.
    solution = np.linalg.lstsq(rows, gap, rcond=1e-6)[0]
    rotation = _rotation(solution[:3] / size)
    return Similarity(1.0, rotation, centre - rotation @ centre + solution[3:])


def _rotation(vector: F64) -> F64:
    """The rotation about ``vector`` ``(3,)`` by its length in radians."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_rotvec(vector).as_matrix(), np.float64)
