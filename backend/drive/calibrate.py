"""How Face Mesh sees this avatar: where it errs by view, and how far its points follow each expression.

Face Mesh answers expressions with less than their motion: lids half closed where they are shut, brows and
corners of the mouth by a third to two thirds. So the avatar is drawn in a mirror, neutral from several sides
and with each expression, and what Face Mesh says of these pictures takes the place of where the points lie
on the mesh. Lengths are metres on the face's plane, so that they hold at any distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64, Camera, Run
from backend.drive.mirror import Mirror
from backend.drive.solve import Actor
from backend.drive.tracking import measured
from backend.geometry.landmark_fit import LandmarkProblem
from backend.geometry.state import FitState
from backend.photo.mediapipe_graphs import FaceNetworks

STAGE = "calibration"
SIZE, FRAME_M, DISTANCE_M = 256, 0.34, 0.8
VIEWS = tuple((yaw, pitch) for yaw in (-30.0, -15.0, 0.0, 15.0, 30.0) for pitch in (-12.0, 0.0, 12.0))
_MOST_YAW, _MOST_PITCH = 40.0, 20.0  # degrees: beyond, errors are taken as there
_AIM_FROM_EYES = np.array([0.0, -0.02, -0.06])
_RIDGE = 1e-2


@dataclass(frozen=True)
class Bias:
    """What Face Mesh errs by on the neutral avatar: quadratic in the view."""

    coefficients: F64  # (6, N, 2) metres, x right and y up of the level face

    def corrected(self, problem: LandmarkProblem, around: FitState) -> LandmarkProblem:
        """``problem`` with its points where the mesh has them, as far as the view ``around`` tells."""
        ahead, right = around.rotation[:, 2], around.rotation[:, 0]
        yaw = math.degrees(math.atan2(ahead[0], -ahead[2]))
        pitch = math.degrees(math.asin(float(np.clip(-ahead[1], -1, 1))))
        roll = math.atan2(right[1], right[0])
        offset = np.tensordot(_view(yaw, pitch), self.coefficients, 1) * [1.0, -1.0]
        offset *= around.focal_px / float(around.translation[2])
        c, s = math.cos(roll), math.sin(roll)
        return replace(problem, observed_px=problem.observed_px - offset @ np.array([[c, s], [-s, c]]))


def calibrated(actor: Actor, mirror: Mirror, networks: FaceNetworks, run: Run) -> Actor:
    """``actor`` with Face Mesh's errors and responses on it. Raises: Cancelled.

    Where Face Mesh does not find the drawn face, the mesh's own motion stays.
    """
    head, points = actor.head, actor.problem.points
    eyes = head.eye_centres.astype(np.float64).mean(0)
    rows = actor.problem.rows
    neutral = np.zeros(len(actor.names))
    count = len(VIEWS) + len(actor.names)

    def seen(weights: F64, view: tuple[float, float]) -> tuple[F64, F64] | None:
        """Offset from the mesh ``(N, 2)`` in metres, and visibility."""
        vertices = head.shape(np.zeros(0), weights)
        camera = _camera(eyes, *view)
        on_mesh, depth = camera.project(head.mediapipe.positions(vertices, head.triangles))
        found = measured(mirror(vertices, camera), on_mesh, networks)
        if found is None:
            return None
        offset = (found.points_px - on_mesh) * (depth / camera.focal_px)[:, None] * [1.0, -1.0]
        return offset[rows], found.visible[rows].astype(np.float64)

    told = []
    for k, view in enumerate(VIEWS):
        run.progress(STAGE, k / count)
        told.append((view, seen(neutral, view)))
    known = [(view, one) for view, one in told if one is not None]
    front = dict(told)[0.0, 0.0]
    if front is None or len(known) < len(VIEWS) // 2:
        return actor
    basis = points.basis.copy()
    for e in range(len(actor.names)):
        run.progress(STAGE, (len(VIEWS) + e) / count)
        weights = neutral.copy()
        weights[e] = 1.0
        answer = seen(weights, (0.0, 0.0))
        if answer is not None:
            basis[:, :2, e] += answer[0] - front[0]
    run.progress(STAGE, 1.0)
    problem = replace(actor.problem, points=replace(points, basis=basis))
    return replace(actor, problem=problem, bias=Bias(_fitted(known)))


def _fitted(known: list[tuple[tuple[float, float], tuple[F64, F64]]]) -> F64:
    """Coefficients ``(6, N, 2)``: by least squares over the views, each point by where it was visible."""
    design = np.array([_view(*view) for view, _ in known])
    offset = np.array([one[0] for _, one in known])
    weight = np.array([one[1] for _, one in known])
    normal = np.einsum("vn,vi,vj->nij", weight, design, design) + _RIDGE * np.eye(design.shape[1])
    right = np.einsum("vn,vi,vnc->nic", weight, design, offset)
    return np.asarray(np.moveaxis(np.linalg.solve(normal, right), 0, 1))


def _view(yaw_deg: float, pitch_deg: float) -> F64:
    y = float(np.clip(yaw_deg, -_MOST_YAW, _MOST_YAW)) / 30
    p = float(np.clip(pitch_deg, -_MOST_PITCH, _MOST_PITCH)) / 15
    return np.array([1.0, y, p, y * y, y * p, p * p])


def _camera(eyes: NDArray[np.floating[Any]], yaw_deg: float, pitch_deg: float) -> Camera:
    """A camera that sees the head turned by ``yaw_deg`` to its left and ``pitch_deg`` up."""
    yaw, pitch = math.radians(-yaw_deg), math.radians(-pitch_deg)
    back = np.array([math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
    right = np.array([math.cos(yaw), 0.0, -math.sin(yaw)])
    rotation = np.stack([right, -np.cross(back, right), -back])
    centre = eyes + _AIM_FROM_EYES + DISTANCE_M * back
    pose = np.concatenate([rotation, (-rotation @ centre)[:, None]], 1)
    return Camera(SIZE * DISTANCE_M / FRAME_M, (SIZE / 2, SIZE / 2), SIZE, SIZE, pose)
