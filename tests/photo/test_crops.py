"""Crops against closed forms: a picture whose colour is its coordinate tells where each pixel came from."""

from __future__ import annotations

import numpy as np
import pytest

from backend.photo.crops import square_crop


def _coordinates(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    return np.stack([x / width, y / height, np.zeros_like(x)], axis=-1)


@pytest.mark.parametrize(
    ("centre", "side", "roll"),
    [
        ((100.0, 80.0), 64.0, 0.0),  # one to one
        ((100.3, 80.8), 40.0, 0.0),  # magnified
        ((120.0, 90.0), 150.0, 0.0),  # reduced
        ((120.0, 90.0), 120.0, 0.4),
        ((110.0, 95.0), 100.0, np.pi / 2),
        ((120.0, 90.0), 111.0, -2.5),
    ],
)
def test_colour_tells_the_photo_coordinate(centre: tuple[float, float], side: float, roll: float) -> None:
    width, height, size = 240, 180, 64
    crop = square_crop(_coordinates(width, height), centre, side, roll, size)
    grid = np.arange(size) + 0.5
    q = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    expected = crop.points_to_photo(q)
    seen = crop.rgb.reshape(-1, 3)[:, :2] / 255.0 * (width, height)
    within = ((expected > 2) & (expected < (width - 2, height - 2))).all(1)
    assert within.sum() > 0.6 * size * size
    error = (seen - expected)[within]
    assert np.abs(error.mean(0)).max() < 0.1  # no shift of half a pixel
    assert np.abs(error).max() < 1.2  # 8-bit levels are 0.94 px here
    assert crop.scale == pytest.approx(side / size)


def test_centre_axes_and_depth() -> None:
    crop = square_crop(_coordinates(50, 50), (20.0, 30.0), 20.0, 0.3, 10)
    middle = crop.points_to_photo(np.array([[5.0, 5.0, 2.0]]))[0]
    assert middle == pytest.approx([20.0, 30.0, 4.0])
    right = crop.points_to_photo(np.array([[10.0, 5.0]]))[0]
    assert right == pytest.approx([20 + 10 * np.cos(0.3), 30 + 10 * np.sin(0.3)])


def test_crop_beyond_the_photo_repeats_its_border() -> None:
    rgb = np.zeros((20, 20, 3), np.float32)
    rgb[:, 10:] = 1.0
    crop = square_crop(rgb, (40.0, 10.0), 20.0, 0.0, 8)
    assert crop.rgb.min() == 255
