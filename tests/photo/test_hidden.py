"""A covered mouth, covered eyes: found on a portrait with things painted over, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from backend.artifacts import Observation, Photo, Run
from backend.geometry.fit import iris_colour
from backend.photo.eye_whites import eye_whites
from backend.photo.hidden import find_hidden
from backend.photo.landmarks import Landmarks
from backend.photo.observe import observe


def painted(photo: Photo, points: np.ndarray, colour: tuple[float, float, float]) -> Photo:
    """``photo`` with a polygon of one colour, its border soft."""
    mask = np.zeros(photo.rgb_srgb.shape[:2], np.float32)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.8)[..., None]
    return replace(
        photo, rgb_srgb=(photo.rgb_srgb * (1 - mask) + mask * np.float32(colour)).astype(np.float32)
    )


def landmarks_of(seen: Observation) -> Landmarks:
    return Landmarks(seen.landmarks_px, seen.landmarks_depth, seen.landmarks_visible, 1.0, 0.0)


def mask_outline(p: np.ndarray) -> np.ndarray:
    jaw = [132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361]
    return np.concatenate([p[jaw], p[[352]], p[[195]], p[[123]]])


def lens_outline(p: np.ndarray, corners: tuple[int, int]) -> np.ndarray:
    centre, width = p[list(corners)].mean(0), np.linalg.norm(p[corners[0]] - p[corners[1]])
    turn = np.linspace(0, 2 * np.pi, 40)
    return centre + width * np.stack([0.9 * np.cos(turn), 0.7 * np.sin(turn)], 1)


def test_nothing_is_hidden_in_a_plain_portrait(astronaut: Photo, astronaut_seen: Observation) -> None:
    hidden = find_hidden(astronaut, landmarks_of(astronaut_seen))
    assert (hidden.mouth, hidden.right_eye, hidden.left_eye) == (False, False, False)
    assert not hidden.points.any()
    assert not hidden.mask.any()


def test_in_black_and_white_lips_are_told_by_their_lightness(
    astronaut: Photo, astronaut_seen: Observation
) -> None:
    grey = astronaut.rgb_srgb.mean(-1, keepdims=True).repeat(3, -1)
    assert not find_hidden(replace(astronaut, rgb_srgb=grey), landmarks_of(astronaut_seen)).mouth


@pytest.mark.parametrize("colour", [(0.6, 0.75, 0.82), (0.08, 0.08, 0.09), (0.9, 0.9, 0.9), (0.8, 0.6, 0.5)])
def test_a_mask_over_the_mouth(
    astronaut: Photo, astronaut_seen: Observation, colour: tuple[float, float, float]
) -> None:
    p = astronaut_seen.landmarks_px
    hidden = find_hidden(painted(astronaut, mask_outline(p), colour), landmarks_of(astronaut_seen))
    assert (hidden.mouth, hidden.right_eye, hidden.left_eye) == (True, False, False)
    assert hidden.points[[13, 14, 61, 291, 17]].all()  # lips
    assert not hidden.points[[33, 133, 263, 362, 468, 473, 10, 151]].any()  # eyes, forehead
    column, row = p[13].astype(int)
    assert hidden.mask[row, column] > 0.9
    column, row = p[151].astype(int)
    assert hidden.mask[row, column] == 0


def test_one_eye_behind_a_dark_patch_and_both_behind_sunglasses(
    astronaut: Photo, astronaut_seen: Observation
) -> None:
    seen, p = landmarks_of(astronaut_seen), astronaut_seen.landmarks_px
    patched = painted(astronaut, lens_outline(p, (33, 133)), (0.1, 0.08, 0.07))
    one = find_hidden(patched, seen)
    assert (one.right_eye, one.left_eye, one.mouth) == (True, False, False)
    both = find_hidden(painted(patched, lens_outline(p, (263, 362)), (0.1, 0.08, 0.07)), seen)
    assert (both.right_eye, both.left_eye, both.mouth) == (True, True, False)
    assert both.points[[33, 133, 468, 263, 362, 473]].all()
    assert not both.points[[61, 291, 152]].any()


def test_a_covered_mouth_is_named_and_neither_skin_nor_landmark(
    astronaut: Photo, astronaut_seen: Observation
) -> None:
    p, run = astronaut_seen.landmarks_px, Run()
    seen = observe(painted(astronaut, mask_outline(p), (0.6, 0.75, 0.82)), run)
    assert sum("covers the mouth" in line for line in run.warnings) == 1
    assert len(run.warnings) == 1
    _guessed(seen, p, 13, 17)
    above = slice(None, int(p[6, 1]))
    assert seen.skin_mask[above].sum() > 0.5 * astronaut_seen.skin_mask[above].sum()
    assert (seen.landmarks_visible[[33, 263, 10]] > 0.9).all()


def test_covered_eyes_are_named_and_tell_nothing_of_skin_and_iris(
    astronaut: Photo, astronaut_seen: Observation
) -> None:
    p, run = astronaut_seen.landmarks_px, Run()
    covered = astronaut
    for corners in ((33, 133), (263, 362)):
        covered = painted(covered, lens_outline(p, corners), (0.05, 0.05, 0.06))
    seen = observe(covered, run)
    assert sum("covers both eyes" in line for line in run.warnings) == 1
    _guessed(seen, p, 33, 263, 159)
    for number in (205, 425):  # cheeks
        column, row = p[number].astype(int)
        assert seen.landmarks_visible[number] > 0.8
        assert seen.skin_mask[row, column] > 0.8
    assert eye_whites(seen.photo, seen.landmarks_px, seen.landmarks_visible) == ()
    iris_colour(seen, run)
    assert any("irises cannot be seen" in line for line in run.warnings)


def _guessed(seen: Observation, where_px: np.ndarray, *numbers: int) -> None:
    for number in numbers:
        column, row = where_px[number].astype(int)
        assert seen.landmarks_visible[number] == 0
        assert seen.skin_mask[row, column] < 0.1
