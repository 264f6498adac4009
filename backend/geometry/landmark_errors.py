"""How Face Mesh errs: where it sees the open head's points, on average and together with what else.

Measured on rendered heads whose points are known (``synthdata/landmark_errors.py``). Neighbouring points
err together, and the network bends every face a little towards its own average one, so errors are mostly
a few smooth fields: treated as independent, 478 points would outvote everything else that the photo shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.errors import Missing
from backend.geometry.state import FitState
from backend.geometry.surface import LinearPoints, project, project_only
from backend.geometry.terms import Loss, Quadratic, robust
from backend.head.base import ParametricHead

FILE = Path(__file__).resolve().parents[1] / "weights" / "embedded" / "face_mesh_errors.safetensors"
FRONTAL_TO_TURNED = (0.2, 0.5)  # |yaw| in radians between which one set of error fields fades to the other
MOST_YAW, MOST_PITCH = 0.95, 0.45  # radians: what was measured
NEARNESS = (0.4, 3.2)  # 1 / metres: what was measured
WEIGHT = 0.25  # photographs differ from renders: their errors are taken as twice as wide
LEAST_SIGMA = 0.0015  # of a point by itself, over the image scale
WIDTH = 4.0  # Geman–McClure's, in sigmas of a point by itself
ROUNDS = 6  # of reweighting, per evaluation


@dataclass(frozen=True)
class ErrorsInView:
    """Errors over the image scale for one view; x to the right and y down of the level face."""

    offset: F64  # (478, 2) mean
    fields: F64  # (K, 478, 2) each with an amplitude ~ N(0, 1)
    sigma: F64  # (478,) of a point by itself


@dataclass(frozen=True)
class PixelErrors:
    """Errors on one photo, in its pixels."""

    offset_px: F64  # (478, 2) mean
    fields_px: F64  # (K, 478, 2) each with an amplitude ~ N(0, 1)
    sigma_px: F64  # (478,) of a point by itself

    def in_photo(self, around: FitState, scale_px: float) -> PixelErrors:
        """These: they were told from the photo itself."""
        return self


@dataclass(frozen=True)
class LandmarkErrors:
    """Face Mesh's errors by view."""

    offset: F64  # (9, 478, 2) coefficients of ``_view``
    fields: F64  # (2, K, 478, 2) frontal; turned to the subject's left
    sigma: F64  # (2, 478)
    mirror: NDArray[np.intp]  # (478,) each point's mirror image

    def at(self, yaw: float, pitch: float, distance_m: float) -> ErrorsInView:
        """Errors of a face turned by ``yaw`` and ``pitch`` (radians) at ``distance_m``."""
        yaw, pitch = float(np.clip(yaw, -MOST_YAW, MOST_YAW)), float(np.clip(pitch, -MOST_PITCH, MOST_PITCH))
        near = float(np.clip(1 / max(distance_m, 1e-3), *NEARNESS))
        low, high = FRONTAL_TO_TURNED
        t = float(np.clip((abs(yaw) - low) / (high - low), 0, 1))
        turned, sigma = self.fields[1], self.sigma[1]
        if yaw < 0:
            turned, sigma = turned[:, self.mirror] * [-1.0, 1.0], sigma[self.mirror]
        return ErrorsInView(
            offset=np.tensordot(view_terms(yaw, pitch, near), self.offset, 1),
            fields=np.concatenate([np.sqrt(1 - t) * self.fields[0], np.sqrt(t) * turned]),
            sigma=np.sqrt((1 - t) * self.sigma[0] ** 2 + t * sigma**2),
        )

    def in_photo(self, around: FitState, scale_px: float) -> PixelErrors:
        """Those of the view ``around``; ``scale_px`` is the image scale in which they were measured."""
        forward, right = around.rotation[:, 2], around.rotation[:, 0]
        yaw, pitch = np.arctan2(forward[0], -forward[2]), np.arcsin(np.clip(forward[1], -1, 1))
        view = self.at(float(yaw), float(pitch), float(around.translation[2]))
        roll = np.arctan2(right[1], right[0])
        turn = scale_px * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        return PixelErrors(view.offset @ turn, view.fields @ turn, scale_px * view.sigma)


def view_terms(yaw: float, pitch: float, near: float) -> F64:
    """What mean errors are linear in ``(9,)``; radians and 1 / metres."""
    far = near - 1.0
    return np.array([1, yaw, yaw**2, yaw**3, pitch, pitch**2, yaw * pitch, far, far * yaw], np.float64)


@cache
def errors_of_open_head() -> LandmarkErrors:
    """The errors measured on the open head. Raises: Missing."""
    from safetensors.numpy import load_file

    if not FILE.is_file():
        raise Missing(f"'{FILE.name}' is missing from backend/weights/embedded; reinstall Likeness")
    stored = load_file(FILE)
    return LandmarkErrors(
        offset=stored["offset"].astype(np.float64),
        fields=stored["fields"].astype(np.float64),
        sigma=stored["sigma"].astype(np.float64),
        mirror=stored["mirror"].astype(np.intp),
    )


def errors_of(head: ParametricHead) -> LandmarkErrors | None:
    """The errors measured on ``head``'s points; None where nobody has. Raises: Missing."""
    return errors_of_open_head() if head.name == "open" else None


@dataclass(frozen=True)
class CorrelatedTerm:
    """Reprojection of N points whose errors share K smooth fields.

    ``½ w min_c (Σ ρ(|r − U c|² / σ²) + |c|²)`` with residuals ``r`` in pixels: the fields' amplitudes ``c``
    are eliminated, so that the term has the fit's unknowns alone.
    """

    points: LinearPoints
    target_px: F64  # (N, 2) observed, less the mean error
    sigma_px: F64  # (N,)
    fields_px: F64  # (2N, K)
    principal_px: tuple[float, float]
    loss: Loss

    def cost(self, state: FitState) -> float:
        return self._explained(project_only(self.points, state, self.principal_px))[0]

    def model(self, state: FitState) -> Quadratic:
        seen = project(self.points, state, self.principal_px)
        cost, left, weight, inner = self._explained(seen.pixels)
        precision = np.repeat(weight / self.sigma_px**2, 2)
        j = seen.jacobian.reshape(len(precision), -1)
        weighted = precision[:, None] * j
        shared = self.fields_px.T @ weighted
        hessian = j.T @ weighted - shared.T @ np.linalg.solve(inner, shared)
        return Quadratic(cost, WEIGHT * (weighted.T @ left), WEIGHT * 0.5 * (hessian + hessian.T))

    def _explained(self, pixels: F64) -> tuple[float, F64, F64, F64]:
        """Cost, residuals ``(2N,)`` less what the fields explain, robust weights, fields' own Hessian."""
        r = (pixels - self.target_px).reshape(-1)
        u = self.fields_px
        weight = np.ones(len(self.sigma_px))
        for _ in range(ROUNDS):
            scaled = u.T * np.repeat(weight / self.sigma_px**2, 2)
            inner = np.eye(u.shape[1]) + scaled @ u
            amplitude = np.linalg.solve(inner, scaled @ r)
            left = r - u @ amplitude
            used = weight
            squared = (left.reshape(-1, 2) ** 2).sum(1) / self.sigma_px**2
            rho, weight = robust(squared, self.loss, WIDTH)
        return WEIGHT * 0.5 * float(rho.sum() + amplitude @ amplitude), left, used, inner


def correlated_term(
    errors: PixelErrors,
    points: LinearPoints,
    index: NDArray[np.intp],
    observed_px: F64,
    visible: F64,
    scale_px: float,
    principal_px: tuple[float, float],
    loss: Loss,
) -> CorrelatedTerm:
    """The term for Face Mesh points ``index`` ``(N,)`` seen at ``observed_px`` by ``visible`` ``(N,)`` > 0.

    ``scale_px`` is the image scale, which sets the least error of a point by itself.
    """
    sigma = np.sqrt(errors.sigma_px[index] ** 2 + (scale_px * LEAST_SIGMA) ** 2) / np.sqrt(visible)
    return CorrelatedTerm(
        points=points,
        target_px=observed_px - errors.offset_px[index],
        sigma_px=sigma,
        fields_px=np.moveaxis(errors.fields_px[:, index], 0, -1).reshape(2 * len(index), -1),
        principal_px=principal_px,
        loss=loss,
    )
