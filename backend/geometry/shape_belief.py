"""What the picture itself says of a face's neutral shape, as a Gaussian on smooth fields of the mesh.

A regression (``face_sight.py``) speaks of fields on the open head's mesh, so what it says holds for every
identity basis of that head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.geometry.state import SHAPE, FitState
from backend.geometry.terms import Quadratic
from backend.head.base import ParametricHead


@dataclass(frozen=True)
class ShapeFields:
    """Fields that faces differ by, apart from place, turn and size."""

    rows: NDArray[np.intp]  # (F,) vertices of the open head
    mean_m: F64  # (F, 3) the population's mean face, head space
    fields_m: F64  # (K, F, 3) metres per standard deviation; orthogonal to each other and to similarities

    def of_faces(self, faces_m: NDArray[np.floating[Any]]) -> F64:
        """Coefficients ``(N, K)`` of faces ``(N, F, 3)``, head space."""
        flat = self.fields_m.reshape(len(self.fields_m), -1)
        inverse = flat / (flat**2).sum(1, keepdims=True)
        return np.asarray((faces_m - self.mean_m).reshape(len(faces_m), -1) @ inverse.T)

    def of_identity(self, head: ParametricHead) -> tuple[F64, F64]:
        """``A`` ``(K, K_id)`` and ``b`` ``(K,)``: coefficients are ``A · identity + b``."""
        flat = self.fields_m.reshape(len(self.fields_m), -1)
        inverse = flat / (flat**2).sum(1, keepdims=True)
        basis = head.identity_basis[:, self.rows].reshape(len(head.identity_basis), -1)
        gap = head.mean_vertices[self.rows].astype(np.float64) - self.mean_m
        return inverse @ basis.T.astype(np.float64), inverse @ gap.ravel()


@dataclass(frozen=True)
class ShapeBelief:
    """Coefficients of ``fields``: believed ``mean`` ``(K,)``, with errors of ``covariance`` ``(K, K)``."""

    fields: ShapeFields
    mean: F64
    covariance: F64

    def term(self, head: ParametricHead, weight: float, population: float = 0.0) -> ShapeTerm:
        """The belief as a cost of the identity; its evidence counts ``weight`` times.

        A belief tells of the picture and of the population both. The fit has its own prior, so the
        population's share, N(0, 1), is taken out: what the picture did not tell weighs nothing. It comes
        back ``population`` times: a prior on the face's form that leaves its size alone.
        """
        precision = np.linalg.inv(self.covariance)
        value, axes = np.linalg.eigh(precision - np.eye(len(self.mean)))
        told = (axes * np.maximum(value, 0)) @ axes.T
        pull = axes @ (np.where(value > 0, 1.0, 0.0) * (axes.T @ (precision @ self.mean)))
        a, b = self.fields.of_identity(head)
        told = weight * told + population * np.eye(len(told))
        pull = weight * pull
        hessian = a.T @ told @ a
        return ShapeTerm(
            hessian=0.5 * (hessian + hessian.T),
            slope=a.T @ (told @ b - pull),
            constant=float(0.5 * b @ told @ b - b @ pull),
        )


@dataclass(frozen=True)
class ShapeTerm:
    """A quadratic cost of the identity α: ``½ αᵀHα + gᵀα + c``."""

    hessian: F64  # (K_id, K_id)
    slope: F64  # (K_id,) at α = 0
    constant: float

    def cost(self, state: FitState) -> float:
        a = state.identity
        return float(0.5 * a @ self.hessian @ a + self.slope @ a) + self.constant

    def model(self, state: FitState) -> Quadratic:
        k = SHAPE + len(state.identity)
        gradient, hessian = np.zeros(state.size), np.zeros((state.size, state.size))
        gradient[SHAPE:k] = self.hessian @ state.identity + self.slope
        hessian[SHAPE:k, SHAPE:k] = self.hessian
        return Quadratic(self.cost(state), gradient, hessian)


def similarity_fields(points: F64) -> F64:
    """Orthonormal fields ``(3F, 7)`` by which ``points`` ``(F, 3)`` shift, turn and grow."""
    centred = points - points.mean(0)
    turns = [np.cross(np.eye(3)[axis], centred) for axis in range(3)]
    shifts = [np.broadcast_to(np.eye(3)[axis], points.shape) for axis in range(3)]
    stack = np.stack([*shifts, *turns, centred]).reshape(7, -1)
    return np.asarray(np.linalg.qr(stack.T)[0])
