"""Several photographs of one person in one solve: one identity and skin tone, the rest by photograph.

Pose, camera, expression and light are each photograph's own. The unknowns are stacked; every term of the
single fit is used as it is, and the prior on the identity counts once.
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
from backend.geometry.skin_samples import FaceCrop, crop_face
from backend.geometry.state import SHAPE, FitState
from backend.geometry.terms import Quadratic, Term
from backend.head.base import ParametricHead
from backend.photo.eye_whites import eye_whites

LANDMARK_ROUNDS, SHADING_ROUNDS = 2, 2
UNBELIEVED = 1e3  # wide enough to say nothing
ALIKE = 1.8  # disagreement of one person's photographs; beyond it they may be different people's


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
    """A single photograph's term in the stacked unknowns."""

    term: Term
    photo: int

    def cost(self, state: Together) -> float:
        return self.term.cost(state.states[self.photo])

    def model(self, state: Together) -> Quadratic:
        own = self.term.model(state.states[self.photo])
        rows = state.rows(self.photo)
        gradient, hessian = np.zeros(state.size), np.zeros((state.size, state.size))
        gradient[rows] = own.gradient
        hessian[np.ix_(rows, rows)] = own.hessian
        return Quadratic(own.cost, gradient, hessian)


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
    half = _finished(problems, fitted, _by_landmarks(problems, fitted, head)[0])
    errors = [score(problem, state, held_out) for problem, state in zip(problems, half, strict=True)]
    run.progress("head fit", 0.4)

    every = np.ones(face_mesh.COUNT, bool)
    start, apart = _by_landmarks(problems, every, head)
    if apart > ALIKE:
        run.warn("The photographs disagree on the shape of the face; these may be different people.")
    solution = _by_shading(observations, problems, crops, start, head)
    run.progress("head fit", 0.8)
    states = _finished(problems, every, solution.state)
    looks = _one_skin(observations, head, states, crops)
    fits = []
    for i, (one, problem, look) in enumerate(zip(observations, problems, looks, strict=True)):
        rows = solution.state.rows(i)
        own = Solution(states[i], solution.cost, solution.iterations, solution.hessian[np.ix_(rows, rows)])
        heard = Run(run.seed)
        warn_of(one, problem, own, errors[i][1], heard)
        fits.append(head_fit_of(one, head, states[i], look, errors[i], heard))
        for line in heard.warnings:
            run.warn(f"{one.photo.name}: {line}")
    return tuple(fits)


def _finished(
    problems: tuple[LandmarkProblem, ...], keep: NDArray[np.bool_], together: Together
) -> list[FitState]:
    return [settled(problem, keep, state) for problem, state in zip(problems, together.states, strict=True)]


def _by_landmarks(
    problems: tuple[LandmarkProblem, ...], keep: NDArray[np.bool_], head: ParametricHead
) -> tuple[Together, float]:
    """The joint fit to the landmarks in ``keep`` ``(478,)``, and how far single fits disagree."""
    alone = [fit_landmarks(problem, keep, head) for problem in problems]
    identity = np.mean([one.state.identity for one in alone], axis=0)
    together = Together(tuple(replace(one.state, identity=identity.copy()) for one in alone))
    for _ in range(LANDMARK_ROUNDS):
        together = minimise(_landmark_terms(problems, keep, together), together, None, 10).state
    return together, disagreement(alone)


def disagreement(alone: Sequence[Solution[FitState]]) -> float:
    """How far the identities found in single photographs lie apart, at most, over what they may.

    Mahalanobis' squared distance over the number of coefficients, by both fits' own uncertainty: about 1
    when different people's fits are as sure as their noise levels say, less for one person's.
    """
    k = len(alone[0].state.identity)
    own = slice(SHAPE, SHAPE + k)
    spread = [np.linalg.pinv(one.hessian, hermitian=True)[own, own] for one in alone]
    return max(
        float(d @ np.linalg.solve(spread[i] + spread[j], d)) / k
        for i, j in itertools.combinations(range(len(alone)), 2)
        for d in (alone[i].state.identity - alone[j].state.identity,)
    )


def _landmark_terms(
    problems: tuple[LandmarkProblem, ...], keep: NDArray[np.bool_], around: Together
) -> list[OfPhoto]:
    terms = []
    for i, (problem, state) in enumerate(zip(problems, around.states, strict=True)):
        # Each brings the identity's prior along; together they must weigh as one.
        sigma = problem.prior.identity_sigma * np.sqrt(len(problems))
        own = replace(problem, prior=replace(problem.prior, identity_sigma=float(sigma)))
        terms += [OfPhoto(term, i) for term in own.terms(keep, image_scale_px(state), "geman_mcclure", state)]
    return terms


def _by_shading(
    observations: tuple[Observation, ...],
    problems: tuple[LandmarkProblem, ...],
    crops: tuple[FaceCrop, ...],
    start: Together,
    head: ParametricHead,
) -> Solution[Together]:
    """Photometric refinement of all photographs that show enough skin, landmarks and outlines held."""
    every = np.ones(face_mesh.COUNT, bool)
    solution = minimise(_landmark_terms(problems, every, start), start, None, 1)
    for _ in range(SHADING_ROUNDS):
        now = solution.state
        terms = _landmark_terms(problems, every, now)
        for i, (one, state) in enumerate(zip(observations, now.states, strict=True)):
            if not has_skin(one, head, state, crops[i]):
                continue
            seen = estimate_appearance(one, head, state, crops[i])
            problem = problems[i]
            shading = photometric_term(
                seen.samples, seen.light, head, state, problem.principal_px, problem.options
            )
            terms.append(OfPhoto(shading, i))
        solution = minimise(terms, now, None, 3)
    return solution


def _one_skin(
    observations: tuple[Observation, ...],
    head: ParametricHead,
    states: Sequence[FitState],
    crops: tuple[FaceCrop, ...],
) -> list[Appearance]:
    """Each photograph's light under the albedo coefficients that they have on average."""
    looks = [
        estimate_appearance(
            one, head, state, crop, eye_whites(one.photo, np.asarray(one.landmarks_px, np.float64))
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
