"""Several photographs of one person: derivatives, gain over single fits, order, different people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic_head import camera_at, observe, synthetic_head

from backend.artifacts import Run
from backend.geometry.joint import OfPhoto, Together, fit_same_person
from backend.geometry.landmark_fit import fit_landmarks, image_scale_px, landmark_problem
from backend.geometry.levenberg import total
from backend.geometry.options import FitOptions
from backend.geometry.same_person import agreed, told_by

EVERY = np.ones(478, bool)
VIEWS = ((0.0, 0.8), (0.6, 1.1))  # yaw, distance


@pytest.fixture(scope="module")
def head():
    return synthetic_head()


def photograph(head, identity, number, noise_px=4.0):
    yaw, distance = VIEWS[number]
    expression = np.clip(
        np.random.default_rng([number, 8]).normal(0.1, 0.2, len(head.expression_basis)), 0, 1
    )
    camera = camera_at(yaw=yaw, distance=distance)
    seen = observe(head, head.shape(identity, expression), camera, noise_px=noise_px, seed=number)
    return replace(seen, photo=replace(seen.photo, name=f"photo{number}"))


def person(head, seed):
    return np.random.default_rng(seed).normal(size=len(head.identity_basis))


def shape_error(head, identity, truth):
    """Mean distance over the front, metres."""
    front = head.mean_vertices[:, 2] > 0.03
    return float(np.linalg.norm(head.shape(identity) - head.shape(truth), axis=1)[front].mean())


def test_stacked_terms_have_the_derivatives_of_the_single_ones(head):
    photos = [photograph(head, person(head, 1), k) for k in (0, 1)]
    problems = [landmark_problem(one, head, FitOptions()) for one in photos]
    states = [fit_landmarks(problem, EVERY, head).state for problem in problems]
    together = Together(
        tuple(replace(s, identity=states[0].identity, expression=s.expression + 0.1) for s in states)
    )
    terms = [
        OfPhoto(term, i)
        for i, (problem, state) in enumerate(zip(problems, states, strict=True))
        for term in problem.terms(EVERY, image_scale_px(state), "huber")
    ]
    gradient = total(terms, together).gradient
    for k in range(0, together.size, 3):
        step = np.zeros(together.size)
        step[k] = 1e-6
        ahead, behind = together.moved(step), together.moved(-step)
        slope = sum(t.cost(ahead) - t.cost(behind) for t in terms) / 2e-6
        assert gradient[k] == pytest.approx(slope, rel=1e-4, abs=1e-6 * np.abs(gradient).max())
    first, second = together.moved(np.ones(together.size) * 1e-3).states
    np.testing.assert_array_equal(first.identity, second.identity)


def test_two_photographs_tell_more_of_a_face_than_either(head):
    joint, alone = [], []
    for seed in (0, 2):
        truth = person(head, seed)
        photos = [photograph(head, truth, k) for k in (0, 1)]
        fits = fit_same_person(photos, head, Run())
        np.testing.assert_array_equal(fits[0].identity, fits[1].identity)
        np.testing.assert_array_equal(fits[0].albedo_coefficients, fits[1].albedo_coefficients)
        joint.append(shape_error(head, fits[0].identity, truth))
        for one in photos:
            state = fit_landmarks(landmark_problem(one, head, FitOptions()), EVERY, head).state
            alone.append(shape_error(head, state.identity, truth))
    assert np.mean(joint) < np.mean(alone)


def test_the_order_of_photographs_does_not_matter(head):
    photos = [photograph(head, person(head, 4), k) for k in (0, 1)]
    one, two = fit_same_person(photos, head, Run()), fit_same_person(photos[::-1], head, Run())
    np.testing.assert_allclose(one[0].identity, two[0].identity, atol=1e-3)
    np.testing.assert_allclose(one[0].vertices_head, two[1].vertices_head, atol=1e-5)


def test_different_people_are_told(head):
    first = photograph(head, person(head, 5), 0, noise_px=1.5)
    for seed, differ in ((5, False), (7, True)):
        run = Run()
        fit_same_person([first, photograph(head, person(head, seed), 1, noise_px=1.5)], head, run)
        lines = [line for line in run.warnings if "different people" in line]
        assert bool(lines) == differ, seed
        assert all("photo0 and photo1" in line for line in lines)  # which ones, where there are more


def test_a_doubted_photograph_moves_the_common_identity_less(head):
    photos = [photograph(head, person(head, seed), k, noise_px=1.5) for k, seed in enumerate((5, 6))]
    problems = [landmark_problem(one, head, FitOptions()) for one in photos]
    alone = [fit_landmarks(problem, EVERY, head) for problem in problems]
    sigma = problems[0].prior.identity_sigma
    sure = [told_by(one, sigma, 1.0) for one in alone]
    even = agreed(sure, sigma)
    doubted = agreed([sure[0], told_by(alone[1], sigma, 10.0)], sigma)
    first = alone[0].state.identity
    assert np.linalg.norm(doubted - first) < np.linalg.norm(even - first)
    np.testing.assert_allclose(agreed(sure[:1], sigma), first, atol=1e-6)  # one photograph: its own fit
