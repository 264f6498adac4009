"""The fit on the shipped head: synthetic people at every yaw, and the public-domain astronaut."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from synthetic_head import camera_at, observe

from backend.artifacts import Run
from backend.errors import Missing
from backend.geometry.fit import fit_head
from backend.geometry.landmark_fit import fit_landmarks, landmark_problem
from backend.geometry.normals import vertex_normals
from backend.geometry.options import FitOptions
from backend.head.registry import load_head


@pytest.fixture(scope="module")
def head():
    try:
        return load_head("open")
    except Missing as error:
        pytest.skip(str(error))


def person(head, seed):
    rng = np.random.default_rng(seed)
    identity = rng.normal(size=len(head.identity_basis))
    expression = np.zeros(len(head.expression_basis))
    expression[rng.choice(len(expression), 4, replace=False)] = rng.uniform(0.2, 0.8, 4)
    return identity, expression


def similarity_rms(a, b):
    """RMS distance after the best similarity (Umeyama 1991), metres."""
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    sign = np.sign(np.linalg.det(u @ vt))
    s[-1] *= sign
    u[:, -1] *= sign
    return float(np.sqrt(((s.sum() / (a**2).sum() * a @ u @ vt - b) ** 2).sum(1).mean()))


def seen_from(head, vertices, camera, seed):
    """Landmarks with 1 % of the eye distance of noise; those that face away are marked unseen."""
    observation = observe(head, vertices, camera, noise_px=1.5, seed=seed)
    triangle = head.triangles[np.maximum(head.mediapipe.triangle, 0)]
    normal = vertex_normals(vertices, head.triangles)[triangle].mean(1)
    view = camera.centre_head - vertices[triangle].mean(1)
    facing = (normal * view).sum(1) / np.linalg.norm(view, axis=1)
    return replace(observation, landmarks_visible=np.clip(facing / 0.3, 0, 1).astype(np.float32))


@pytest.mark.parametrize("yaw_deg", [0, 35, -80])
def test_faces_of_the_model_are_found_well_under_the_mean_head(head, yaw_deg):
    face = (head.regions["face"] > 0.5) & (head.mean_vertices[:, 2] > 0.0)
    options = FitOptions(landmark_sigma=0.01, expression_l1=0.5, expression_l2=1.0)
    ratios = []
    for seed in range(2):
        identity, expression = person(head, seed)
        vertices = head.shape(identity, expression)
        camera = camera_at(yaw=np.radians(yaw_deg), distance=0.9, focal=1500.0, size=800)
        problem = landmark_problem(seen_from(head, vertices, camera, seed), head, options)
        state = fit_landmarks(problem, np.ones(478, bool), head).state
        fitted = head.shape(state.identity)
        truth = head.shape(identity)
        ratios.append(
            similarity_rms(fitted[face], truth[face]) / similarity_rms(head.mean_vertices[face], truth[face])
        )
        turned = state.rotation @ camera.world_to_camera[:, :3].T
        assert np.degrees(np.arccos(np.clip((np.trace(turned) - 1) / 2, -1, 1))) < 5.0
    assert np.mean(ratios) < 0.8, ratios  # much of 160 modes lies between the points, or along the rays


@pytest.mark.slow
def test_the_astronaut_is_fitted(head, tmp_path):
    import cv2
    from skimage.data import astronaut

    from backend.photo.decode import load_photo
    from backend.photo.observe import observe as observe_photo

    path = tmp_path / "astronaut.png"
    cv2.imwrite(str(path), astronaut()[..., ::-1])
    run = Run(seed=1)
    observation = observe_photo(load_photo(path, run), run)
    start = time.process_time()
    fit = fit_head(observation, head, run)
    assert time.process_time() - start < 12
    assert fit.landmark_error_iod < 0.025
    assert fit.photometric_psnr_db > 17
    smile = [fit.expression[head.expression_names.index(f"mouthSmile{s}")] for s in ("Left", "Right")]
    assert min(smile) > 0.4  # she smiles
    assert fit.expression[head.expression_names.index("jawOpen")] < 0.1  # on closed teeth
    again = fit_head(observation, head, Run(seed=2))
    assert again.vertices_head.tobytes() == fit.vertices_head.tobytes()
    # The fitted eyes lie where the photo's irises are.
    eyes = np.stack(
        [fit.vertices_head[head.quads[head.quad_part == k].ravel()].mean(0) for k in _eye_parts(head)]
    )
    pixels, _ = fit.camera.project(eyes)
    assert np.abs(pixels - observation.landmarks_px[[473, 468]]).max() < 6


def _eye_parts(head):
    return [head.part_names.index("eye_left"), head.part_names.index("eye_right")]
