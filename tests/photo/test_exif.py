"""Focal lengths against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from backend.artifacts import FaceBox, Photo
from backend.photo.exif import focal_35mm
from backend.photo.focal import initial_focal_px


def _exif(**tags: object) -> Image.Exif:
    numbers = {
        "focal": 0x920A,
        "film": 0xA405,
        "x": 0xA002,
        "y": 0xA003,
        "rx": 0xA20E,
        "ry": 0xA20F,
        "unit": 0xA210,
    }
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({numbers[k]: v for k, v in tags.items()})
    return exif


def _photo(width: int, height: int, focal: float | None) -> Photo:
    return Photo("p", "", np.zeros((height, width, 3), np.float32), focal, (width, height))


def test_35mm_equivalent_is_taken() -> None:
    assert focal_35mm(_exif(film=85, focal=IFDRational(50, 1)), (600, 400)).millimetres == 85


def test_focal_length_with_the_sensor_of_an_aps_c_camera() -> None:
    # 22.3 × 14.9 mm, 5568 × 3712 pixels, resolution per inch
    exif = _exif(
        focal=IFDRational(50, 1),
        x=5568,
        y=3712,
        unit=2,
        rx=IFDRational(round(5568 / 22.3 * 25.4 * 1000), 1000),
        ry=IFDRational(round(3712 / 14.9 * 25.4 * 1000), 1000),
    )
    expected = 50 * math.hypot(36, 24) / math.hypot(22.3, 14.9)
    assert focal_35mm(exif, (5568, 3712)).millimetres == pytest.approx(expected, rel=1e-4)
    # a picture that was only reduced, or turned, has kept its field of view
    assert focal_35mm(exif, (1392, 928)).millimetres == pytest.approx(expected, rel=1e-4)
    assert focal_35mm(exif, (3712, 5568)).millimetres == pytest.approx(expected, rel=1e-4)


def test_cropped_pictures_lose_their_focal_length() -> None:
    found = focal_35mm(_exif(film=50, x=6000, y=4000), (4000, 4000))
    assert found.millimetres is None
    assert "cropped" in found.note


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"film": 0},
        {"film": 60_000},
        {"focal": IFDRational(0, 0)},
        {"focal": IFDRational(50, 1)},
        {"focal": IFDRational(50, 1), "x": 6000, "y": 4000, "rx": IFDRational(0, 1)},
        {"focal": IFDRational(50, 1), "x": 6000, "y": 4000, "rx": 72, "ry": 72},  # screen resolution
    ],
)
def test_useless_tags_are_passed_over(tags: dict[str, object]) -> None:
    found = focal_35mm(_exif(**tags), (600, 400))
    assert found.millimetres is None
    assert found.note == ""


def test_initial_focal_from_exif_is_by_the_diagonal() -> None:
    # On 36 × 24 mm the diagonal convention equals the width convention.
    focal, source = initial_focal_px(_photo(360, 240, 50.0))
    assert source == "exif"
    assert focal == pytest.approx(50 / 36 * 360)
    portrait, _ = initial_focal_px(_photo(240, 360, 50.0))
    assert portrait == pytest.approx(focal)
    # 4:3: the field of view across the diagonal is that of a 26 mm lens on film
    focal, _ = initial_focal_px(_photo(400, 300, 26.0))
    assert 2 * math.atan(250 / focal) == pytest.approx(2 * math.atan(math.hypot(18, 12) / 26))


def test_initial_focal_estimate() -> None:
    whole, source = initial_focal_px(_photo(360, 240, None), FaceBox(0, 0, 30, 40, 1))
    assert source == "estimated"
    assert whole == pytest.approx(500)
    # a crop: the face is put at 1 m
    close, _ = initial_focal_px(_photo(360, 240, None), FaceBox(0, 0, 150, 180, 1))
    assert 0.18 * close / 180 == pytest.approx(1.0)
