"""The REALY protocol on shapes whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_cases import grid, open_shape, points_at, rotation, somebody

from backend.evaluation.align import Similarity
from backend.evaluation.closest import Surface
from backend.evaluation.keypoints import ALIGNING, CORRESPONDING, SEVEN
from backend.evaluation.realy import Shape, all_mm, realy
from backend.evaluation.regions import REGIONS, label_regions
from backend.head.registry import load_head

MOVED = Similarity(1.0, rotation(0.4, -0.8, 0.2), np.array([0.3, -0.1, 2.0]))


def transformed(shape: Shape, by: Similarity) -> Shape:
    return Shape(by.apply(shape.vertices), shape.triangles, by.apply(shape.key_points))


@pytest.fixture(scope="module")
def person() -> tuple[Shape, dict[str, np.ndarray]]:
    shape = open_shape(somebody())
    return shape, label_regions(shape.vertices, shape.key_points)


def means(found: dict) -> dict[str, float]:
    return {name: errors.mean_mm for name, errors in found.items()}


@pytest.mark.parametrize("with_scale", [True, False])
def test_the_truth_itself_has_no_error(person, with_scale: bool) -> None:
    truth, regions = person
    found = realy(truth, regions, truth, with_scale=with_scale)
    assert set(found) == set(REGIONS)
    assert all_mm(found) == pytest.approx(0, abs=1e-6)


def test_place_and_size_are_no_error_with_scale(person) -> None:
    truth, regions = person
    big = transformed(truth, Similarity(1.2, MOVED.rotation, MOVED.translation))
    assert all_mm(realy(truth, regions, big)) == pytest.approx(0, abs=1e-6)
    without = means(realy(truth, regions, big, with_scale=False))
    assert min(without.values()) > 1  # 20 % too large is more than a millimetre anywhere


def flat_face(height_m, hole_m: float = 0.0) -> tuple[Shape, Shape, dict[str, np.ndarray]]:
    """A 40 mm patch, the nose, and a 120 mm plate bent to ``height_m(x, y)``, with a round hole."""
    places = {row: (0.05 * np.cos(k), 0.05 * np.sin(k), 0.0) for k, row in enumerate(SEVEN)}
    vertices, triangles = grid(0.04, 41)
    truth = Shape(vertices, triangles, points_at(places))
    wide, faces = grid(0.12, 241)
    if hole_m:
        gone = np.hypot(wide[:, 0], wide[:, 1]) < hole_m
        faces = faces[~gone[faces].any(1)]
    wide[:, 2] = height_m(wide[:, 0], wide[:, 1])
    return truth, Shape(wide, faces, points_at(places)), {"nose": np.ones(len(vertices), bool)}


def test_a_known_offset_field_gives_its_mean() -> None:
    """Whole waves have neither mean nor slope, so that no rigid motion takes part of them away."""
    depth, k = 0.5e-3, 2 * np.pi / 0.02
    truth, wavy, regions = flat_face(lambda x, y: depth * np.sin(k * x) * np.sin(k * y))
    x, y = truth.vertices[:, 0], truth.vertices[:, 1]
    expected = np.abs(depth * np.sin(k * x) * np.sin(k * y)).mean() * 1e3
    assert means(realy(truth, regions, wavy))["nose"] == pytest.approx(expected, rel=0.06)


def test_a_missing_part_costs_the_way_to_its_edge() -> None:
    """Inside a hole of radius r in a plate the way to the plate is r − ρ; outside it is 0."""
    hole = 0.012
    truth, torn, regions = flat_face(lambda x, y: 0 * x, hole)
    away = np.hypot(truth.vertices[:, 0], truth.vertices[:, 1])
    expected = np.maximum(hole - away, 0).mean() * 1e3
    assert expected > 1
    assert means(realy(truth, regions, torn))["nose"] == pytest.approx(expected, rel=0.08)


def test_distance_runs_from_the_truth_to_the_prediction() -> None:
    """What the prediction has beyond the region costs nothing; the other direction would say 30 mm."""
    truth, plate, regions = flat_face(lambda x, y: 0 * x)
    assert means(realy(truth, regions, plate))["nose"] == pytest.approx(0, abs=1e-6)
    back = Surface(truth.vertices, truth.triangles).closest(plate.vertices).distance
    assert back.mean() > 0.02


def test_each_region_is_aligned_by_itself(person) -> None:
    """A nose that is right but 4 mm too far out is a fault of its place, not of its shape."""
    truth, regions = person
    from scipy.spatial import cKDTree

    nose = truth.vertices[regions["nose"]]

    def pushed(points: np.ndarray) -> np.ndarray:
        away, _ = cKDTree(nose).query(np.nan_to_num(points))
        out = 0.004 * np.clip(1 - (away - 0.004) / 0.012, 0, 1)  # whole to 4 mm around it, then falling
        return points + out[:, None] * [0, 0, 1]

    other = Shape(pushed(truth.vertices), truth.triangles, pushed(truth.key_points))
    found = means(realy(truth, regions, other))
    plain = Surface(other.vertices, other.triangles).closest(nose).distance.mean() * 1e3
    assert plain > 1.0  # what a global alignment alone would say
    assert found["nose"] < 0.25 * plain


def test_key_points_find_what_slid_along_the_surface(person) -> None:
    """Lips drawn wide over the same skin: closest points hardly see it, corresponding points do."""
    truth, regions = person
    mouth = truth.vertices[regions["mouth"]].mean(0)
    points = truth.key_points.copy()
    rows = list(CORRESPONDING["mouth"])
    points[rows, 0] += 0.25 * (points[rows, 0] - mouth[0])  # the corners 6 mm farther apart each
    surface = Surface(truth.vertices, truth.triangles)
    points[rows] = surface.closest(points[rows]).point
    slid = means(realy(truth, regions, Shape(truth.vertices, truth.triangles, points), with_scale=False))
    assert slid["mouth"] > 1.0
    assert slid["forehead"] < 0.5  # what did not slide is hardly touched by it


def test_the_mean_head_is_millimetres_away(person) -> None:
    truth, regions = person
    found = realy(truth, regions, open_shape(load_head("open").mean_vertices))
    assert min(means(found).values()) > 0.4
    assert 0.8 < all_mm(found) < 4


def test_a_region_that_is_empty_is_left_out(person) -> None:
    truth, regions = person
    some = regions | {"cheek": np.zeros(len(truth.vertices), bool)}
    found = realy(truth, some, truth)
    assert set(found) == {"nose", "mouth", "forehead"}
    assert all_mm(found) is None


def test_too_few_key_points_are_told(person) -> None:
    truth, regions = person
    blind = Shape(truth.vertices, truth.triangles, np.full((85, 3), np.nan))
    with pytest.raises(ValueError, match="0 of the 7"):
        realy(truth, regions, blind)


def test_regions_lie_where_they_are_called(person) -> None:
    truth, regions = person
    total = np.sum(list(regions.values()), axis=0)
    assert total.max() == 1  # no vertex in two
    centre = {name: truth.vertices[mask].mean(0) for name, mask in regions.items()}
    assert centre["forehead"][1] > centre["nose"][1] > centre["mouth"][1]
    for name, rows in (("nose", range(28, 31)), ("mouth", (51, 57)), ("forehead", (19, 24))):
        gap = Surface(truth.vertices, truth.triangles[regions[name][truth.triangles].all(1)])
        assert gap.closest(truth.key_points[list(rows)]).distance.max() < 0.004
    assert all(len(np.unique(ALIGNING[name])) == len(ALIGNING[name]) for name in REGIONS)


def test_regions_do_not_depend_on_the_mesh(person) -> None:
    """The same surface with every vertex moved within its triangles has the same regions."""
    truth, regions = person
    corner = truth.vertices[truth.triangles]
    middle = corner.mean(1)
    found = label_regions(middle, truth.key_points)
    for name, mask in regions.items():
        inside = mask[truth.triangles].all(1)
        assert (found[name] & inside).sum() > 0.97 * inside.sum()
