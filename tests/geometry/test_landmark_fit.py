"""The landmark fit against finite differences, exact synthetic truth and noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic_head import camera_at, observe, synthetic_head

from backend.errors import BadInput
from backend.geometry import face_mesh
from backend.geometry.landmark_fit import fit_landmarks, initial_state, landmark_problem
from backend.geometry.levenberg import minimise, total
from backend.geometry.options import FitOptions
from backend.geometry.state import FitState, rotation_exp, yaw_degrees
from backend.geometry.surface import gather, project, project_only

EVERY = np.ones(478, bool)
WEAK = FitOptions(
    landmark_sigma=1e-4, identity_sigma=1e3, expression_l1=0.0, expression_l2=1e-9,
    outline_tangent_weight=1.0, outline_normal_weight=1.0, iris_sigma=1e-4, focal_sigma_exif=1e-5,
)  # fmt: skip


@pytest.fixture(scope="module")
def head():
    return synthetic_head()


def truth(head, seed=3):
    rng = np.random.default_rng(seed)
    identity = rng.normal(size=len(head.identity_basis))
    expression = np.clip(rng.normal(0.1, 0.3, len(head.expression_basis)), 0, 1)
    return identity, expression


def random_state(head, seed=5) -> FitState:
    identity, expression = truth(head, seed)
    turn = rotation_exp(np.array([0.2, -0.4, 0.1])) @ np.diag([1.0, -1.0, -1.0])
    return FitState(
        turn, np.array([0.03, -0.02, 0.7]), np.log(1200.0), identity, expression, np.array([0.0, 0.01, 0.05])
    )


def test_projection_derivatives_match_finite_differences(head):
    state = random_state(head)
    m = head.mediapipe
    points = gather(head, m.triangle[:40], m.barycentric[:40])
    seen = project(points, state, (400.0, 300.0))
    np.testing.assert_allclose(seen.pixels, project_only(points, state, (400.0, 300.0)), atol=1e-9)
    for k in range(state.size):
        step = np.zeros(state.size)
        step[k] = 1e-5
        ahead = project(points, state.moved(step), (400.0, 300.0))
        behind = project(points, state.moved(-step), (400.0, 300.0))
        slope = (ahead.pixels - behind.pixels) / 2e-5
        np.testing.assert_allclose(seen.jacobian[:, :, k], slope, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(seen.depth_jacobian[:, k], (ahead.depth - behind.depth) / 2e-5, atol=1e-7)


def test_projection_agrees_with_the_camera_it_becomes(head):
    state = random_state(head)
    vertices = head.shape(state.identity, state.expression)
    m = head.mediapipe
    expected, _ = state.camera(800, 600).project(m.positions(vertices, head.triangles))
    got = project_only(gather(head, m.triangle, m.barycentric), state, (400.0, 300.0))
    np.testing.assert_allclose(got, expected, atol=2e-3)  # the basis is float32


@pytest.mark.parametrize("loss", ["square", "huber"])
def test_term_gradients_match_finite_differences(head, loss):
    state = random_state(head)
    camera = camera_at()
    seen = observe(head, head.shape(*truth(head)), camera, noise_px=2.0)
    problem = landmark_problem(seen, head, FitOptions())
    terms = problem.terms(EVERY, 120.0, loss)
    assert problem.iris is not None
    gradient = total(terms, state).gradient
    for k in range(state.size):
        step = np.zeros(state.size)
        step[k] = 1e-6
        slope = sum(t.cost(state.moved(step)) - t.cost(state.moved(-step)) for t in terms) / 2e-6
        assert gradient[k] == pytest.approx(
            slope, rel=1e-4, abs=1e-3 * max(1.0, np.abs(gradient).max() * 1e-3)
        )


@pytest.mark.parametrize("yaw", [0.0, -0.6, 1.2])
def test_noiseless_landmarks_give_pose_identity_and_expression_back(head, yaw):
    identity, expression = truth(head)
    camera = camera_at(yaw=yaw)
    vertices = head.shape(identity, expression)
    problem = landmark_problem(observe(head, vertices, camera), head, WEAK)
    start = fit_landmarks(problem, EVERY, head).state
    state = minimise(problem.terms(EVERY, 150.0, "square"), start, None, 200, 1e-14).state
    np.testing.assert_allclose(state.camera(800, 800).world_to_camera, camera.world_to_camera, atol=2e-3)
    np.testing.assert_allclose(state.expression, expression, atol=0.03)
    error = np.linalg.norm(head.shape(state.identity, state.expression) - vertices, axis=1)
    assert np.sqrt((error[vertices[:, 2] > 0.03] ** 2).mean()) < 1e-4


def test_a_noisy_fit_is_well_under_the_mean_head(head):
    ratios, errors = [], []
    front = head.mean_vertices[:, 2] > 0.04
    for seed in range(6):
        identity, expression = truth(head, 20 + seed)
        vertices = head.shape(identity, expression)
        seen = observe(head, vertices, camera_at(yaw=0.3 * (seed % 3 - 1)), noise_px=1.0, seed=seed)
        options = FitOptions(landmark_sigma=0.01)
        state = fit_landmarks(landmark_problem(seen, head, options), EVERY, head).state
        fitted = head.shape(state.identity, state.expression)
        errors.append(_aligned_rms(fitted[front], vertices[front]))
        ratios.append(errors[-1] / _aligned_rms(head.mean_vertices[front], vertices[front]))
    assert np.mean(ratios) < 0.3, (ratios, errors)
    assert np.mean(errors) < 1.0e-3, errors


def _aligned_rms(a, b):
    """RMS distance after the best similarity (Umeyama 1991), metres: one photo hardly knows the size."""
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    s[-1] *= np.sign(np.linalg.det(u @ vt))
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))
    return float(np.sqrt(((s.sum() / (a**2).sum() * a @ u @ vt - b) ** 2).sum(1).mean()))


def test_expression_stays_inside_its_bounds_and_touches_them(head):
    expression = np.linspace(-0.8, 1.8, len(head.expression_basis))  # beyond the model on both sides
    seen = observe(head, head.shape(truth(head)[0], expression), camera_at(), noise_px=0.5)
    state = fit_landmarks(landmark_problem(seen, head, FitOptions(landmark_sigma=0.005)), EVERY, head).state
    assert state.expression.min() == 0.0
    assert state.expression.max() == 1.0


def test_head_size_follows_the_iris(head):
    """The same picture with larger irises must be a smaller head, nearer: pixels alone cannot tell."""
    seen = observe(head, head.mean_vertices, camera_at(yaw=0.0))
    depth = []
    for factor in (0.9, 1.1):
        pixels = seen.landmarks_px.copy()
        for centre, ring in ((473, range(474, 478)), (468, range(469, 473))):
            for k in ring:
                pixels[k] = pixels[centre] + factor * (pixels[k] - pixels[centre])
        wide = FitOptions(identity_sigma=0.8)  # leaves people their size
        problem = landmark_problem(replace(seen, landmarks_px=pixels), head, wide)
        depth.append(fit_landmarks(problem, EVERY, head).state.translation[2])
    assert 1.02 < depth[0] / depth[1] < 1.25


@pytest.mark.parametrize("yaw_deg", [-80, -40, 0, 40, 80])
def test_the_start_is_near_the_pose_at_any_yaw(head, yaw_deg):
    """The camera turns by −yaw about the face, so the face turns by it."""
    camera = camera_at(yaw=np.radians(yaw_deg), pitch=0.0, roll=0.0)
    problem = landmark_problem(observe(head, head.mean_vertices, camera), head, FitOptions())
    state = initial_state(problem, EVERY, head)
    turned = state.rotation @ camera.world_to_camera[:, :3].T
    assert np.degrees(np.arccos((np.trace(turned) - 1) / 2)) < 10
    assert abs(yaw_degrees(state.rotation)) == pytest.approx(abs(yaw_deg), abs=10)


def test_the_prior_decides_where_landmarks_are_few(head):
    """With eight points kept, identity stays near the prior instead of chasing noise."""
    few = np.zeros(478, bool)
    few[[33, 263, 1, 61, 291, 152, 468, 473]] = True
    seen = observe(head, head.shape(truth(head)[0]), camera_at(), noise_px=8.0)
    state = fit_landmarks(landmark_problem(seen, head, FitOptions()), few, head).state
    assert np.abs(state.identity).max() < 3.0


def test_halves_are_disjoint_and_complete():
    fitted, held = face_mesh.halves()
    assert not (fitted & held).any()
    assert (fitted | held).all()


def test_degenerate_landmarks_are_refused(head):
    seen = observe(head, head.mean_vertices, camera_at())
    for bad in (np.full((478, 2), 100.0), np.full((478, 2), np.nan)):
        with pytest.raises(BadInput):
            landmark_problem(replace(seen, landmarks_px=bad.astype(np.float32)), head, FitOptions())
