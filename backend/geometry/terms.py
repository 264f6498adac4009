"""The cost terms of the landmark fit. Each is half a (robust) sum of squares with its Gauss–Newton model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.geometry.expression_prior import ExpressionPrior
from backend.geometry.state import LOG_FOCAL, SHAPE, FitState
from backend.geometry.surface import LinearPoints, project, project_only

IRIS_DIAMETER_M = 0.0117  # horizontal visible iris, nearly the same in every adult
Loss = Literal["square", "huber", "geman_mcclure"]


@dataclass(frozen=True)
class Quadratic:
    """A local model ``cost + gᵀd + ½dᵀHd`` in the order of ``FitState.moved``."""

    cost: float
    gradient: F64  # (P,)
    hessian: F64  # (P, P)


class Term(Protocol):
    def cost(self, state: FitState) -> float: ...

    def model(self, state: FitState) -> Quadratic: ...


def robust(squared: F64, loss: Loss, width: float) -> tuple[F64, F64]:
    """ρ and IRLS weights ρ′ ``(N,)`` of squared whitened residuals ``(N,)``; ``width`` in sigmas."""
    if loss == "square":
        return squared, np.ones_like(squared)
    if loss == "huber":
        r = np.sqrt(np.maximum(squared, 1e-300))
        inside = r <= width
        return np.where(inside, squared, 2 * width * r - width**2), np.where(inside, 1.0, width / r)
    q = 1.0 + squared / width**2
    return squared / q, 1.0 / q**2


@dataclass(frozen=True)
class LandmarkTerm:
    """Reprojection of N points: residuals are whitened by a 2×2 matrix each, then robustly summed."""

    points: LinearPoints
    observed_px: F64  # (N, 2)
    whitening: F64  # (N, 2, 2) inverse pixels; rows of 0 leave a direction out
    principal_px: tuple[float, float]
    loss: Loss
    width: float

    def cost(self, state: FitState) -> float:
        r = project_only(self.points, state, self.principal_px) - self.observed_px
        white = np.einsum("nij,nj->ni", self.whitening, r)
        return 0.5 * float(robust((white**2).sum(1), self.loss, self.width)[0].sum())

    def model(self, state: FitState) -> Quadratic:
        seen = project(self.points, state, self.principal_px)
        white = np.einsum("nij,nj->ni", self.whitening, seen.pixels - self.observed_px)
        rho, weight = robust((white**2).sum(1), self.loss, self.width)
        root = np.sqrt(weight)[:, None]
        j = (self.whitening @ seen.jacobian * root[:, :, None]).reshape(-1, state.size)
        r = (white * root).reshape(-1)
        return Quadratic(0.5 * float(rho.sum()), j.T @ r, j.T @ j)


@dataclass(frozen=True)
class IrisTerm:
    """Absolute scale: the iris is 11.7 mm wide, so its size in the photo gives the eye's distance.

    The residual per eye is ``log(f · 0.0117 / z) − log(observed diameter)``, over ``sigma``.
    """

    points: LinearPoints  # the eyes' surface points, (E, …)
    observed_px: F64  # (E,) iris diameters
    sigma: float
    principal_px: tuple[float, float]

    def _residual(self, depth: F64, state: FitState) -> F64:
        expected = state.log_focal + np.log(IRIS_DIAMETER_M / depth)
        return np.asarray((expected - np.log(self.observed_px)) / self.sigma)

    def cost(self, state: FitState) -> float:
        p = (self.points.positions(state) - state.pivot) @ state.rotation.T + state.translation
        return 0.5 * float((self._residual(p[:, 2], state) ** 2).sum())

    def model(self, state: FitState) -> Quadratic:
        seen = project(self.points, state, self.principal_px)
        r = self._residual(seen.depth, state)
        j = -seen.depth_jacobian / seen.depth[:, None]
        j[:, LOG_FOCAL] += 1.0
        j = j / self.sigma
        return Quadratic(0.5 * float(r @ r), j.T @ r, j.T @ j)


@dataclass(frozen=True)
class PriorTerm:
    """Gaussian priors on log focal and identity; a linear-quadratic price on expression weights ≥ 0.

    On weights that are never negative the L1 norm is linear, so sparsity costs no smoothness.
    """

    log_focal: float
    log_focal_sigma: float
    identity_sigma: float
    expression: ExpressionPrior

    def cost(self, state: FitState) -> float:
        f = (state.log_focal - self.log_focal) / self.log_focal_sigma
        a = state.identity / self.identity_sigma
        e = state.expression
        return float(0.5 * (f * f + a @ a + e @ self.expression.stiffness @ e) + self.expression.linear @ e)

    def model(self, state: FitState) -> Quadratic:
        k = SHAPE + len(state.identity)
        gradient = np.zeros(state.size)
        stiffness = np.zeros((state.size, state.size))
        stiffness[LOG_FOCAL, LOG_FOCAL] = self.log_focal_sigma**-2
        stiffness[range(SHAPE, k), range(SHAPE, k)] = self.identity_sigma**-2
        stiffness[k:, k:] = self.expression.stiffness
        gradient[LOG_FOCAL] = self.log_focal_sigma**-2 * (state.log_focal - self.log_focal)
        gradient[SHAPE:k] = self.identity_sigma**-2 * state.identity
        gradient[k:] = self.expression.stiffness @ state.expression + self.expression.linear
        return Quadratic(self.cost(state), gradient, stiffness)


def whitening(
    sigma_px: F64,
    normal_weight: F64 | None = None,
    tangent_weight: F64 | None = None,
    tangents: F64 | None = None,
) -> F64:
    """``(N, 2, 2)`` whitening for ``sigma_px`` ``(N,)`` (∞ leaves a point out).

    With ``tangents`` ``(N, 2)`` unit vectors, the residual along them is weighted by ``tangent_weight``
    ``(N,)`` and the one across by ``normal_weight`` ``(N,)``.
    """
    scale = 1.0 / np.asarray(sigma_px, np.float64)
    if tangents is None or normal_weight is None or tangent_weight is None:
        return np.asarray(scale[:, None, None] * np.eye(2))
    along = np.sqrt(tangent_weight)[:, None] * tangents
    across = np.sqrt(normal_weight)[:, None] * np.stack([-tangents[:, 1], tangents[:, 0]], axis=1)
    return np.asarray(scale[:, None, None] * np.stack([along, across], axis=1))


def rows_used(w: F64) -> NDArray[np.intp]:
    """Indices of points whose whitening ``(N, 2, 2)`` is not all zero."""
    return np.flatnonzero(np.abs(w).sum(axis=(1, 2)) > 0)
