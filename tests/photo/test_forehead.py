"""Foreheads: strands before one are not skin, another light on one is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from photo_pictures import as_photo

from backend.artifacts import Observation, Run
from backend.photo import face_regions as regions
from backend.photo.observe import observe
from backend.photo.skin import relative_lightness

PORTRAIT = Path(__file__).parents[1] / "data" / "portrait_front.jpg"
FOREHEAD = (*regions.RIGHT_FOREHEAD, *regions.LEFT_FOREHEAD)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.asarray(cv2.imread(str(PORTRAIT), cv2.IMREAD_COLOR)[..., ::-1])


@pytest.fixture(scope="module")
def bare(picture: np.ndarray) -> Observation:
    return observe(as_photo(picture), Run())


def _forehead(seen: Observation) -> np.ndarray:
    """Half-way from the brows to the hair line, both halves."""
    shape = seen.skin_mask.shape
    halves = [regions.fill(shape, seen.landmarks_px, part) for part in (FOREHEAD[:6], FOREHEAD[6:])]
    rows = np.arange(shape[0])[:, None] + 0.5
    return (np.maximum(*halves) > 0) & (rows < seen.landmarks_px[[105, 334], 1].min() - 8)


def test_a_bare_forehead_is_skin(bare: Observation) -> None:
    assert bare.skin_mask[_forehead(bare)].mean() > 0.9


def test_relative_lightness_is_alike_in_shadow_and_sun() -> None:
    def steps(light: float) -> np.ndarray:
        luminance = light * np.array([0.3, 0.2, 0.1])
        return np.diff(relative_lightness((116 * np.cbrt(luminance) - 16).astype(np.float32)))

    assert steps(1.0) == pytest.approx(steps(0.15), rel=1e-3)
    assert relative_lightness(np.array([60.0, 61.0], np.float32)) == pytest.approx([60.0, 61.0], abs=0.01)


def _shaded(picture: np.ndarray, points: np.ndarray, share: float) -> np.ndarray:
    """The picture with ``share`` of the light (of sRGB values) taken from the image's right half."""
    across = (np.arange(picture.shape[1]) - float(points[10, 0])) / 6
    gain = 1 - share / (1 + np.exp(-across))
    return np.asarray((picture * gain[None, :, None]).astype(np.uint8))


@pytest.mark.parametrize("shade", [0.0, 0.8])
def test_a_fringe_through_which_skin_shows_is_not_skin(
    picture: np.ndarray, bare: Observation, shade: float
) -> None:
    points = bare.landmarks_px
    left, right = points[[103, 332], 0]
    top = points[10, 1] - 0.15 * (points[152, 1] - points[10, 1])
    bottom = points[[105, 334], 1].min() - 3
    rng = np.random.default_rng(0)
    canvas = cv2.resize(picture, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    # Half of the skin stays visible between the strands.
    for x in np.arange(left, right, 1.6) + rng.normal(0, 0.4, len(np.arange(left, right, 1.6))):
        ends = ((4 * x, 4 * top), (4 * (x + rng.normal(0, 4)), 4 * (bottom - rng.uniform(0, 6))))
        cv2.line(canvas, *(tuple(int(v) for v in end) for end in ends), (90, 66, 52), 4, cv2.LINE_AA)
    fringed = cv2.resize(canvas, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    seen = observe(as_photo(_shaded(fringed, points, shade)), Run())
    assert seen.skin_mask[_forehead(bare)].mean() < 0.2
    for patch in (regions.RIGHT_CHEEK, regions.LEFT_CHEEK):
        assert seen.skin_mask[regions.fill(seen.skin_mask.shape, points, patch) > 0].mean() > 0.9


def test_strands_that_hang_from_a_fringe_over_the_brows_are_not_skin(
    picture: np.ndarray, bare: Observation
) -> None:
    points = bare.landmarks_px
    left, right = points[[103, 332], 0]
    height = points[152, 1] - points[10, 1]
    top, bottom = points[10, 1] - 0.15 * height, points[[105, 334], 1].min() - 3
    lids = points[[159, 386], 1].mean() - 0.05 * height
    rng = np.random.default_rng(1)
    canvas, tips = (
        cv2.resize(picture, None, fx=4, fy=4),
        np.zeros([4 * n for n in picture.shape[:2]], np.uint8),
    )
    for number, x in enumerate(
        np.arange(left, right, 1.2) + rng.normal(0, 0.3, len(np.arange(left, right, 1.2)))
    ):
        end = lids if number % 5 == 0 else bottom
        cv2.line(canvas, (int(4 * x), int(4 * top)), (int(4 * x), int(4 * end)), (60, 44, 36), 5, cv2.LINE_AA)
        if number % 5 == 0:
            cv2.line(tips, (int(4 * x), int(4 * bottom + 8)), (int(4 * x), int(4 * end)), 255, 5)
    fringed = cv2.resize(canvas, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    hair = cv2.resize(tips, picture.shape[1::-1], interpolation=cv2.INTER_AREA) > 128
    skin = observe(as_photo(fringed), Run()).skin_mask
    assert hair.sum() > 30
    assert skin[hair].mean() < 0.25
    for patch in (regions.RIGHT_CHEEK, regions.LEFT_CHEEK):
        assert skin[regions.fill(skin.shape, points, patch) > 0].mean() > 0.9


def test_strands_that_hang_beside_the_eyes_are_followed_down_the_temple(
    picture: np.ndarray, bare: Observation
) -> None:
    points = bare.landmarks_px
    height = points[152, 1] - points[10, 1]
    top, brows = points[10, 1] - 0.15 * height, points[[105, 334], 1].min() - 3
    far, eye = points[127, 0] + 2, points[33, 0] - 0.06 * height
    canvas, locks = (
        cv2.resize(picture, None, fx=4, fy=4),
        np.zeros([4 * n for n in picture.shape[:2]], np.uint8),
    )

    def strand(
        drawn: np.ndarray, x: float, start: float, end: float, colour: int | tuple[int, int, int], width: int
    ) -> None:
        ends = [(int(4 * x), int(4 * y)) for y in (start, end)]
        cv2.line(drawn, *ends, colour, width, cv2.LINE_AA)

    for x in np.arange(far, points[332, 0], 1.2):
        strand(canvas, x, top, brows, (60, 44, 36), 5)
    for x in np.arange(far + 2, eye, 5):
        strand(canvas, x, top, brows + 0.27 * height, (110, 80, 66), 3)
        if x > far + 12:  # clear of the hair behind; lower than strands hang over brows
            strand(locks, x, brows + 0.18 * height, brows + 0.27 * height, 255, 4)
    fringed, hair = (
        cv2.resize(a, picture.shape[1::-1], interpolation=cv2.INTER_AREA) for a in (canvas, locks)
    )
    skin = observe(as_photo(fringed), Run()).skin_mask
    assert (hair > 128).sum() > 30
    assert skin[hair > 128].mean() < 0.3
    for patch in (regions.RIGHT_CHEEK, regions.LEFT_CHEEK):
        assert skin[regions.fill(skin.shape, points, patch) > 0].mean() > 0.85


def test_half_a_forehead_in_another_light_is_skin(picture: np.ndarray, bare: Observation) -> None:
    seen = observe(as_photo(_shaded(picture, bare.landmarks_px, 0.55)), Run())
    assert seen.skin_mask[_forehead(bare)].mean() > 0.8
