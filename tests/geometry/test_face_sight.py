"""The flat picture, its description, and what is read off it: geometry, symmetry, Gaussian algebra."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from synthetic_head import synthetic_head

from backend.geometry.face_patch import (
    PATCH_PX,
    PatchLayout,
    flat_places,
    flatten,
    level_frame,
    level_points,
    patch_layout,
    with_ring,
)
from backend.geometry.face_sight import FaceSight, Regression, ViewSight, from_arrays, to_arrays
from backend.geometry.flat_slopes import point_places, slopes
from backend.geometry.gradient_histograms import describe, mirrored
from backend.geometry.second_look import Heard, Left, SecondLook, Whitening, sharper
from backend.geometry.shape_belief import ShapeBelief, ShapeFields, similarity_fields
from backend.geometry.state import SHAPE
from backend.head.open_head import load_open_head
from synthdata.headmodel.landmarks import mirror_landmarks
from synthdata.shape_portraits.network import Shape, TrainedSight, exported

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def points():
    head = load_open_head()
    return head.mediapipe.positions(head.mean_vertices, head.triangles)


@pytest.fixture(scope="module")
def layout(points):
    return patch_layout(flat_places(points))


def test_a_picture_of_places_is_laid_flat_where_the_layout_says(points, layout):
    """Colour is position: at a point's place the flat picture shows where the point is in the photo."""
    size = 400
    y, x = np.mgrid[:size, :size].astype(np.float32) + 0.5
    seen = np.stack([200 + 1500 * points[:, 0], 200 - 1500 * points[:, 1]], 1).astype(np.float32)
    for k, plane in enumerate((x, y)):
        grey = np.repeat((plane / size)[..., None], 3, 2).astype(np.float32)
        flat = flatten(grey, seen, layout).astype(float) / 255 * size
        for index in (1, 61, 105, 152, 291, 454):
            column, row = (layout.places[index] * PATCH_PX).astype(int)
            assert flat[row, column] == pytest.approx(seen[index, k], abs=5)


def test_the_ring_surrounds_the_outline(points):
    every = with_ring(points[:, :2])
    assert every.shape == (504, 2)
    middle = every[:468].mean(0)
    assert (np.linalg.norm(every[468:] - middle, axis=1).min()) > 0.04


@pytest.mark.parametrize("roll", [0.0, 0.7, -2.0])
def test_level_points_know_neither_place_nor_size_nor_roll(points, roll):
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    flat = np.stack([points[:, 0], -points[:, 1]], 1)
    moved = 900 * flat @ turn.T + [321, 77]
    np.testing.assert_allclose(
        level_points(moved, -900 * points[:, 2]), level_points(flat, -points[:, 2]), atol=1e-5
    )
    frame = level_frame(moved)
    back = frame.level(moved) @ frame.turn.T * frame.size_px + frame.centre_px
    np.testing.assert_allclose(back, moved, atol=1e-8)


def test_the_mirror_image_of_a_description_is_that_of_the_mirror_image():
    patch = RNG.integers(1, 255, (2, PATCH_PX, PATCH_PX)).astype(np.uint8)
    patch[:, :20, :30] = 0
    seen = describe(np.ascontiguousarray(patch[:, :, ::-1]))
    np.testing.assert_allclose(mirrored(describe(patch), PATCH_PX), seen, atol=1e-5)


def test_twice_the_light_is_described_alike():
    smooth = 60 + 40 * np.sin(np.arange(PATCH_PX) / 9)[None, :] * np.cos(np.arange(PATCH_PX) / 7)[:, None]
    dim, bright = (describe(np.asarray(s * smooth, np.uint8)[None])[0] for s in (1.0, 2.0))
    assert np.linalg.norm(dim - bright) < 0.2 * np.linalg.norm(dim)


def made_up_sight(points, layout, bias=0.0) -> FaceSight:
    d = 478 * 3 + describe(np.ones((1, PATCH_PX, PATCH_PX), np.uint8)).shape[1]
    view = ViewSight(
        errors=Regression(
            bias + 0.01 * RNG.normal(size=956), 1e-4 * RNG.normal(size=(d, 4)), RNG.normal(size=(4, 956))
        ),
        error_fields=0.01 * RNG.normal(size=(3, 478, 2)),
        error_sigma=RNG.uniform(0.01, 0.02, 478),
        shape=Regression(RNG.normal(size=5), 1e-3 * RNG.normal(size=(d, 5)), np.eye(5)),
        shape_covariance=0.5 * np.eye(5),
    )
    fields = ShapeFields(np.arange(9), RNG.normal(size=(9, 3)), RNG.normal(size=(5, 9, 3)))
    yaw = np.zeros(478 * 3 + 1)
    yaw[1 * 3] = 1.0  # the tip of the nose points to where the face is turned
    mirror = mirror_landmarks(points.astype(np.float64))
    return FaceSight(layout, mirror, yaw, (view, view), fields, np.diag([1.0, -1, 1, -1, 1]))


def test_stored_and_read_again_it_says_the_same(points, layout):
    sight = made_up_sight(points, layout)
    again = from_arrays({k: np.array(v) for k, v in to_arrays(sight).items()})
    photo = RNG.random((300, 300, 3)).astype(np.float32)
    seen = np.stack([150 + 900 * points[:, 0], 150 - 900 * points[:, 1]], 1).astype(np.float32)
    (one, shape), (two, other) = (s.look(photo, seen, -900 * points[:, 2]) for s in (sight, again))
    np.testing.assert_allclose(two.offset_px, one.offset_px, atol=0.02 * np.abs(one.offset_px).max())
    np.testing.assert_allclose(two.sigma_px, one.sigma_px, rtol=1e-3)
    np.testing.assert_allclose(other.mean, shape.mean, atol=0.02)


def made_up_second(layout: PatchLayout) -> SecondLook:
    torch.manual_seed(2)
    shape = Shape(
        10, 8, gathered=5, channels=(4,) * 4, sharp=(4, 4), grown=(4,) * 3, wide=(4,) * 3, seen=8, heard=4
    )
    network = TrainedSight(shape, point_places(layout))
    torch.nn.init.normal_(network.say.weight, std=0.3)
    torch.nn.init.normal_(network.read, std=0.1)

    def seen(width: int, count: int) -> Whitening:
        axes = RNG.normal(size=(width, count)) / np.sqrt(width)
        return Whitening(np.zeros(width, np.float32), axes.astype(np.float32))

    left = Left(0.01 * RNG.normal(size=(3, 478, 2)), RNG.uniform(0.01, 0.02, 478), 0.3 * np.eye(5))
    heard = Heard(seen(478 * 3, 2), seen(956, 3), np.ones(5, np.float32))
    axes = 0.01 * RNG.normal(size=(3, 956)).astype(np.float32)
    sharp, inside = sharper(layout), layout.inside
    return SecondLook(exported(network.eval()), heard, axes, sharp, inside, slopes(layout), (left, left))


@pytest.mark.parametrize("looks", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("turn", [1.0, 30.0], ids=["ahead", "aside"])
def test_in_a_mirror_errors_and_shape_are_mirrored(points, layout, looks, turn):
    """The points' own yaw has a sign, so one of the two is looked at through the mirror inside."""
    sight = made_up_sight(points, layout)
    second = made_up_second(layout) if looks == 2 else None
    centred = dataclasses.replace(sight, yaw=turn * sight.yaw, second=second)
    photo = RNG.random((301, 301, 3)).astype(np.float32)
    seen = np.stack([150.5 + 900 * points[:, 0] + 9 * points[:, 2], 150.5 - 900 * points[:, 1]], 1)
    depth = -900 * points[:, 2]
    other = seen[sight.mirror] * [-1, 1] + [301, 0]
    one, belief = centred.look(photo, seen.astype(np.float32), depth)
    two, turned = centred.look(photo[:, ::-1], other.astype(np.float32), depth[sight.mirror])
    scale = np.abs(one.offset_px).max()
    np.testing.assert_allclose(two.offset_px, one.offset_px[sight.mirror] * [-1, 1], atol=0.15 * scale)
    np.testing.assert_allclose(turned.mean, sight.shape_mirror @ belief.mean, atol=0.1)
    np.testing.assert_allclose(two.sigma_px, one.sigma_px[sight.mirror], rtol=1e-6)


def test_a_second_look_tells_other_errors_and_what_it_leaves(points, layout):
    sight, second = made_up_sight(points, layout), made_up_second(layout)
    photo = RNG.random((300, 300, 3)).astype(np.float32)
    seen = np.stack([150 + 900 * points[:, 0], 150 - 900 * points[:, 1]], 1).astype(np.float32)
    depth = -900 * points[:, 2]
    twice = dataclasses.replace(sight, second=second)
    (one, shape), (two, other) = (s.look(photo, seen, depth) for s in (sight, twice))
    assert np.abs(two.offset_px - one.offset_px).max() > 0.01
    assert np.abs(other.mean - shape.mean).max() > 0.01
    np.testing.assert_allclose(other.covariance, 0.3 * np.eye(5), atol=1e-12)


def test_faces_turned_beyond_what_was_learned_are_left_alone(points, layout):
    sight = made_up_sight(points, layout)
    far = dataclasses.replace(sight, yaw=np.append(np.zeros(478 * 3), 1.3))
    seen = np.stack([150 + 900 * points[:, 0], 150 - 900 * points[:, 1]], 1).astype(np.float32)
    assert far.look(np.ones((300, 300, 3), np.float32), seen, -900 * points[:, 2]) is None


def believed(head, covariance, mean) -> ShapeBelief:
    rows = np.arange(0, len(head.mean_vertices), 7)
    face = head.mean_vertices[rows].astype(float)
    same = similarity_fields(face)
    raw = head.identity_basis[1:5][:, rows].reshape(4, -1).astype(float)
    raw -= (raw @ same) @ same.T
    u, s, _ = np.linalg.svd(raw.T, full_matrices=False)
    fields = (u * s / 2).T.reshape(4, len(rows), 3)
    return ShapeBelief(ShapeFields(rows, face, fields), mean, covariance)


class AtIdentity:
    """A state as far as the term looks at it."""

    def __init__(self, identity):
        self.identity = identity
        self.size = SHAPE + len(identity)


def test_the_term_is_least_where_the_shape_is_as_believed():
    head = synthetic_head()
    true = np.zeros(len(head.identity_basis))
    true[1:5] = [0.7, -0.4, 0.2, 0.5]
    shown = believed(head, 1e-6 * np.eye(4), np.zeros(4))
    a, b = shown.fields.of_identity(head)
    term = dataclasses.replace(shown, mean=a @ true + b).term(head, 1.0)
    solved = np.linalg.solve(term.hessian + 1e-6 * np.eye(len(true)), -term.slope)
    np.testing.assert_allclose(a @ solved + b, a @ true + b, atol=1e-3)
    assert term.cost(AtIdentity(solved)) < term.cost(AtIdentity(np.zeros_like(true)))


def test_a_belief_that_the_population_has_anyway_weighs_nothing():
    head = synthetic_head()
    term = believed(head, np.eye(4), np.zeros(4)).term(head, 1.0)
    np.testing.assert_allclose(term.hessian, 0, atol=1e-9)
    np.testing.assert_allclose(term.slope, 0, atol=1e-9)


def test_the_population_counted_again_is_a_prior_on_form():
    """A belief that tells nothing, with the population once: N(0, 1) of the coefficients, and no more."""
    head = synthetic_head()
    belief = believed(head, np.eye(4), np.zeros(4))
    a, b = belief.fields.of_identity(head)
    term = belief.term(head, 1.0, 1.0)
    at = 0.3 * RNG.normal(size=len(head.identity_basis))
    c = a @ at + b
    assert term.cost(AtIdentity(at)) == pytest.approx(0.5 * c @ c)


def test_with_the_populations_prior_the_term_gives_the_belief_back():
    """N(0, 1) times what the picture told is the regression's own posterior."""
    head = synthetic_head()
    covariance = np.diag([0.2, 0.5, 0.8, 0.3])
    mean = np.array([0.6, -0.3, 0.1, 0.9])
    belief = believed(head, covariance, mean)
    a, b = belief.fields.of_identity(head)
    term = belief.term(head, 1.0)
    solved = np.linalg.solve(term.hessian + a.T @ a + 1e-9 * np.eye(a.shape[1]), -term.slope - a.T @ b)
    np.testing.assert_allclose(a @ solved + b, mean, atol=1e-4)


def test_the_terms_model_is_its_slope():
    head = synthetic_head()
    term = believed(head, 0.3 * np.eye(4), np.ones(4)).term(head, 0.5)
    at = 0.3 * RNG.normal(size=len(head.identity_basis))
    gradient = term.model(AtIdentity(at)).gradient[SHAPE:]
    for k in range(0, len(at), 5):
        step = np.eye(len(at))[k] * 1e-5
        slope = (term.cost(AtIdentity(at + step)) - term.cost(AtIdentity(at - step))) / 2e-5
        assert gradient[k] == pytest.approx(slope, rel=1e-4, abs=1e-6)
