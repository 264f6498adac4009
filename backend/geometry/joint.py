"""Several photographs of one person in one solve: one identity and skin tone, the rest by photograph.

Pose, camera, expression and light are each photograph's own. The unknowns are stacked; every photograph's
terms are those of the single fit over its doubt (``same_person``), the identity's prior counts once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from backend.artifacts import F64, HeadFit, Observation, Run
from backend.geometry import face_mesh
from backend.geometry.fit import (
    MIN_SAMPLES,
    Appearance,
    estimate_appearance,
    has_skin,
    head_fit_of,
    score,
    settled,
    warn_of,
)
from backend.geometry.landmark_fit import LandmarkProblem, fit_landmarks, image_scale_px, measured_problem
from backend.geometry.levenberg import Solution, minimise
from backend.geometry.light import LightOptions, fit_light
from backend.geometry.options import FitOptions
from backend.geometry.photometric import photometric_term
from backend.geometry.same_person import DOUBT, Told, agreed, log_odds_same, told_by
from backend.geometry.skin_samples import FaceCrop, crop_face, sample_skin
from backend.geometry.state import SHAPE, FitState
from backend.geometry.terms import Quadratic, Term
from backend.geometry.tone import believe_tone
from backend.head.base import ParametricHead
from backend.photo.eye_whites import eye_whites

LANDMARK_STEPS, SHADING_ROUNDS = 15, 2
UNBELIEVED = 1e3  # wide enough to say nothing
UNLIKELY = 0.0  # log odds below which photographs may show different people


@dataclass(frozen=True)
class Together:
    """The states of all photographs; their identities are equal.

    A step is the identity's, then each photograph's pose, focal length and expression.
    """

    states: tuple[FitState, ...]

    @property
    def size(self) -> int:
        first = self.states[0]
        return len(first.identity) + len(self.states) * (first.size - len(first.identity))

    def rows(self, photo: int) -> NDArray[np.intp]:
        """Where the unknowns of ``photo``, in the order of ``FitState.moved``, stand in a step."""
        first = self.states[0]
        k = len(first.identity)
        own = k + photo * (first.size - k) + np.arange(first.size - k)
        return np.concatenate([own[:SHAPE], np.arange(k), own[SHAPE:]])

    def moved(self, step: F64) -> Together:
        return Together(tuple(state.moved(step[self.rows(i)]) for i, state in enumerate(self.states)))

    def step_bounds(self) -> tuple[F64, F64]:
        lower, upper = np.full(self.size, -np.inf), np.full(self.size, np.inf)
        for i, state in enumerate(self.states):
            lower[self.rows(i)], upper[self.rows(i)] = state.step_bounds()
        return lower, upper

    def inside(self) -> Together:
        return Together(tuple(state.inside() for state in self.states))


@dataclass(frozen=True)
class OfPhoto:
    """A single photograph's term in the stacked unknowns, over its ``doubt``."""

    term: Term
    photo: int
    doubt: float = 1.0

    def cost(self, state: Together) -> float:
        return self.term.cost(state.states[self.photo]) / self.doubt

    def model(self, state: Together) -> Quadratic:
        own = self.term.model(state.states[self.photo])
        rows = state.rows(self.photo)
        gradient, hessian = np.zeros(state.size), np.zeros((state.size, state.size))
        gradient[rows] = own.gradient / self.doubt
        hessian[np.ix_(rows, rows)] = own.hessian / self.doubt
        return Quadratic(own.cost / self.doubt, gradient, hessian)


def fit_same_person(
    observations: Sequence[Observation], head: ParametricHead, run: Run
) -> tuple[HeadFit, ...]:
    """Fit ``head`` to photographs of one person; the fits share identity and albedo coefficients.

    Landmark errors are those of a joint fit to every second landmark, scored on the others. Warns where
    the photographs disagree on the identity. The order of the photographs does not matter.
    Raises: BadInput for landmarks that form no face.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit_same_person(tuple(observations), head, run)


def _fit_same_person(
    observations: tuple[Observation, ...], head: ParametricHead, run: Run
) -> tuple[HeadFit, ...]:
    problems = tuple(measured_problem(one, head, FitOptions()) for one in observations)
    crops = tuple(crop_face(one) for one in observations)
    fitted, held_out = face_mesh.halves()
    run.progress("head fit", 0.1)
    alone = [fit_landmarks(problem, fitted, head) for problem in problems]
    run.progress("head fit", 0.4)
    doubts = tuple(
        # Noise levels for heads on which Face Mesh was not measured are wide as they are.
        1.0 if problem.errors is None else DOUBT
        for problem in problems
    )
    told = [
        told_by(one, problem.prior.identity_sigma, doubt)
        for one, problem, doubt in zip(alone, problems, doubts, strict=True)
    ]
    _tell_different_people(observations, head, alone, told, crops, run)

    identity = agreed(told, problems[0].prior.identity_sigma)
    start = Together(tuple(replace(one.state, identity=identity.copy()) for one in alone))
    start = _by_landmarks(problems, doubts, fitted, start)
    half = _finished(problems, fitted, start)
    errors = [score(problem, state, held_out) for problem, state in zip(problems, half, strict=True)]
    run.progress("head fit", 0.6)

    every = np.ones(face_mesh.COUNT, bool)
    together = _by_landmarks(problems, doubts, every, start)
    together = _by_shading(observations, problems, doubts, crops, together, head)
    run.progress("head fit", 0.8)
    states = _finished(problems, every, together)
    looks = _one_skin(observations, head, states, crops)
    fits = []
    for one, problem, state, single, look, error in zip(
        observations, problems, states, alone, looks, errors, strict=True
    ):
        heard = Run(run.seed)
        warn_of(one, problem, replace(single, state=state), error[1], heard)
        fits.append(head_fit_of(one, head, state, look, error, heard))
        for line in heard.warnings:
            run.warn(f"{one.photo.name}: {line}")
    return tuple(fits)


def _finished(
    problems: tuple[LandmarkProblem, ...], keep: NDArray[np.bool_], together: Together
) -> list[FitState]:
    return [settled(problem, keep, state) for problem, state in zip(problems, together.states, strict=True)]


def _tell_different_people(
    observations: tuple[Observation, ...],
    head: ParametricHead,
    alone: Sequence[Solution[FitState]],
    told: Sequence[Told],
    crops: tuple[FaceCrop, ...],
    run: Run,
) -> None:
    """Warn of the two photographs that are least likely of one person, if they hardly are."""
    tones = []
    for one, fit, crop in zip(observations, alone, crops, strict=True):
        skin = sample_skin(one, head, fit.state, crop).colour
        whites = eye_whites(one.photo, one.landmarks_px, one.landmarks_visible)
        tones.append(believe_tone(whites, skin) if len(skin) >= MIN_SAMPLES else None)
    odds = {
        (i, j): log_odds_same(told[i], told[j], tones[i], tones[j])
        for i, j in itertools.combinations(range(len(told)), 2)
    }
    i, j = min(odds, key=odds.__getitem__)
    if odds[i, j] < UNLIKELY:
        run.warn(
            f"{observations[i].photo.name} and {observations[j].photo.name} may show different people; "
            "one head was fitted to all photographs."
        )


def _by_landmarks(
    problems: tuple[LandmarkProblem, ...],
    doubts: tuple[float, ...],
    keep: NDArray[np.bool_],
    start: Together,
) -> Together:
    """The joint fit to the landmarks in ``keep`` ``(478,)``."""
    return minimise(_landmark_terms(problems, doubts, keep, start), start, None, LANDMARK_STEPS).state


def _landmark_terms(
    problems: tuple[LandmarkProblem, ...],
    doubts: tuple[float, ...],
    keep: NDArray[np.bool_],
    around: Together,
) -> list[OfPhoto]:
    # Each brings the identity's prior along; together they must weigh as one.
    weight = float(np.sqrt(sum(1 / doubt for doubt in doubts)))
    terms = []
    for i, (problem, doubt, state) in enumerate(zip(problems, doubts, around.states, strict=True)):
        prior = replace(problem.prior, identity_sigma=problem.prior.identity_sigma * weight)
        own = replace(problem, prior=prior).terms(keep, image_scale_px(state), "geman_mcclure", state)
        terms += [OfPhoto(term, i, doubt) for term in own]
    return terms


def _by_shading(
    observations: tuple[Observation, ...],
    problems: tuple[LandmarkProblem, ...],
    doubts: tuple[float, ...],
    crops: tuple[FaceCrop, ...],
    start: Together,
    head: ParametricHead,
) -> Together:
    """Photometric refinement of all photographs that show enough skin, landmarks and outlines held."""
    every = np.ones(face_mesh.COUNT, bool)
    now = start
    held = _landmark_terms(problems, doubts, every, start)
    for _ in range(SHADING_ROUNDS):
        terms = list(held)
        for i, (one, state) in enumerate(zip(observations, now.states, strict=True)):
            if not has_skin(one, head, state, crops[i]):
                continue
            seen = estimate_appearance(one, head, state, crops[i])
            problem = problems[i]
            shading = photometric_term(
                seen.samples, seen.light, head, state, problem.principal_px, problem.options
            )
            terms.append(OfPhoto(shading, i, doubts[i]))
        now = minimise(terms, now, None, 3).state
    return now


def _one_skin(
    observations: tuple[Observation, ...],
    head: ParametricHead,
    states: Sequence[FitState],
    crops: tuple[FaceCrop, ...],
) -> list[Appearance]:
    """Each photograph's light under the albedo coefficients that they have on average."""
    looks = [
        estimate_appearance(
            one, head, state, crop, eye_whites(one.photo, one.landmarks_px, one.landmarks_visible)
        )
        for one, state, crop in zip(observations, states, crops, strict=True)
    ]
    shown = np.array([look.samples.weight.sum() for look in looks]) + 1e-9
    beta = np.average([look.light.albedo_coefficients for look in looks], axis=0, weights=shown)
    known = replace(LightOptions(), exposure_sigma=UNBELIEVED, white_balance_sigma=UNBELIEVED)
    out = []
    for look, state in zip(looks, states, strict=True):
        samples = look.samples
        albedo = samples.albedo_mean + np.tensordot(beta, samples.albedo_basis, 1)
        toward_camera = state.rotation.T @ np.array([0.0, 0.0, -1.0])
        light = fit_light(
            samples.colour,
            samples.normals,
            albedo,
            samples.albedo_basis[:0],
            toward_camera,
            samples.weight,
            known,
        )
        out.append(Appearance(samples, replace(light, albedo_coefficients=beta), look.tone))
    return out
