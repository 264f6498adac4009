"""Correlated landmark errors against the dense Gaussian, finite differences, and the mirror."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_head import camera_at, observe, synthetic_head

from backend.geometry.landmark_errors import (
    WEIGHT,
    CorrelatedTerm,
    correlated_term,
    errors_of,
    errors_of_open_head,
)
from backend.geometry.landmark_fit import fit_landmarks, image_scale_px, landmark_problem
from backend.geometry.options import FitOptions
from backend.geometry.surface import project, project_only

EVERY = np.ones(478, bool)


@pytest.fixture(scope="module")
def seen():
    head = synthetic_head()
    identity = np.random.default_rng(1).normal(size=len(head.identity_basis))
    problem = landmark_problem(observe(head, head.shape(identity), camera_at(), 3.0), head, FitOptions())
    return problem, fit_landmarks(problem, EVERY, head).state


def term_of(problem, state, loss) -> CorrelatedTerm:
    rows = np.arange(0, len(problem.rows), 12)
    scale_px = image_scale_px(state)
    return correlated_term(
        errors_of_open_head().in_photo(state, scale_px),
        problem.points.take(rows),
        problem.rows[rows],
        problem.observed_px[rows],
        np.linspace(0.4, 1, len(rows)),
        scale_px,
        problem.principal_px,
        loss,
    )


def test_the_cost_is_the_dense_gaussians(seen):
    problem, state = seen
    term = term_of(problem, state, "square")
    r = (project_only(term.points, state, term.principal_px) - term.target_px).reshape(-1)
    covariance = np.diag(np.repeat(term.sigma_px**2, 2)) + term.fields_px @ term.fields_px.T
    assert term.cost(state) == pytest.approx(WEIGHT * 0.5 * r @ np.linalg.solve(covariance, r), rel=1e-8)
    j = term.model(state)
    dense = np.linalg.inv(covariance)
    points = term.points
    jacobian = project(points, state, term.principal_px).jacobian.reshape(len(r), -1)
    np.testing.assert_allclose(j.hessian, WEIGHT * jacobian.T @ dense @ jacobian, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("loss", ["square", "huber"])
def test_the_gradient_matches_finite_differences(seen, loss):
    problem, state = seen
    term = term_of(problem, state, loss)
    gradient = term.model(state).gradient
    for k in range(0, state.size, 4):
        step = np.zeros(state.size)
        step[k] = 1e-6
        slope = (term.cost(state.moved(step)) - term.cost(state.moved(-step))) / 2e-6
        assert gradient[k] == pytest.approx(slope, rel=0.02, abs=0.01 * np.abs(gradient).max())


def test_errors_of_a_face_turned_the_other_way_are_the_mirror_image():
    errors = errors_of_open_head()
    left, right = errors.at(0.6, 0.1, 0.9), errors.at(-0.6, 0.1, 0.9)
    np.testing.assert_array_equal(errors.mirror[errors.mirror], np.arange(478))
    np.testing.assert_allclose(right.sigma, left.sigma[errors.mirror])
    np.testing.assert_allclose(right.fields, left.fields[:, errors.mirror] * [-1, 1])
    np.testing.assert_allclose(right.offset, left.offset[errors.mirror] * [-1, 1], atol=1e-3)


def test_errors_are_those_of_the_open_head_alone():
    assert errors_of(synthetic_head()) is None


def test_views_beyond_what_was_measured_are_taken_at_its_edge():
    errors = errors_of_open_head()
    np.testing.assert_array_equal(errors.at(3.0, 2.0, 0.01).offset, errors.at(0.95, 0.45, 0.3).offset)
