"""The unknowns of the fit and their packing: pose, focal length, identity, expression."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from backend.artifacts import F64, Camera

LOG_FOCAL = 6
SHAPE = 7  # first shape coefficient: identity, then expression


@dataclass(frozen=True)
class FitState:
    """A point in the fit's parameter space.

    A head point ``x`` lands in camera space at ``R (x − pivot) + t``: turning about the face rather
    than about head space's origin keeps rotation and translation nearly uncorrelated.
    """

    rotation: F64  # (3, 3) head to camera
    translation: F64  # (3,) camera-space position of the pivot, metres
    log_focal: float  # natural logarithm of the focal length in pixels
    identity: F64  # (K_id,) standard deviations
    expression: F64  # (K_exp,) in [0, 1]
    pivot: F64  # (3,) head space, metres

    @property
    def focal_px(self) -> float:
        return float(np.exp(self.log_focal))

    @property
    def size(self) -> int:
        return SHAPE + len(self.identity) + len(self.expression)

    def moved(self, step: F64) -> FitState:
        """The state after ``step`` ``(7 + K_id + K_exp,)``; the rotation turns by exp(ω) from the left."""
        k = SHAPE + len(self.identity)
        return FitState(
            rotation=rotation_exp(step[0:3]) @ self.rotation,
            translation=self.translation + step[3:6],
            log_focal=self.log_focal + float(step[LOG_FOCAL]),
            identity=self.identity + step[SHAPE:k],
            expression=self.expression + step[k:],
            pivot=self.pivot,
        )

    def step_bounds(self) -> tuple[F64, F64]:
        """Least and greatest step that keeps the expression in [0, 1]."""
        lower, upper = np.full(self.size, -np.inf), np.full(self.size, np.inf)
        k = SHAPE + len(self.identity)
        lower[k:], upper[k:] = -self.expression, 1.0 - self.expression
        return lower, upper

    def inside(self) -> FitState:
        """The same state with rounding errors at the expression's bounds removed."""
        return replace(self, expression=np.clip(self.expression, 0.0, 1.0))

    def camera(self, width_px: int, height_px: int) -> Camera:
        """The camera whose principal point is the picture's centre."""
        t = self.translation - self.rotation @ self.pivot
        return Camera(
            focal_px=self.focal_px,
            principal_px=(width_px / 2, height_px / 2),
            width_px=width_px,
            height_px=height_px,
            world_to_camera=np.concatenate([self.rotation, t[:, None]], axis=1),
        )


def rotation_exp(omega: F64) -> F64:
    """Rotation matrix ``(3, 3)`` of the rotation vector ``omega`` ``(3,)``, radians (Rodrigues)."""
    angle = float(np.linalg.norm(omega))
    k = cross_matrix(np.asarray(omega, np.float64))
    if angle < 1e-8:
        return np.eye(3) + k + 0.5 * (k @ k)
    return np.asarray(np.eye(3) + np.sin(angle) / angle * k + (1 - np.cos(angle)) / angle**2 * (k @ k))


def cross_matrix(v: F64) -> F64:
    """``[v]×``, so that ``cross_matrix(v) @ w == v × w``; ``(..., 3)`` gives ``(..., 3, 3)``."""
    zero = np.zeros_like(v[..., 0])
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    rows = [
        np.stack([zero, -z, y], axis=-1),
        np.stack([z, zero, -x], axis=-1),
        np.stack([-y, x, zero], axis=-1),
    ]
    return np.stack(rows, axis=-2)


def yaw_degrees(rotation: F64) -> float:
    """Turn of the face about the vertical, degrees: 0 frontal, positive to the subject's left."""
    forward = rotation @ np.array([0.0, 0.0, 1.0])  # camera space; frontal is −z
    return float(np.degrees(np.arctan2(forward[0], -forward[2])))
