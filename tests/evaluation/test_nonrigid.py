"""Bending a patch onto a surface, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_cases import grid

from backend.evaluation.align import Anchors
from backend.evaluation.closest import Surface
from backend.evaluation.nonrigid import bend_onto


def test_a_patch_on_its_own_surface_stays() -> None:
    vertices, triangles = grid()
    np.testing.assert_allclose(
        bend_onto(vertices, triangles, Surface(vertices, triangles)), vertices, atol=1e-12
    )


def test_a_smooth_bump_is_followed() -> None:
    vertices, triangles = grid(0.04, 31)
    wide, faces = grid(0.08, 121)
    bump = lambda v: 0.004 * np.exp(-(v[:, 0] ** 2 + v[:, 1] ** 2) / 0.012**2)  # noqa: E731
    wide[:, 2] = bump(wide)
    target = Surface(wide, faces)
    bent = bend_onto(vertices, triangles, target)
    assert target.closest(bent).distance.mean() < 1.5e-4
    assert target.closest(vertices).distance.mean() > 6e-4


@pytest.mark.parametrize("count", [21, 61])
def test_anchors_tell_what_closest_points_cannot(count: int) -> None:
    """A stretch along a plane leaves every closest distance at 0; only the anchors know of it."""
    vertices, triangles = grid(0.04, count)
    target = Surface(*grid(0.12, 25))
    at = np.array([[x, y, 0.0] for x in (-0.015, 0.0, 0.015) for y in (-0.015, 0.0, 0.015)])
    stretch = lambda p: p * [1.15, 1.0, 1.0]  # noqa: E731
    # Each anchor pulls as hard as a tenth of the patch, whatever its resolution.
    bent = bend_onto(vertices, triangles, target, Anchors(at, stretch(at), count * count / 10))
    moved = bent[:, 0] - vertices[:, 0]
    side = np.abs(np.abs(vertices[:, 0]) - 0.015) < 1e-3
    assert np.abs(moved[side]).mean() > 0.5 * 0.15 * 0.015
    assert np.abs(bent[:, 2]).max() < 1e-9


def test_an_anchor_of_another_place_does_not_pull() -> None:
    vertices, triangles = grid()
    far = Anchors(np.array([[0.0, 0.05, 0.0]]), np.array([[0.0, 0.08, 0.0]]), 50.0)
    bent = bend_onto(vertices, triangles, Surface(*grid(0.2, 5)), far)
    np.testing.assert_allclose(bent, vertices, atol=1e-9)


def test_a_surface_that_faces_away_does_not_pull() -> None:
    vertices, triangles = grid()
    back, faces = grid(0.08, 21)
    back[:, 2] = -0.005
    bent = bend_onto(vertices, triangles, Surface(back, faces[:, ::-1]))
    np.testing.assert_allclose(bent, vertices, atol=1e-9)
