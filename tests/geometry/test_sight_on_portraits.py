"""What ships, on rendered portraits whose points are known: it tells Face Mesh's errors, and how well."""

from __future__ import annotations

import numpy as np
import pytest
from portraits import DATA

from backend.artifacts import Camera, Run
from backend.geometry.face_sight import open_head_sight
from backend.geometry.landmark_fit import measured_problem
from backend.geometry.options import FitOptions
from backend.head.open_head import load_open_head
from backend.photo.decode import load_photo
from backend.photo.observe import observe


@pytest.fixture(scope="module", params=["portrait_front", "portrait_turned"])
def portrait(request):
    """The observation, and where the visible points are: pixels ``(478, 2)``, mask ``(478,)``."""
    truth = np.load(DATA / f"{request.param}_truth.npz")
    width, height = (int(n) for n in truth["size_px"])
    cx, cy = (float(c) for c in truth["principal_px"])
    camera = Camera(float(truth["focal_px"]), (cx, cy), width, height, truth["world_to_camera"])
    seen = observe(load_photo(DATA / f"{request.param}.jpg"), Run())
    true, _ = camera.project(truth["points_head"])
    return seen, true, (seen.landmarks_visible > 0.5) & (truth["points_trust"] > 0.25)


def test_points_put_right_by_the_picture_lie_nearer_to_where_they_are(portrait):
    seen, true, known = portrait
    errors, _ = open_head_sight().look(seen.photo.rgb_srgb, seen.landmarks_px, seen.landmarks_depth)
    made = (seen.landmarks_px - true)[known]
    left = made - errors.offset_px[known]
    assert np.linalg.norm(left) < 0.95 * np.linalg.norm(made)


def test_what_is_left_is_as_large_as_it_says(portrait):
    seen, true, known = portrait
    errors, _ = open_head_sight().look(seen.photo.rgb_srgb, seen.landmarks_px, seen.landmarks_depth)
    left = (seen.landmarks_px - true - errors.offset_px)[known].reshape(-1)
    fields = errors.fields_px[:, known].reshape(len(errors.fields_px), -1)
    sigma = np.repeat(errors.sigma_px[known], 2)
    z = left @ np.linalg.solve(np.diag(sigma**2) + fields.T @ fields, left) / len(left)
    assert 0.1 < z < 3.0


def test_the_fit_of_the_open_head_hears_of_it(portrait):
    seen = portrait[0]
    problem = measured_problem(seen, load_open_head(), FitOptions())
    assert problem.shape is not None
    assert problem.outline is None  # its points are Face Mesh's, put right by now
