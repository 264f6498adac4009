"""The NoW protocol on shapes whose distances are known."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_cases import grid, open_shape, points_at, rotation, somebody

from backend.evaluation.align import Similarity
from backend.evaluation.now_protocol import face_rows, now
from backend.evaluation.realy import Shape
from backend.head.registry import load_head

# Eye corners, base of the nose and mouth corners on a flat face 80 mm wide.
FLAT = {
    36: (-0.04, 0.03, 0.0),
    39: (-0.015, 0.03, 0.0),
    42: (0.015, 0.03, 0.0),
    45: (0.04, 0.03, 0.0),
    33: (0.0, 0.0, 0.0),
    48: (-0.02, -0.03, 0.0),
    54: (0.02, -0.03, 0.0),
}


def transformed(shape: Shape, by: Similarity) -> Shape:
    return Shape(by.apply(shape.vertices), shape.triangles, by.apply(shape.key_points))


@pytest.fixture(scope="module")
def scan() -> Shape:
    return open_shape(somebody(3))


@pytest.mark.parametrize("with_scale", [True, False])
def test_the_scan_itself_is_at_no_distance(scan: Shape, with_scale: bool) -> None:
    found = now(scan, scan, with_scale=with_scale)
    assert found.median_mm == pytest.approx(0, abs=1e-6)
    assert found.std_mm == pytest.approx(0, abs=1e-6)


def test_place_and_size_are_taken_away_with_scale(scan: Shape) -> None:
    other = transformed(scan, Similarity(1000.0, rotation(1.0, 2.0, -0.5), np.array([5.0, 7.0, -1.0])))
    assert now(scan, other).mean_mm == pytest.approx(0, abs=1e-6)  # millimetres for metres


def _ball(radius: float) -> Shape:
    """A fine ball; its key points lie so far apart that the crop holds all of it."""
    count = 161
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, count), np.linspace(0, np.pi, count // 2))
    vertices = radius * np.stack([np.sin(v) * np.sin(u), np.cos(v), np.sin(v) * np.cos(u)], -1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(count // 2 - 1), np.arange(count - 1), indexing="ij")
    a = (row * count + column).ravel()
    triangles = np.concatenate(
        [np.stack([a, a + count, a + 1], 1), np.stack([a + 1, a + count, a + count + 1], 1)]
    )
    return Shape(vertices, triangles, points_at(FLAT) * (radius / 0.02))


def test_without_scale_a_ball_too_large_is_off_by_the_difference() -> None:
    """Two balls: the best place is one inside the other, everywhere (s − 1)·R apart."""
    radius, size = 0.02, 1.15
    truth, big = _ball(radius), _ball(radius * size)
    assert len(face_rows(truth)) == len(np.unique(truth.triangles))
    moved = transformed(big, Similarity(1.0, rotation(0.2, 0.1, 0.3), np.array([0.5, 0.2, 0.1])))
    found = now(truth, moved, with_scale=False)
    assert found.mean_mm == pytest.approx(1e3 * (size - 1) * radius, rel=0.02)
    assert found.median_mm == pytest.approx(1e3 * (size - 1) * radius, rel=0.02)
    assert found.std_mm < 0.05
    assert now(truth, moved).mean_mm < 0.02


def _plates(hole_m: float = 0.0) -> tuple[Shape, Shape]:
    vertices, triangles = grid(0.3, 151)
    wide, faces = grid(0.5, 501)
    gone = np.hypot(wide[:, 0], wide[:, 1]) < hole_m
    return (
        Shape(vertices, triangles, points_at(FLAT)),
        Shape(wide, faces[~gone[faces].any(1)], points_at(FLAT)),
    )


def test_the_crop_is_the_published_ball() -> None:
    scan, _ = _plates()
    rows = face_rows(scan)
    # Outer corners 80 mm apart, bridge 30 mm above the base: 1.4 · 55 mm about a point raised by 9 mm.
    away = np.linalg.norm(scan.vertices - [0, 0.009, 0], axis=1)
    assert set(rows) == set(np.flatnonzero(away <= 1.4 * 0.055))


def test_a_larger_prediction_costs_nothing_a_smaller_one_does() -> None:
    scan, wide = _plates()
    assert now(scan, wide).mean_mm == pytest.approx(0, abs=1e-6)
    hole = 0.03
    scan, torn = _plates(hole)
    points = scan.vertices[face_rows(scan)]
    expected = 1e3 * np.maximum(hole - np.hypot(points[:, 0], points[:, 1]), 0)
    found = now(scan, torn)
    assert found.mean_mm == pytest.approx(expected.mean(), rel=0.05)
    assert found.std_mm == pytest.approx(expected.std(), rel=0.05)
    assert found.median_mm == pytest.approx(0, abs=1e-6)  # most of the face is there


def test_a_known_offset_field_gives_its_statistics() -> None:
    _, wavy = _plates()
    vertices, triangles = grid(0.17, 301)  # several samples to a wave, for the median
    scan = Shape(vertices, triangles, points_at(FLAT))
    depth, k = 1e-3, 2 * np.pi / 0.02
    height = lambda v: depth * np.sin(k * v[:, 0]) * np.sin(k * v[:, 1])  # noqa: E731
    wavy.vertices[:, 2] = height(wavy.vertices)
    points = scan.vertices[face_rows(scan)]
    # A slope of up to 18 degrees brings the closest point a little nearer than straight above.
    expected = 1e3 * np.abs(height(points))
    found = now(scan, wavy)
    assert found.mean_mm == pytest.approx(expected.mean(), rel=0.05)
    assert found.median_mm == pytest.approx(np.median(expected), rel=0.07)
    assert found.std_mm == pytest.approx(expected.std(), rel=0.07)
    in_mm = now(scan, Shape(1e3 * wavy.vertices, wavy.triangles, 1e3 * wavy.key_points))
    assert in_mm.mean_mm == pytest.approx(found.mean_mm)  # told in the scan's size, not the prediction's


def test_the_fine_alignment_improves_on_the_landmarks(scan: Shape) -> None:
    """Landmarks that are 4 mm off leave the answer at 0: they only start the alignment."""
    wrong = scan.key_points.copy()
    wrong[33] += [0.0, 0.004, 0.003]
    found = now(scan, Shape(scan.vertices, scan.triangles, wrong), with_scale=False)
    assert found.mean_mm < 0.02


def test_the_mean_head_is_millimetres_away(scan: Shape) -> None:
    found = now(scan, open_shape(load_head("open").mean_vertices))
    assert 0.7 < found.median_mm < 3


def test_units_that_do_not_fit_are_told(scan: Shape) -> None:
    strange = Shape(scan.vertices, scan.triangles, scan.key_points + 10)
    with pytest.raises(ValueError, match="same units"):
        now(strange, scan)
    with pytest.raises(ValueError, match="eye corners"):
        now(
            Shape(scan.vertices, scan.triangles, points_at({36: (0, 0, 0), 48: (1, 0, 0), 54: (0, 1, 0)})),
            scan,
        )
