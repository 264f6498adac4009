"""The white of the eye and the skin below it, in painted eyes of known colours."""

from __future__ import annotations

import numpy as np
import pytest

from backend.artifacts import Photo
from backend.colour import linear_to_srgb
from backend.photo import face_regions as regions
from backend.photo.eye_whites import _LIDS_LEFT, _LIDS_RIGHT, eye_whites
from backend.photo.mesh_topology import IRIS_CENTRES

WHITE, IRIS, SKIN = np.array([0.5, 0.46, 0.42]), np.array([0.05, 0.03, 0.02]), np.array([0.3, 0.2, 0.15])


def portrait(width=200, half=(24.0, 9.0), iris=8.0, shift=0.0, lid_over_skin=1.0):
    """A picture with two eyes, its landmarks ``(478, 2)``; ``half`` are the opening's half axes in pixels."""
    y, x = np.mgrid[0:120, 0:width] + 0.5
    picture = np.tile(SKIN, (120, width, 1))
    points = np.zeros((478, 2))
    for centre_x, iris_index, outline, below in (
        (60.0 + shift, IRIS_CENTRES[0], regions.RIGHT_EYE, regions.RIGHT_UNDER_EYE),
        (140.0 + shift, IRIS_CENTRES[1], regions.LEFT_EYE, regions.LEFT_UNDER_EYE),
    ):
        at = np.array([centre_x, 40.0])
        turn = np.linspace(0, 2 * np.pi, len(outline), endpoint=False)
        points[list(outline)] = at - np.stack([np.cos(turn), np.sin(turn)], 1) * half
        points[iris_index] = at
        points[[iris_index + k for k in range(1, 5)]] = at + iris * np.array(
            [[1, 0], [0, 1], [-1, 0], [0, -1]]
        )
        around = np.linspace(0, 2 * np.pi, len(below), endpoint=False)
        points[list(below)] = at + (0, 30) + np.stack([np.cos(around), np.sin(around)], 1) * (20, 8)
        inside = ((x - at[0]) / half[0]) ** 2 + ((y - at[1]) / half[1]) ** 2 < 1
        lid = regions.RIGHT_UPPER_LID if outline is regions.RIGHT_EYE else regions.LEFT_UPPER_LID
        bow = np.linspace(np.pi, 2 * np.pi, len(lid) - len(outline) // 2 - 1)  # above the opening
        points[list(lid[len(outline) // 2 + 1 :])] = at + np.stack([-np.cos(bow), np.sin(bow)], 1) * (26, 20)
        above = ((x - at[0]) / 26) ** 2 + ((y - at[1]) / 20) ** 2 < 1
        picture[above & (y < at[1])] = lid_over_skin * SKIN
        picture[inside] = WHITE
        picture[inside & (np.hypot(x - at[0], y - at[1]) < iris)] = IRIS
    photo = Photo("eyes", "0", linear_to_srgb(picture).astype(np.float32), None, (width, 120))
    return photo, points


def test_white_and_skin_are_those_that_were_painted():
    found = eye_whites(*portrait())
    assert len(found) == 2
    for eye in found:
        assert eye.white == pytest.approx(WHITE, rel=0.03)
        assert eye.skin == pytest.approx(SKIN, rel=0.01)


@pytest.mark.parametrize("shade", [1.0, 0.4])
def test_how_dark_the_upper_lid_is_beside_the_skin_below(shade):
    for eye in eye_whites(*portrait(lid_over_skin=shade)):
        assert eye.lid == pytest.approx(shade, rel=0.02)
        assert eye.white == pytest.approx(WHITE, rel=0.03)


def test_an_eye_is_as_wide_open_as_its_lids_are_apart():
    opening = []
    for apart in (7.0, 10.0):
        photo, points = portrait()
        for upper, lower in (_LIDS_RIGHT, _LIDS_LEFT):
            points[lower] = points[upper] + (0.0, apart)
        opening.append([eye.opening for eye in eye_whites(photo, points)])
    narrow, wide = np.array(opening)
    assert wide == pytest.approx(10 / 7 * narrow)


def test_small_blurred_eyes_still_show_their_white():
    import cv2

    photo, points = portrait()
    small = cv2.resize(photo.rgb_srgb, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    found = eye_whites(Photo("small", "0", small, None, (small.shape[1], small.shape[0])), 0.3 * points)
    assert len(found) == 2
    for eye in found:
        assert eye.white == pytest.approx(WHITE, rel=0.15)


def test_an_eye_beyond_the_frame_is_left_out():
    found = eye_whites(*portrait(width=110))
    assert len(found) == 1
    assert found[0].white == pytest.approx(WHITE, rel=0.03)


def test_a_closed_eye_shows_nothing():
    photo, points = portrait(half=(24.0, 0.4))
    assert eye_whites(photo, points) == ()
