"""Alignments of known transforms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from synthetic_cases import grid, rotation

from backend.evaluation.align import Similarity, fit_similarity, refine_to_surface, rigid_icp
from backend.evaluation.closest import Surface

TURN = rotation(0.3, -0.5, 0.9)


def test_a_known_similarity_is_found() -> None:
    points = np.random.default_rng(0).normal(size=(12, 3))
    known = Similarity(1.7, TURN, np.array([0.1, -2.0, 3.0]))
    found = fit_similarity(points, known.apply(points))
    assert found.scale == pytest.approx(1.7)
    np.testing.assert_allclose(found.rotation, TURN, atol=1e-12)
    np.testing.assert_allclose(found.apply(points), known.apply(points), atol=1e-12)
    np.testing.assert_allclose(found.inverse().apply(known.apply(points)), points, atol=1e-12)


def test_without_scale_the_size_stays() -> None:
    points = np.random.default_rng(1).normal(size=(30, 3))
    found = fit_similarity(points, 2 * points @ TURN.T, with_scale=False)
    assert found.scale == 1.0
    np.testing.assert_allclose(found.rotation, TURN, atol=1e-12)


def test_rotation_is_that_of_scipy_and_weights_count() -> None:
    rng = np.random.default_rng(2)
    a, b, w = rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), rng.random(20)
    found = fit_similarity(a, b, w, with_scale=False)
    ca, cb = w @ a / w.sum(), w @ b / w.sum()
    expected, _ = Rotation.align_vectors(b - cb, a - ca, weights=w)
    np.testing.assert_allclose(found.rotation, expected.as_matrix(), atol=1e-9)
    np.testing.assert_allclose(found.apply(ca), cb, atol=1e-12)


def test_a_mirror_image_is_not_a_rotation() -> None:
    points = np.random.default_rng(3).normal(size=(10, 3))
    found = fit_similarity(points, points * [1, 1, -1])
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_transforms_chain() -> None:
    first, second = Similarity(2.0, TURN, np.ones(3)), Similarity(0.5, TURN.T, np.array([1.0, 2, 3]))
    point = np.array([[0.3, -0.2, 0.7]])
    np.testing.assert_allclose(second.after(first).apply(point), second.apply(first.apply(point)))


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="three"):
        fit_similarity(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="one place"):
        fit_similarity(np.ones((5, 3)), np.ones((5, 3)))


def _saddle() -> tuple[np.ndarray, np.ndarray]:
    vertices, triangles = grid(0.08, 41)
    x, y = vertices[:, 0], vertices[:, 1]
    vertices[:, 2] = 0.01 * np.sin(80 * x) * np.cos(60 * y) + 3 * x * x
    return vertices, triangles


@pytest.mark.parametrize("move", [rigid_icp, refine_to_surface])
def test_a_surface_finds_back_to_its_points(move) -> None:
    vertices, triangles = _saddle()
    off = Similarity(1.0, rotation(0.03, -0.02, 0.04), np.array([0.001, -0.0015, 0.002]))
    inner = vertices[np.abs(vertices[:, :2]).max(1) < 0.03]
    found = move(inner, Surface(off.apply(vertices), triangles), Similarity(1.0, np.eye(3), np.zeros(3)))
    error = np.linalg.norm(found.after(off).apply(inner) - inner, axis=1)
    assert error.max() < (5e-4 if move is rigid_icp else 2e-5)  # point-to-point crawls towards the end


def test_refinement_never_ends_farther_away() -> None:
    vertices, triangles = _saddle()
    surface = Surface(vertices, triangles)
    points = vertices[::7] + np.random.default_rng(4).normal(scale=2e-3, size=(len(vertices[::7]), 3))
    start = Similarity(1.0, rotation(0.2, 0.1, 0.0), np.array([0.01, 0.0, 0.0]))
    before = (surface.closest(start.inverse().apply(points)).distance ** 2).mean()
    end = refine_to_surface(points, surface, start)
    after = (surface.closest(end.inverse().apply(points)).distance ** 2).mean()
    assert after < 0.2 * before
    assert end.scale == 1.0
