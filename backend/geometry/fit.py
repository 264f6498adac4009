"""The head fit on one page: landmarks, then light and skin tone, then a photometric refinement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from backend.artifacts import F32, HeadFit, Observation, Run
from backend.errors import BadInput
from backend.geometry import face_mesh
from backend.geometry.landmark_fit import (
    EYE_OPEN_RATIO,
    LandmarkProblem,
    aligned,
    eye_openings,
    fit_landmarks,
    focal_deviation,
    image_scale_px,
    measured_problem,
    outer_corner_distance_px,
)
from backend.geometry.levenberg import Solution, minimise
from backend.geometry.light import LightFit, fit_light
from backend.geometry.options import FitOptions
from backend.geometry.photometric import photometric_term, psnr_db
from backend.geometry.skin_samples import FaceCrop, SkinSamples, crop_face, sample_skin
from backend.geometry.state import FitState, yaw_degrees
from backend.geometry.tone import ToneBelief, believe_tone
from backend.head.base import ParametricHead
from backend.head.lid_motion import person_vertices
from backend.photo.eye_whites import EyeWhite, eye_whites
from backend.photo.iris import iris_colour_srgb

MIN_SAMPLES = 150  # crop pixels of visible skin below which the photo says nothing about light
REFINED_MAY_BE_WORSE = 1.15  # held-out landmark error after refinement, over the one before
LARGE_ERROR_IOD = 0.04
PROFILE_DEG = 60.0
DEFAULT_IRIS_SRGB = np.array([0.36, 0.25, 0.18], np.float32)


@dataclass(frozen=True)
class Appearance:
    """Light and skin tone, with the samples that they were read from."""

    samples: SkinSamples
    light: LightFit
    tone: ToneBelief | None = None  # what was believed of the skin's absolute albedo


def fit_head(observation: Observation, head: ParametricHead, run: Run) -> HeadFit:
    """Fit ``head`` to ``observation``: pose, camera, identity, expression, light and albedo coefficients.

    The landmark error that is reported is honest: it is that of a fit to every second landmark, scored
    on the others (those visible and trusted); what the picture itself says of shape and errors
    (``geometry.face_sight``) is read with all points in either. The head that is returned is then solved
    with all of them, in the same way. The photometric refinement is kept only if it does not raise the
    held-out error. Metric size comes from the identity prior and the 11.7 mm iris. Deterministic: nothing
    is drawn at random. Warnings go to ``run``. Raises: BadInput for landmarks that form no face.
    """
    # Its matrices are small: a second BLAS thread only waits (four times slower on two cores).
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit_head(observation, head, run)


def _fit_head(observation: Observation, head: ParametricHead, run: Run) -> HeadFit:
    options = FitOptions()
    problem = measured_problem(observation, head, options)
    crop = crop_face(observation)
    fitted, held_out = face_mesh.halves()
    run.progress("head fit", 0.1)

    half = fit_landmarks(problem, fitted, head)
    error_px, error_iod = score(problem, settled(problem, fitted, half.state), held_out)
    run.progress("head fit", 0.3)
    refine = has_skin(observation, head, half.state, crop)
    if refine:
        refined = refine_photometrically(observation, head, problem, half, fitted, crop)
        refined_px, refined_iod = score(problem, settled(problem, fitted, refined.state), held_out)
        refine = refined_px <= error_px * REFINED_MAY_BE_WORSE
        if refine:
            error_px, error_iod = refined_px, refined_iod
        else:
            run.warn(
                "The photo's shading disagrees with its landmarks; the head's shape follows the landmarks."
            )
    else:
        run.warn("Too little bare skin is visible to refine the shape; it follows the landmarks alone.")
    run.progress("head fit", 0.6)

    every = np.ones(face_mesh.COUNT, bool)
    solution = fit_landmarks(problem, every, head)
    if refine:
        solution = refine_photometrically(observation, head, problem, solution, every, crop)
    state = settled(problem, every, solution.state)
    whites = eye_whites(observation.photo, observation.landmarks_px, observation.landmarks_visible)
    appearance = estimate_appearance(observation, head, state, crop, whites)
    if appearance.tone is not None and appearance.tone.eyes == 0:
        run.warn("The whites of the eyes cannot be seen; how light the skin is was judged by its hue alone.")
    run.progress("head fit", 0.9)
    warn_of(observation, problem, solution, error_iod, run)
    return head_fit_of(observation, head, state, appearance, (error_px, error_iod), run)


def settled(problem: LandmarkProblem, keep: NDArray[np.bool_], state: FitState) -> FitState:
    """The solved ``state``; where landmark errors are correlated, brought onto the landmarks in ``keep``."""
    return state if problem.errors is None else aligned(problem, keep, state)


def head_fit_of(
    observation: Observation,
    head: ParametricHead,
    state: FitState,
    appearance: Appearance,
    landmark_error: tuple[float, float],
    run: Run,
) -> HeadFit:
    """The finished fit; ``landmark_error`` is in pixels and over the eye distance (see ``score``)."""
    identity, expression = state.identity.astype(np.float32), state.expression.astype(np.float32)
    neutral, vertices = person_vertices(head, identity, expression)
    return HeadFit(
        head=head,
        identity=identity,
        expression=expression,
        albedo_coefficients=appearance.light.albedo_coefficients.astype(np.float32),
        radiance_sh=appearance.light.radiance_sh.astype(np.float32),
        camera=state.camera(observation.photo.width, observation.photo.height),
        vertices_head=vertices,
        neutral_head=neutral,
        iris_srgb=iris_colour(observation, run),
        landmark_error_px=landmark_error[0],
        landmark_error_iod=landmark_error[1],
        photometric_psnr_db=psnr_db(appearance.samples, appearance.light),
        focal_source=observation.focal_source,
    )


def score(problem: LandmarkProblem, state: FitState, held_out: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean held-out landmark error in pixels and over the projected outer-eye-corner distance.

    Raises: BadInput where no held-out landmark is visible.
    """
    errors = problem.errors_px(state, held_out)
    if len(errors) == 0:
        raise BadInput("no facial landmark is visible enough to score the fit; use a clearer photo.")
    mean = float(errors.mean())
    return mean, mean / max(outer_corner_distance_px(problem, state, image_scale_px(state)), 1e-6)


def has_skin(observation: Observation, head: ParametricHead, state: FitState, crop: FaceCrop) -> bool:
    """Whether enough visible skin lies under the fitted head to learn from its shading."""
    return len(sample_skin(observation, head, state, crop).triangle) >= MIN_SAMPLES


def estimate_appearance(
    observation: Observation,
    head: ParametricHead,
    state: FitState,
    crop: FaceCrop,
    whites: Sequence[EyeWhite] | None = None,
) -> Appearance:
    """Light and albedo coefficients at a given shape and pose; without skin samples, the priors'.

    With the ``whites`` of the eyes the skin's absolute tone is found first, and decides their scale.
    """
    samples = sample_skin(observation, head, state, crop)
    toward_camera = state.rotation.T @ np.array([0.0, 0.0, -1.0])
    tone = None if whites is None else believe_tone(whites, samples.colour)
    light = fit_light(
        samples.colour,
        samples.normals,
        samples.albedo_mean,
        samples.albedo_basis,
        toward_camera,
        samples.weight,
        tone=tone,
    )
    return Appearance(samples, light, tone)


def refine_photometrically(
    observation: Observation,
    head: ParametricHead,
    problem: LandmarkProblem,
    start: Solution[FitState],
    keep: NDArray[np.bool_],
    crop: FaceCrop,
    rounds: int = 2,
) -> Solution[FitState]:
    """Alternate light and skin tone with Gauss–Newton steps on shape and pose, landmarks in ``keep`` held."""
    solution = start
    terms = problem.terms(keep, image_scale_px(start.state), "geman_mcclure", start.state)
    for _ in range(rounds):
        state = solution.state
        seen = estimate_appearance(observation, head, state, crop)
        shading = photometric_term(
            seen.samples, seen.light, head, state, problem.principal_px, problem.options
        )
        solution = minimise([*terms, shading], state, None, 3)
    return solution


def iris_colour(observation: Observation, run: Run) -> F32:
    """The iris' sRGB colour as lit in the photo ``(3,)``, or an average brown with a warning."""
    seen = iris_colour_srgb(observation.photo, observation.landmarks_px, observation.landmarks_visible)
    if seen is None:
        run.warn("The irises cannot be seen; the eyes get an average brown.")
        return DEFAULT_IRIS_SRGB
    return np.asarray(seen, np.float32)


def warn_of(
    observation: Observation,
    problem: LandmarkProblem,
    solution: Solution[FitState],
    error_iod: float,
    run: Run,
) -> None:
    """Say through ``run`` what of the fit is not to be trusted."""
    yaw = yaw_degrees(solution.state.rotation)
    if abs(yaw) > PROFILE_DEG:
        run.warn(f"The face is turned {abs(yaw):.0f}° from the camera; its far side is the model's guess.")
    if error_iod > LARGE_ERROR_IOD:
        run.warn(
            f"The head misses held-out landmarks by {100 * error_iod:.1f} % of the eye distance; "
            "the shape may be off."
        )
    openings = eye_openings(np.asarray(observation.landmarks_px, np.float64))
    if max(openings) <= EYE_OPEN_RATIO:
        run.warn("Both eyes are closed: gaze, iris and the head's absolute size follow the average.")
    if observation.focal_source == "estimated":
        prior = problem.options.focal_sigma_estimated
        if focal_deviation(solution) > 0.99 * prior:
            run.warn(
                "The focal length cannot be read from this photo; depth follows a typical portrait lens."
            )
    small = np.asarray(problem.importance) >= 0.25
    if int(small.sum()) < 120:
        run.warn("Few landmarks are visible; most of the head's shape follows the average.")
