"""Pins: the fitted head moved so that landmarks lie where the artist put them, and little else.

The finished fit is taken as what the photo says (its mode, with the fit's own noise levels around it);
the pins are then all that pulls. Without pins, or with pins where the head already has its landmarks,
the head stays exactly as it is. The same solve serves the job and the live preview while a pin is dragged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from backend.artifacts import F32, F64, Camera, HeadFit, Observation, Run
from backend.corrections import Pin
from backend.errors import BadInput
from backend.geometry import face_mesh
from backend.geometry.expression_prior import expression_prior
from backend.geometry.fit import estimate_appearance
from backend.geometry.landmark_fit import image_scale_px
from backend.geometry.levenberg import minimise
from backend.geometry.options import FitOptions
from backend.geometry.photometric import psnr_db
from backend.geometry.skin_samples import crop_face
from backend.geometry.state import LOG_FOCAL, SHAPE, FitState
from backend.geometry.surface import LinearPoints, gather, project_only
from backend.geometry.terms import LandmarkTerm, Quadratic, Term, rows_used, whitening
from backend.head.base import ParametricHead
from backend.head.lid_motion import person_vertices
from backend.photo.eye_whites import eye_whites

PIN_SIGMA = 0.001  # of a pin, over the projected outer-eye-corner distance: a tenth of a landmark's
REACH = 0.15  # over the same distance: how far a pin takes the landmarks beside it along
TURN_SIGMA_DEG = 0.4  # one drag bends the face; only many together may turn the head …
SHIFT_SIGMA = 0.004  # … or shift it, by this part of its distance
HELD = 500  # vertices that stand for the whole head
HELD_POINTS = 100.0  # they count as this many independent ones
HELD_SIGMA_M = 0.001  # how far the head may move where no pin is near
HELD_FROM_M = (0.03, 0.07)  # from the nearest pin: where holding begins, and where it is whole


@dataclass(frozen=True)
class _StayTerm:
    """How dear it is to leave ``start``: pose and shape by their priors, vertices by their way."""

    start: FitState
    stiffness: F64  # (P, P)

    def cost(self, state: FitState) -> float:
        d = self._step(state)
        return 0.5 * float(d @ self.stiffness @ d)

    def model(self, state: FitState) -> Quadratic:
        d = self._step(state)
        return Quadratic(0.5 * float(d @ self.stiffness @ d), self.stiffness @ d, self.stiffness)

    def _step(self, state: FitState) -> F64:
        turn = state.rotation @ self.start.rotation.T
        skew = 0.5 * (turn - turn.T)
        return np.concatenate(
            [
                [skew[2, 1], skew[0, 2], skew[1, 0]],  # the rotation vector, for the small angles allowed
                state.translation - self.start.translation,
                [state.log_focal - self.start.log_focal],
                state.identity - self.start.identity,
                state.expression - self.start.expression,
            ]
        )


@dataclass(frozen=True)
class PinProblem:
    """A head ready to follow pins: what does not depend on where they are."""

    head: ParametricHead
    start: FitState
    camera: Camera
    trust: F64  # (478,) of the landmarks
    rows: NDArray[np.intp]  # (N,) landmarks that the head has
    points: LinearPoints  # at ``rows``
    solved_px: F64  # (N, 2) at the start
    held: NDArray[np.intp]  # (H,) vertices
    held_head: F64  # (H, 3) at the start, metres
    held_basis: F64  # (H, 3, K)
    prior: F64  # (P, P)


def pin_problem(
    head: ParametricHead, camera: Camera, identity: F32, expression: F32, trust: F32
) -> PinProblem:
    """Gather what a solve needs about a finished fit; ``trust`` ``(478,)`` of the landmarks."""
    options = FitOptions()
    rows = np.flatnonzero(head.mediapipe.triangle >= 0)
    points = gather(head, head.mediapipe.triangle[rows], head.mediapipe.barycentric[rows])
    start = _state_of(camera, identity, expression, points.mean.mean(0))
    held = np.arange(0, len(head.mean_vertices), max(1, len(head.mean_vertices) // HELD))
    # Without correctives, at the start as later: what counts is how far the head as a whole moves.
    basis = np.concatenate([head.identity_basis[:, held], head.expression_basis[:, held]]).astype(np.float64)
    held_basis = np.moveaxis(basis, 0, -1)
    coefficients = np.concatenate([start.identity, start.expression])
    k = SHAPE + len(start.identity)
    prior = np.zeros((start.size, start.size))
    prior[range(3), range(3)] = np.radians(TURN_SIGMA_DEG) ** -2
    prior[range(3, 6), range(3, 6)] = (SHIFT_SIGMA * start.translation[2]) ** -2
    prior[LOG_FOCAL, LOG_FOCAL] = options.focal_sigma_exif**-2
    prior[range(SHAPE, k), range(SHAPE, k)] = options.identity_sigma**-2
    prior[k:, k:] = expression_prior(head.expression_names, options).stiffness
    return PinProblem(
        head=head,
        start=start,
        camera=camera,
        trust=np.asarray(trust, np.float64),
        rows=rows,
        points=points,
        solved_px=project_only(points, start, camera.principal_px),
        held=held,
        held_head=head.mean_vertices[held] + held_basis @ coefficients,
        held_basis=held_basis,
        prior=prior,
    )


def solve_pins(problem: PinProblem, pins: tuple[Pin, ...]) -> FitState:
    """The state nearest to the start that has its landmarks at ``pins``. Deterministic.

    Raises: BadInput for a pin that this head has no landmark for or that lies far outside the picture.
    """
    place = _checked(problem, pins)
    if not place:
        return problem.start
    return minimise(_terms(problem, place), problem.start, None, 20, 1e-5).state


def follow_pins(fit: HeadFit, observation: Observation, pins: tuple[Pin, ...], run: Run) -> HeadFit:
    """``fit`` with its landmarks at ``pins``; light and skin tone are read again from the moved head.

    The reported landmark error stays that of the fit, which no pin has seen. Raises: BadInput (pins).
    """
    head = fit.head
    trust = np.clip(head.mediapipe.trust, 0, 1) * np.clip(observation.landmarks_visible, 0, 1)
    problem = pin_problem(head, fit.camera, fit.identity, fit.expression, trust)
    # The matrices are small: a second BLAS thread only waits.
    with threadpool_limits(limits=1, user_api="blas"):
        state = solve_pins(problem, pins)
        run.progress("pins", 0.6)
        whites = eye_whites(observation.photo, np.asarray(observation.landmarks_px, np.float64))
        appearance = estimate_appearance(observation, head, state, crop_face(observation), whites)
    identity, expression = state.identity.astype(np.float32), state.expression.astype(np.float32)
    neutral, vertices = person_vertices(head, identity, expression)
    return replace(
        fit,
        identity=identity,
        expression=expression,
        albedo_coefficients=appearance.light.albedo_coefficients.astype(np.float32),
        radiance_sh=appearance.light.radiance_sh.astype(np.float32),
        camera=state.camera(fit.camera.width_px, fit.camera.height_px),
        vertices_head=vertices,
        neutral_head=neutral,
        photometric_psnr_db=psnr_db(appearance.samples, appearance.light),
    )


def _state_of(camera: Camera, identity: F32, expression: F32, pivot: F64) -> FitState:
    rotation = np.asarray(camera.world_to_camera[:, :3], np.float64)
    return FitState(
        rotation=rotation,
        translation=camera.world_to_camera[:, 3] + rotation @ pivot,
        log_focal=float(np.log(camera.focal_px)),
        identity=np.asarray(identity, np.float64),
        expression=np.clip(np.asarray(expression, np.float64), 0.0, 1.0),
        pivot=pivot,
    )


def _checked(problem: PinProblem, pins: tuple[Pin, ...]) -> dict[int, tuple[float, float]]:
    """Row of ``problem.rows`` to pixels; of several pins of one landmark the last counts."""
    width, height = problem.camera.width_px, problem.camera.height_px
    row_of = {int(landmark): row for row, landmark in enumerate(problem.rows)}
    place = {}
    for pin in pins:
        if pin.landmark not in row_of:
            raise BadInput(f"the head '{problem.head.name}' has no landmark {pin.landmark}; remove that pin")
        if not (-width <= pin.x_px <= 2 * width and -height <= pin.y_px <= 2 * height):
            raise BadInput(f"the pin of landmark {pin.landmark} lies far outside the photo; move it back")
        place[row_of[pin.landmark]] = (float(pin.x_px), float(pin.y_px))
    return place


def _terms(problem: PinProblem, place: dict[int, tuple[float, float]]) -> list[Term]:
    options = FitOptions()
    scale = image_scale_px(problem.start)
    index = np.array(list(place), np.intp)
    target = np.array(list(place.values()), np.float64)
    wanted = _carried_along(problem.solved_px, index, target, REACH * scale)

    trust = problem.trust[problem.rows].copy()
    trust[index] = 0.0
    with np.errstate(divide="ignore"):
        loose = whitening(options.landmark_sigma * scale / np.sqrt(trust))
    used = rows_used(loose)
    principal = problem.camera.principal_px
    landmarks = LandmarkTerm(
        problem.points.take(used), wanted[used], loose[used], principal, "huber", options.robust_width
    )

    # The outline's landmarks slide on the head with the view: their pins hold across it only.
    tangents = np.tile([1.0, 0.0], (face_mesh.COUNT, 1))
    seen = np.zeros((face_mesh.COUNT, 2))
    seen[problem.rows] = problem.solved_px
    tangents[list(face_mesh.FACE_OVAL)] = face_mesh.oval_tangents(seen)
    on_outline = np.isin(problem.rows[index], face_mesh.FACE_OVAL)
    one = np.ones(len(index))
    tight = whitening(
        PIN_SIGMA * scale * one,
        one,
        np.where(on_outline, options.outline_tangent_weight, 1.0),
        tangents[problem.rows[index]],
    )
    pins = LandmarkTerm(problem.points.take(index), target, tight, principal, "square", options.robust_width)
    return [landmarks, pins, _stay(problem, index)]


def _carried_along(solved_px: F64, index: NDArray[np.intp], target: F64, reach_px: float) -> F64:
    """``solved_px`` ``(N, 2)``, the landmarks ``index`` at ``target``, their neighbours taken along."""
    distance = np.linalg.norm(solved_px[:, None] - solved_px[None, index], axis=-1)  # (N, pins)
    weight = np.exp(-0.5 * (2 * distance / max(reach_px, 1e-6)) ** 2)
    # A mean of the pins' moves where several reach, so that close pins never add up.
    share = weight / np.maximum(weight.sum(1, keepdims=True), 1.0)
    wanted = solved_px + share @ (target - solved_px[index])
    wanted[index] = target
    return np.asarray(wanted)


def _stay(problem: PinProblem, index: NDArray[np.intp]) -> _StayTerm:
    pinned = problem.points.take(index).positions(problem.start)
    distance = np.linalg.norm(problem.held_head[:, None] - pinned[None], axis=-1).min(1)
    near, far = HELD_FROM_M
    hold = np.clip((distance - near) / (far - near), 0, 1) ** 2
    weight = np.sqrt(hold * HELD_POINTS / len(hold)) / HELD_SIGMA_M
    rows = (weight[:, None, None] * problem.held_basis).reshape(-1, problem.held_basis.shape[-1])
    stiffness = problem.prior.copy()
    stiffness[SHAPE:, SHAPE:] += rows.T @ rows
    return _StayTerm(problem.start, stiffness)
