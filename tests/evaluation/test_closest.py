"""Closest points against trimesh."""

from __future__ import annotations

import numpy as np
import pytest

from backend.evaluation.closest import Surface


def _random_mesh(rng: np.random.Generator, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    vertices = rng.normal(size=(count, 3))
    triangles = rng.integers(count, size=(2 * count, 3))
    triangles = triangles[(triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2])]
    return vertices, triangles[triangles[:, 0] != triangles[:, 2]]


def test_distances_are_those_of_trimesh() -> None:
    trimesh = pytest.importorskip("trimesh")
    rng = np.random.default_rng(0)
    vertices, triangles = _random_mesh(rng)  # huge, crossing, thin triangles beside small ones
    points = rng.normal(size=(400, 3)) * 1.5
    hits = Surface(vertices, triangles).closest(points)
    # trimesh picks candidates from a mesh as it is: no merging, no removal
    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    _, distance, _ = trimesh.proximity.closest_point_naive(mesh, points)
    np.testing.assert_allclose(hits.distance, distance, atol=1e-9)


def test_many_that_are_nearly_as_close() -> None:
    """From near the middle of a dented ball every triangle is almost the closest."""
    trimesh = pytest.importorskip("trimesh")
    ball = trimesh.creation.icosphere(subdivisions=4)
    rng = np.random.default_rng(2)
    vertices = ball.vertices * (1 + 0.02 * rng.normal(size=(len(ball.vertices), 1)))
    points = 0.3 * rng.normal(size=(150, 3))
    hits = Surface(vertices, ball.faces).closest(points)
    mesh = trimesh.Trimesh(vertices, ball.faces, process=False)
    _, distance, _ = trimesh.proximity.closest_point_naive(mesh, points)
    np.testing.assert_allclose(hits.distance, distance, atol=1e-12)


def test_where_a_surface_ends() -> None:
    """A square of two triangles: its rim ends it, its diagonal does not."""
    square = Surface(
        np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
    )
    points = np.array([[0.5, 0.5, 1], [0.2, 0.1, 1], [0.5, -1, 0], [2, 2, 0]])
    assert list(square.on_border(square.closest(points))) == [False, False, True, True]


def test_the_point_lies_on_the_triangle_that_is_named() -> None:
    rng = np.random.default_rng(1)
    vertices, triangles = _random_mesh(rng, 50)
    points = rng.normal(size=(100, 3))
    surface = Surface(vertices, triangles)
    hits = surface.closest(points)
    assert (hits.barycentric >= 0).all()
    np.testing.assert_allclose(hits.barycentric.sum(1), 1)
    on = np.einsum("nk,nkc->nc", hits.barycentric, vertices[triangles[hits.triangle]])
    np.testing.assert_allclose(on, hits.point)
    np.testing.assert_allclose(np.linalg.norm(on - points, axis=1), hits.distance)


@pytest.mark.parametrize(
    ("point", "closest"),
    [
        ((0.25, 0.25, 2.0), (0.25, 0.25, 0.0)),  # the inside
        ((0.5, -3.0, 1.0), (0.5, 0.0, 0.0)),  # an edge
        ((1.0, 1.0, 0.0), (0.5, 0.5, 0.0)),  # the long edge
        ((-2.0, -1.0, 0.0), (0.0, 0.0, 0.0)),  # a corner
    ],
)
def test_inside_edge_and_corner(point: tuple[float, ...], closest: tuple[float, ...]) -> None:
    surface = Surface(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
    np.testing.assert_allclose(surface.closest(np.array([point])).point[0], closest, atol=1e-12)


def test_a_degenerate_triangle_counts_as_its_edges() -> None:
    surface = Surface(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]]))
    hits = surface.closest(np.array([[1.5, 1.0, 0.0], [3.0, 0.0, 0.0]]))
    np.testing.assert_allclose(hits.distance, [1, 1])


def test_nothing_or_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one triangle"):
        Surface(np.zeros((3, 3)), np.zeros((0, 3), int))
    with pytest.raises(ValueError, match="finite"):
        Surface(np.array([[0.0, 0, 0], [1, 0, np.nan], [0, 1, 0]]), np.array([[0, 1, 2]]))
