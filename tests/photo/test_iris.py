"""The iris colour of painted eyes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from photo_pictures import as_photo

from backend.artifacts import Observation
from backend.photo import face_regions as regions
from backend.photo.iris import iris_colour_srgb
from backend.photo.mesh_topology import IRIS_CENTRES

SCALE = 6


def _painted(seen: Observation, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Eyes on plain skin: lids, white, iris with dark rim, pupil, lashes and a reflection."""
    points = seen.landmarks_px.astype(np.float64) * SCALE
    picture = np.full((512 * SCALE, 512 * SCALE, 3), (200, 150, 130), np.uint8)
    eyes = picture.copy()
    eyes[:] = 235
    for centre in IRIS_CENTRES:
        at = tuple(int(v) for v in points[centre])
        radius = np.linalg.norm(points[centre + 1 : centre + 5] - points[centre], axis=1).mean()
        for share, paint in ((1.0, (20, 15, 12)), (0.93, colour), (0.4, (5, 5, 5))):
            cv2.circle(eyes, at, int(share * radius), paint, -1)
        cv2.circle(
            eyes, (at[0] + int(0.4 * radius), at[1] - int(0.4 * radius)), int(0.25 * radius), (255,) * 3, -1
        )
    for eye in (regions.RIGHT_EYE, regions.LEFT_EYE):
        opening = regions.fill(picture.shape, points, eye) > 0
        picture[opening] = eyes[opening]
    return picture, points


@pytest.mark.parametrize("colour", [(70, 110, 150), (90, 60, 35), (95, 115, 70)])
def test_painted_irises(astronaut_seen: Observation, colour: tuple[int, int, int]) -> None:
    picture, points = _painted(astronaut_seen, colour)
    found = iris_colour_srgb(as_photo(picture), points)
    assert found is not None
    assert np.abs(found * 255 - colour).max() < 1


def test_closed_eyes_tell_nothing(astronaut_seen: Observation) -> None:
    picture, points = _painted(astronaut_seen, (70, 110, 150))
    for eye in (regions.RIGHT_EYE, regions.LEFT_EYE):
        points[list(eye), 1] = points[list(eye), 1].mean()
    assert iris_colour_srgb(as_photo(picture), points) is None


def test_astronaut_has_brown_eyes(astronaut_seen: Observation) -> None:
    found = iris_colour_srgb(astronaut_seen.photo, astronaut_seen.landmarks_px)
    assert found is not None
    red, green, blue = found
    assert red > green > blue
    assert red < 0.5
