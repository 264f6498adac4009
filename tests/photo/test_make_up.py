"""Strong make-up is named; bare faces, coloured light and covered mouths are not taken for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.artifacts import Observation, Photo, Run
from backend.colour import linear_to_srgb, srgb_to_linear
from backend.photo import face_regions as regions
from backend.photo.landmarks import Landmarks
from backend.photo.make_up import made_up_parts
from backend.photo.observe import observe

UPPER_LIDS = (
    (246, 161, 160, 159, 158, 157, 173, 190, 56, 28, 27, 29, 30, 247),
    (466, 388, 387, 386, 385, 384, 398, 414, 286, 258, 257, 259, 260, 467),
)
LIPSTICK, BLACK, BLUE = (0.30, 0.02, 0.04), (0.01, 0.01, 0.012), (0.05, 0.12, 0.45)


def landmarks_of(seen: Observation) -> Landmarks:
    return Landmarks(seen.landmarks_px, seen.landmarks_depth, seen.landmarks_visible, 1.0, 0.0)


def painted(photo: Photo, mask: np.ndarray, pigment: tuple[float, float, float], cover: float) -> Photo:
    """``photo`` with ``pigment`` (linear) over part of what is there, shaded as that was."""
    linear = srgb_to_linear(photo.rgb_srgb)
    shade = linear.mean(-1, keepdims=True) / linear[mask].mean()
    over = cover * mask[..., None].astype(np.float32)
    mixed = linear * (1 - over) + over * shade * np.float32(pigment)
    return replace(photo, rgb_srgb=linear_to_srgb(np.clip(mixed, 0, 1)).astype(np.float32))


def lips(seen: Observation) -> np.ndarray:
    shape, p = seen.skin_mask.shape, seen.landmarks_px
    inner = regions.fill(shape, p, regions.INNER_LIPS)
    return (regions.fill(shape, p, regions.OUTER_LIPS) > 0) & (inner == 0)


def lids(seen: Observation) -> np.ndarray:
    shape, p = seen.skin_mask.shape, seen.landmarks_px
    return sum(regions.fill(shape, p, lid) for lid in UPPER_LIDS) > 0


@pytest.mark.parametrize("light", [(1, 1, 1), (1.0, 0.8, 0.55), (0.75, 0.9, 1.1), (0.25, 0.25, 0.25)])
def test_a_bare_face_in_any_light(
    astronaut: Photo, astronaut_seen: Observation, light: tuple[float, float, float]
) -> None:
    linear = np.minimum(srgb_to_linear(astronaut.rgb_srgb) * np.float32(light), 1)
    photo = replace(astronaut, rgb_srgb=linear_to_srgb(linear).astype(np.float32))
    assert made_up_parts(photo, landmarks_of(astronaut_seen)) == ()


@pytest.mark.parametrize("pigment", [LIPSTICK, BLACK, BLUE])
def test_painted_lips(
    astronaut: Photo, astronaut_seen: Observation, pigment: tuple[float, float, float]
) -> None:
    photo = painted(astronaut, lips(astronaut_seen), pigment, 0.9)
    assert made_up_parts(photo, landmarks_of(astronaut_seen)) == ("lips",)


def test_painted_lids_and_one_coloured_eye(astronaut: Photo, astronaut_seen: Observation) -> None:
    seen, both = landmarks_of(astronaut_seen), lids(astronaut_seen)
    assert made_up_parts(painted(astronaut, both, BLUE, 0.8), seen) == ("eyelids",)
    left_half = np.arange(astronaut.width)[None] < astronaut_seen.landmarks_px[6, 0]
    assert made_up_parts(painted(astronaut, both & left_half, BLUE, 0.8), seen) == ()


def test_hidden_lips_tell_nothing(astronaut: Photo, astronaut_seen: Observation) -> None:
    photo = painted(astronaut, lips(astronaut_seen), LIPSTICK, 0.9)
    seen = landmarks_of(astronaut_seen)
    covered = np.where(np.isin(np.arange(478), regions.OUTER_LIPS), 0, seen.visible).astype(np.float32)
    assert made_up_parts(photo, replace(seen, visible=covered)) == ()


def test_make_up_is_named_once(astronaut: Photo, astronaut_seen: Observation) -> None:
    run = Run()
    made_up = painted(astronaut, lips(astronaut_seen), LIPSTICK, 0.9)
    observe(painted(made_up, lids(astronaut_seen), BLUE, 0.8), run)
    assert len(run.warnings) == 1
    assert "lips and eyelids in astronaut wear strong make-up" in run.warnings[0]


def test_a_face_painted_white_is_not_red_lips(astronaut: Photo, astronaut_seen: Observation) -> None:
    shape, p = astronaut_seen.skin_mask.shape, astronaut_seen.landmarks_px
    bare = [
        regions.fill(shape, p, part) for part in (regions.OUTER_LIPS, regions.RIGHT_EYE, regions.LEFT_EYE)
    ]
    skin = (regions.fill(shape, p, regions.FACE_OVAL) > 0) & (sum(bare) == 0)
    white = painted(astronaut, skin, (0.6, 0.6, 0.6), 0.95)
    red_lips = painted(white, lips(astronaut_seen), (0.30, 0.06, 0.05), 0.8)
    run = Run()
    observe(red_lips, run)
    assert "face" in made_up_parts(red_lips, landmarks_of(astronaut_seen))
    assert any("looks painted or powdered" in line for line in run.warnings)
    assert not any("lips" in line and "strong make-up" in line for line in run.warnings)
