"""The photometric term's derivatives, and that shading improves what landmarks leave open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic_head import camera_at, observe, synthetic_head
from test_light import key_light, render

from backend.artifacts import Run
from backend.errors import Cancelled
from backend.geometry import face_mesh
from backend.geometry.fit import estimate_appearance, fit_head, refine_photometrically
from backend.geometry.landmark_fit import (
    fit_landmarks,
    landmark_problem,
    without_iris_in_closed_eyes,
)
from backend.geometry.options import FitOptions
from backend.geometry.photometric import photometric_term
from backend.geometry.skin_samples import crop_face


@pytest.fixture(scope="module")
def head():
    return synthetic_head()


@pytest.fixture(scope="module")
def scene(head):
    """A person: (observation, true vertices, true identity)."""
    rng = np.random.default_rng(4)
    identity = rng.normal(size=20)
    identity[0] = 0.0  # size is not the shading's to tell
    vertices = head.shape(identity)
    camera = camera_at(yaw=0.15)
    light = key_light((0.5, 0.5, 0.7), (1.0, 1.0, 1.0))
    picture, mask = render(head, vertices, camera, light, np.zeros(4, np.float32))
    return observe(head, vertices, camera, 3.0, 1, rgb=picture, skin=mask), vertices, identity


def test_photometric_gradient_matches_finite_differences(head, scene):
    observation, _, _ = scene
    options = replace(FitOptions(), robust_width=50.0)  # the IRLS weights' own slope is left out by design
    problem = landmark_problem(observation, head, options)
    state = fit_landmarks(problem, np.ones(478, bool), head).state
    seen = estimate_appearance(observation, head, state, crop_face(observation))
    term = photometric_term(seen.samples, seen.light, head, state, problem.principal_px, options)
    # A picture that is linear in x and y, so that its bilinear reading has an exact derivative.
    y, x = np.mgrid[0 : len(term.picture), 0 : len(term.picture)] / len(term.picture)
    slopes = np.ones_like(term.picture_gradient) * np.array([0.2, 0.1]) / len(term.picture)
    term = replace(term, picture=0.3 + 0.2 * x + 0.1 * y, picture_gradient=slopes)
    gradient = term.model(state).gradient
    for k in range(state.size):
        step = np.zeros(state.size)
        step[k] = 1e-5
        slope = (term.cost(state.moved(step)) - term.cost(state.moved(-step))) / 2e-5
        assert gradient[k] == pytest.approx(slope, rel=2e-3, abs=1e-3 * np.abs(gradient).max())


def test_what_light_or_albedo_explain_is_no_evidence_of_shape(head, scene):
    """The cost is that of residuals with the covariance which uncertain light and albedo give them."""
    observation, _, _ = scene
    options = replace(FitOptions(), robust_width=1e6)
    problem = landmark_problem(observation, head, options)
    state = fit_landmarks(problem, np.ones(478, bool), head).state
    seen = estimate_appearance(observation, head, state, crop_face(observation))
    term = photometric_term(seen.samples, seen.light, head, state, problem.principal_px, options)
    counted = term.share > 0
    shown = term._encoded(term._normals(state)[0])[0]
    r = (term._read(term.picture, term._pixels(state)) - shown)[counted]
    u = term.explained[counted]
    covariance = np.diag(term.sigma**2 / term.share[counted]) + u @ u.T
    assert term.cost(state) == pytest.approx(0.5 * r @ np.linalg.solve(covariance, r), rel=1e-6)
    brighter = replace(term, picture=term.picture * 1.1)
    certain = replace(brighter, explained=np.zeros_like(term.explained))
    assert brighter.cost(state) < 0.2 * certain.cost(state)


def test_shading_brings_the_shape_nearer_to_the_truth(head, scene):
    """Landmarks 3 px off; the shading of the same face must pull the surface back towards it.

    The picture is exactly of the model's making, so its samples may count for more than a photo's.
    """
    observation, vertices, _ = scene
    # Without an outline, which would tell part of the same.
    observation = replace(observation, person_mask=np.ones_like(observation.person_mask))
    problem = landmark_problem(observation, head, FitOptions(landmark_sigma=0.015, photometric_points=1200.0))
    every = np.ones(478, bool)
    plain = fit_landmarks(problem, every, head)
    refined = refine_photometrically(observation, head, problem, plain, every, crop_face(observation))
    front = vertices[:, 2] > 0.05
    before, after = (
        _similarity_rms(head.shape(s.state.identity, s.state.expression)[front], vertices[front])
        for s in (plain, refined)
    )
    assert after < 0.9 * before, (before, after)


def _similarity_rms(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    return float(np.sqrt(((s.sum() / (a**2).sum() * a @ u @ vt - b) ** 2).sum(1).mean()))


def test_fit_head_end_to_end_is_deterministic_and_explains_the_picture(head, scene):
    observation, vertices, _ = scene
    first, second = (fit_head(observation, head, Run(seed=3)) for _ in range(2))
    for name in ("identity", "expression", "albedo_coefficients", "radiance_sh", "vertices_head"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes(), name
    assert first.camera.world_to_camera.tobytes() == second.camera.world_to_camera.tobytes()
    assert first.landmark_error_px < 6.0
    assert 0.005 < first.landmark_error_iod < 0.06
    assert first.photometric_psnr_db > 30
    assert first.expression.min() >= 0
    assert first.expression.max() <= 1
    front = vertices[:, 2] > 0.05
    fitted = _similarity_rms(first.vertices_head[front], vertices[front])
    assert fitted < 0.6 * _similarity_rms(head.mean_vertices[front], vertices[front])


def test_bare_landmarks_without_skin_are_fitted_with_a_warning(head, scene):
    observation = replace(scene[0], skin_mask=np.zeros_like(scene[0].skin_mask))
    run = Run()
    fit = fit_head(observation, head, run)
    assert any("skin" in w for w in run.warnings)
    assert np.isfinite(fit.radiance_sh).all()
    assert np.isfinite(fit.photometric_psnr_db)


def test_wild_landmarks_are_reported(head, scene):
    rng = np.random.default_rng(0)
    wild = scene[0].landmarks_px + 25 * rng.normal(size=(478, 2)).astype(np.float32)
    run = Run()
    fit_head(replace(scene[0], landmarks_px=wild), head, run)
    assert any("held-out landmarks" in w for w in run.warnings)


def test_closed_eyes_leave_size_and_gaze_to_the_average(head, scene):
    """Lids shut in the landmarks: no iris measurement, no iris points, and the artist is told."""
    pixels = scene[0].landmarks_px.copy()
    for upper, lower, _, _ in face_mesh.EYE_OPENING:
        pixels[upper] = pixels[lower]
    run = Run()
    observation = replace(scene[0], landmarks_px=pixels)
    problem = without_iris_in_closed_eyes(landmark_problem(observation, head, FitOptions()), pixels)
    assert problem.iris is None
    assert problem.importance[np.isin(problem.rows, face_mesh.IRISES)].max() == 0
    fit_head(observation, head, run)
    assert any("eyes are closed" in w for w in run.warnings)


def test_a_profile_is_reported(head):
    camera = camera_at(yaw=np.radians(75))
    run = Run()
    fit = fit_head(observe(head, head.mean_vertices, camera), head, run)
    assert any("turned" in w for w in run.warnings)
    np.testing.assert_allclose(fit.camera.world_to_camera[:, :3], camera.world_to_camera[:, :3], atol=0.06)


def test_exif_focal_length_is_kept_and_an_estimate_may_move(head):
    """The true focal length is 1400 px; told 1000, an EXIF value is believed and an estimate is bent."""
    found = {}
    for source in ("exif", "estimated"):
        seen = observe(head, head.mean_vertices, camera_at(distance=0.45), focal_source=source)
        found[source] = fit_head(replace(seen, focal_px=1000.0), head, Run()).camera.focal_px
    assert abs(found["exif"] - 1000) < abs(found["estimated"] - 1000)
    assert found["exif"] == pytest.approx(1000, rel=0.08)
    assert found["estimated"] > 1080


def test_cancel_stops_the_fit(head, scene):
    with pytest.raises(Cancelled):
        fit_head(scene[0], head, Run(is_cancelled=lambda: True))
