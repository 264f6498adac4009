"""The cotangent Laplacian against what it must give on a plane and for slivers."""

from __future__ import annotations

import numpy as np
import pytest

from backend.uvspace.cotangent import cotangent_operators


def square(side: int, seed: int = 0):
    """A unit square of ``side²`` jittered vertices in a plane that leans, its triangles and its rim."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, side)] * 2, indexing="ij"), -1).reshape(-1, 2)
    rim = (np.abs(grid - 0.5) > 0.499).any(1)
    grid[~rim] += rng.uniform(-0.2, 0.2, (int((~rim).sum()), 2)) / side
    a = np.arange(side * side).reshape(side, side)[:-1, :-1].reshape(-1)
    triangles = np.concatenate(
        [np.stack([a, a + side, a + 1], 1), np.stack([a + 1, a + side, a + side + 1], 1)]
    )
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0][:2]
    return grid, grid @ axes, triangles, rim


def test_on_a_plane_linear_functions_are_harmonic_and_their_energy_is_their_slope_squared():
    flat, points, triangles, rim = square(12)
    area, stiffness = cotangent_operators(points, triangles)
    assert area.sum() == pytest.approx(1)
    assert (area > 0).all()
    assert np.abs((stiffness @ points)[~rim]).max() < 1e-12
    assert flat[:, 0] @ stiffness @ flat[:, 0] == pytest.approx(1)
    slanted = 3 * flat[:, 0] - 4 * flat[:, 1] + 7
    assert slanted @ stiffness @ slanted == pytest.approx(25)


def test_an_unused_vertex_has_no_area_and_is_joined_to_nothing():
    _, points, triangles, _ = square(4)
    area, stiffness = cotangent_operators(np.concatenate([points, [[9.0, 9.0, 9.0]]]), triangles)
    assert area[-1] == 0
    assert stiffness[-1].count_nonzero() == 0


def test_weights_stay_within_the_limits_and_rows_sum_to_nothing():
    obtuse = np.array([[0, 0, 0], [1, 0, 0], [0.5, 1e-4, 0]])
    triangle = np.array([[0, 1, 2]])
    _, held = cotangent_operators(obtuse, triangle, (0.02, 20.0))
    edges = -held.toarray()[np.triu_indices(3, 1)]
    assert edges.min() == pytest.approx(0.01)
    assert edges.max() == pytest.approx(10)
    _, free = cotangent_operators(obtuse, triangle, (-1e9, 1e9))
    assert -free.toarray()[0, 1] == pytest.approx((1e-8 - 0.25) / 1e-4 / 2)
    for stiffness in (held, free):
        assert np.abs(stiffness.sum(1)).max() < 1e-9
