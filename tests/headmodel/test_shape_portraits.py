"""Learning from drawn portraits: a known linear relation is found; spoiled pictures stay pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.geometry.face_patch import PATCH_PX, flatten, level_frame, level_points
from backend.geometry.face_sight import regressions
from backend.geometry.flat_slopes import slopes
from backend.geometry.second_look import Left, SecondLook, sharper
from backend.head.open_head import load_open_head
from synthdata.shape_portraits.across import across_mm2
from synthdata.shape_portraits.crops import CROP_PX, FlatFace, level_crop
from synthdata.shape_portraits.drawing import DRAWN_PX, spoiled
from synthdata.shape_portraits.learn import Examples, Learner, principal, whitened
from synthdata.shape_portraits.lesson import Lesson, prepare
from synthdata.shape_portraits.network import exported
from synthdata.shape_portraits.sightings import face_rows, layout_of
from synthdata.shape_portraits.spoil import spoil
from synthdata.shape_portraits.train import Trainer


@pytest.fixture(scope="module")
def head():
    return load_open_head()


def test_rows_of_the_face_come_with_their_mirror_images(head):
    rows = face_rows(head)
    assert set(head.mirror_vertex[rows].tolist()) == set(rows.tolist())
    assert 1000 < len(rows) < 2500


def test_whitened_values_have_unit_variance():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(500, 6)) * [5, 3, 2, 1, 0.1, 0.1] + 7).astype(np.float32)
    out = whitened(values, 4)(values)
    np.testing.assert_allclose(np.cov(out.T, bias=True), np.eye(4), atol=1e-3)
    mean, variance, _ = principal(values, 4)
    np.testing.assert_allclose(mean, values.mean(0), atol=1e-3)
    assert (np.diff(variance) > 0).all()


def test_spoiled_pictures_stay_square_and_in_range():
    rng = np.random.default_rng(1)
    picture = rng.random((DRAWN_PX, DRAWN_PX, 3)).astype(np.float32)
    for _ in range(6):
        out = spoiled(picture, rng)
        assert out.shape[0] == out.shape[1] <= DRAWN_PX
        assert 0 <= out.min() <= out.max() <= 1


@pytest.mark.slow
def test_a_linear_relation_is_learned_and_its_noise_measured(head, monkeypatch):
    """Errors that follow from four hidden numbers which points and picture show; 0.02 of noise."""
    from synthdata.shape_portraits import learn

    for name, value in (("POINT_AXES", 8), ("PICTURE_AXES", 12), ("ERROR_AXES", 6), ("COEFFICIENTS", 4)):
        monkeypatch.setattr(learn, name, value)
    monkeypatch.setattr(learn, "RIDGE", 1.0)
    rng = np.random.default_rng(2)
    rows = face_rows(head)[::20]
    count = 400

    def shown(width: int, noise: float) -> np.ndarray:
        clean = hidden @ rng.normal(size=(4, width))
        return (clean + noise * rng.normal(size=(count, width))).astype(np.float32)

    hidden = rng.normal(size=(count, 4))
    examples = Examples(
        points=shown(478 * 3, 0.05),
        features=shown(PATCH_PX, 0.05),
        error=0.1 * shown(478 * 2, 0.2),
        offset_m=1e-3 * shown(3 * len(rows), 0.01),
        yaw=hidden[:, 0].astype(np.float32),
        fold=np.arange(count) % 5,
    )
    view = Learner(head, examples, rows).view(np.ones(count), np.ones(count, bool))
    told = view.errors(np.concatenate([examples.points, examples.features], 1).astype(float))
    left = examples.error - told
    assert left.std() < 0.2 * examples.error.std()
    assert np.diag(view.shape_covariance).max() < 0.1  # of a population whose variance is 1
    assert view.error_sigma.mean() == pytest.approx(0.02, rel=0.4)


def waves(size: int) -> np.ndarray:
    """A smooth picture ``(size, size, 3)`` that is nowhere like elsewhere."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:size, :size] / size
    sum_ = sum(np.sin(a * x + b * y + c) for a, b, c in rng.normal(size=(9, 3)) * [40, 40, 3])
    return np.repeat((0.5 + 0.07 * sum_)[..., None], 3, 2).astype(np.float32)


@pytest.mark.parametrize(("size", "roll"), [(300, 0.2), (500, 0.0), (1000, -0.3)])
def test_a_face_laid_flat_from_its_crop_is_the_photo_laid_flat(head, size, roll):
    """By other points than those that the crop was made about."""
    layout = sharper(layout_of(head))
    points = head.mediapipe.positions(head.mean_vertices, head.triangles).astype(np.float64)
    photo = waves(size)
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    photo_px = size / 2 + (3.6 * size * points[:, :2] * [1, -1]) @ turn.T
    frame = level_frame(photo_px)
    p = points[:, :2] * 40
    moved = 0.04 * np.stack([np.sin(p[:, 0] + p[:, 1]), np.cos(p[:, 0] - 0.5 * p[:, 1])], 1)
    elsewhere = photo_px + moved @ (frame.turn.T * frame.size_px)
    level = frame.level(elsewhere)
    crop = level_crop(photo, frame, (frame.level(photo_px), level))
    made = FlatFace(layout)(
        torch.from_numpy(crop.grey[None]).float(),
        torch.from_numpy(crop.box[None]),
        torch.from_numpy(level[None].astype(np.float32)),
    )[0].numpy()
    before, expected = (flatten(photo, at.astype(np.float32), layout) for at in (photo_px, elsewhere))
    assert crop.grey.shape == (CROP_PX, CROP_PX)
    assert not made[~layout.inside].any()
    off = np.abs(made - expected)[layout.inside].mean()
    assert off < 0.1 * np.abs(before.astype(float) - expected)[layout.inside].mean()


def test_spoiled_flat_pictures_stay_in_range():
    random = torch.Generator().manual_seed(3)
    out = spoil(255 * torch.rand(12, 40, 40, generator=random), random)
    assert out.shape == (12, 40, 40)
    assert 0 <= out.min() < out.max() <= 255


def sphere(count: int = 40, radius_m: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and outward triangles between two open poles."""
    polar, turn = np.meshgrid(np.linspace(0.05, np.pi - 0.05, count), np.arange(2 * count), indexing="ij")
    turn = turn * np.pi / count
    vertices = radius_m * np.stack(
        [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], 2
    )
    a = np.arange((count - 1) * 2 * count)
    ring = a // (2 * count) * 2 * count
    b = ring + (a + 1 - ring) % (2 * count)
    down = 2 * count
    return vertices.reshape(-1, 3), np.concatenate(
        [np.stack([a, a + down, b], 1), np.stack([b, a + down, b + down], 1)]
    ).astype(np.int32)


def test_only_what_is_left_across_the_surface_shows() -> None:
    """On a sphere: moved, turned, grown, slid along itself, nothing; of a P₂ of 1 mm its mean square."""
    vertices, triangles = sphere()
    out = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    slid = 1e-3 * np.cross(out, [0.3, 0.2, 1.0]) * np.sin(5 * out[:, :1])
    dent = 1e-3 * 0.5 * (3 * out[:, 2:] ** 2 - 1) * out
    still = [
        np.tile([1e-3, 2e-3, 0.0], (len(out), 1)),
        np.cross([0, 0.02, 0.01], vertices),
        0.01 * vertices,
        slid,
    ]
    fields = np.array([*still, dent, dent + 5 * still[0] + slid])
    shown = across_mm2(vertices, triangles, np.arange(len(vertices)), fields)
    np.testing.assert_allclose(shown[:4], 0, atol=2e-4)
    np.testing.assert_allclose(shown[4:, 4:], 1 / 5, rtol=0.02)  # ∫P₂² over the sphere


def made_up_lesson(count: int) -> Lesson:
    rng = np.random.default_rng(8)

    def some(*size: int) -> np.ndarray:
        return rng.normal(size=size).astype(np.float32)

    return Lesson(
        crop=rng.integers(1, 255, (count, CROP_PX, CROP_PX)).astype(np.uint8),
        box=np.tile(np.array([0, 0, 3], np.float32), (count, 1)),
        points=some(count, 478 * 3),
        error=0.1 * some(count, 478 * 2),
        told_error=0.1 * some(count, 478 * 2),
        shape=some(count, 4),
        told_shape=some(count, 4),
        yaw=rng.uniform(0, 0.8, count).astype(np.float32),
        mirror=np.arange(478),
        shape_mirror=np.diag([1, -1, 1, -1]).astype(np.float32),
        strength_mm=np.ones(4, np.float32),
        across_mm2=np.eye(4, dtype=np.float32),
    )


def test_a_mirror_image_twice_is_the_lesson():
    lesson = made_up_lesson(3)
    for name, value in vars(lesson.mirrored().mirrored()).items():
        np.testing.assert_array_equal(value, getattr(lesson, name))


def test_a_face_turned_right_is_learned_from_as_its_mirror_image(head, tmp_path):
    rng = np.random.default_rng(4)
    sight, rows = regressions(), face_rows(head)
    mean = head.mediapipe.positions(head.mean_vertices, head.triangles).astype(np.float64)
    turned = mean @ np.array([[0.9, 0, -0.436], [0, 1, 0], [0.436, 0, 0.9]])
    points = level_points(500 * turned[:, :2] * [1, -1], -500 * turned[:, 2])
    true = points[:, :2] + 0.01 * rng.normal(size=(478, 2)).astype(np.float32)
    patch, crop = (rng.integers(1, 255, (n, n)).astype(np.uint8) for n in (PATCH_PX, CROP_PX))
    offset = 1e-3 * rng.normal(size=(len(rows), 3))
    place = np.zeros(len(head.mean_vertices), int)
    place[rows] = np.arange(len(rows))
    offset_mirrored = offset[place[head.mirror_vertex[rows]]] * [-1, 1, 1]
    np.savez(
        tmp_path / "portraits_000000.npz",
        patch=np.stack([patch, patch[:, ::-1]]),
        crop=np.stack([crop, crop[:, ::-1]]),
        box=np.array([[0.1, 0.2, 3], [-0.1, 0.2, 3]], np.float32),
        points=np.stack([points, points[sight.mirror] * np.array([-1, 1, 1], np.float32)]),
        true=np.stack([true, true[sight.mirror] * np.array([-1, 1], np.float32)]),
        offset_m=np.stack([offset, offset_mirrored]),
    )
    lesson = prepare(head, tmp_path, sight)
    assert lesson.yaw == pytest.approx(0.45, abs=0.15)
    for name in ("crop", "box", "points", "error", "told_error", "shape", "told_shape", "yaw"):
        one, two = getattr(lesson, name).astype(float)
        np.testing.assert_allclose(two, one, atol=2e-2 * np.abs(one).max() + 1e-6)


def test_training_that_was_stopped_ends_like_one_that_was_not(head, tmp_path, monkeypatch):
    monkeypatch.setattr("synthdata.shape_portraits.train.BATCH", 8)
    lesson, layout = made_up_lesson(24), layout_of(head)
    tiny = {"channels": (4, 4, 4, 4), "sharp": (4, 4), "grown": (4, 4, 4), "seen": 8, "heard": 4}
    whole = Trainer(lesson, layout, 2, **tiny)
    whole.study()
    whole.keep(tmp_path / "training.pt")
    expected = whole.study()
    again = Trainer(lesson, layout, 2, **tiny)
    again.resume(tmp_path / "training.pt")
    assert again.epoch == 1
    assert again.study() == expected
    other = Trainer(lesson, layout, 3, **tiny)
    with pytest.raises(ValueError, match="2 epochs"):
        other.resume(tmp_path / "training.pt")
    nothing = Left(np.zeros((1, 478, 2)), np.ones(478), np.eye(4))
    begun = SecondLook(
        exported(whole.network),
        whole.heard,
        whole.axes,
        whole.layout,
        whole.coarse_inside,
        slopes(layout),
        (nothing, nothing),
    )
    taken_up = Trainer(lesson, layout, 2, begun, **tiny)
    held = np.flatnonzero(whole.is_held_out)
    for one, two in zip(whole.left(held), taken_up.left(held), strict=True):
        np.testing.assert_allclose(two, one, atol=0.03 * np.abs(one).max())
