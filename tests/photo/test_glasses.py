"""Spectacles: frames are no skin, on light skin and on dark skin, where they stand out less."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from photo_pictures import as_photo

from backend.artifacts import Run
from backend.photo import face_regions as regions
from backend.photo.glasses import frame_mask
from backend.photo.observe import observe

PORTRAIT = Path(__file__).parents[1] / "data" / "portrait_front.jpg"


def _frame(shape: tuple[int, ...], points: np.ndarray) -> np.ndarray:
    """Coverage ``(H, W)`` in [0, 1] of two rims, a bridge and two arms."""
    scale = 4
    canvas = np.zeros((shape[0] * scale, shape[1] * scale), np.float32)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(scale * x), round(scale * y)

    face = float(np.linalg.norm(points[454] - points[234]))
    wide, thick = 0.19 * face, max(1, round(scale * 0.013 * face))
    right, left = points[[33, 133]].mean(0), points[[263, 362]].mean(0)
    for centre in (right, left):
        axes = at(wide, 0.75 * wide)
        cv2.ellipse(canvas, at(*centre), axes, 0, 0, 360, 1.0, thick, cv2.LINE_AA)
    cv2.line(canvas, at(right[0] + wide, right[1]), at(left[0] - wide, left[1]), 1.0, thick, cv2.LINE_AA)
    cv2.line(canvas, at(right[0] - wide, right[1]), at(*points[127]), 1.0, thick, cv2.LINE_AA)
    cv2.line(canvas, at(left[0] + wide, left[1]), at(*points[356]), 1.0, thick, cv2.LINE_AA)
    return cv2.resize(canvas, shape[1::-1], interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_frames_are_not_skin_and_cheeks_are(gain: float) -> None:
    bare = (cv2.imread(str(PORTRAIT), cv2.IMREAD_COLOR)[..., ::-1] * gain).astype(np.uint8)
    points = observe(as_photo(bare), Run()).landmarks_px
    cover = _frame(bare.shape, points)
    columns = np.arange(bare.shape[1])
    bridge = (columns > points[133, 0]) & (columns < points[362, 0])
    worn = bare * (1 - np.where(bridge, 0.9, 0.4)[:, None] * cover[..., None])
    skin = observe(as_photo(worn.astype(np.uint8)), Run()).skin_mask
    assert skin[cover > 0.9].mean() < 0.2
    for patch in (regions.RIGHT_CHEEK, regions.LEFT_CHEEK):
        below = regions.fill(skin.shape, points, patch) > 0
        below[: int(points[195, 1]) + 4] = False
        assert skin[below].mean() > 0.9


@pytest.mark.parametrize("how", ["in the shadow of a side light", "small and blurred"])
def test_faint_frames_are_found_as_well(how: str) -> None:
    bare = cv2.imread(str(PORTRAIT), cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32)
    points = observe(as_photo(bare.astype(np.uint8)), Run()).landmarks_px
    cover = _frame(bare.shape, points)
    worn = bare * (1 - 0.8 * cover[..., None])
    if how == "small and blurred":
        worn = cv2.GaussianBlur(worn, (0, 0), 0.015 * float(np.linalg.norm(points[454] - points[234])))
    else:
        lit = np.clip((np.arange(bare.shape[1]) - points[6, 0]) / 60 + 0.5, 0.2, 1)
        worn = 0.5 * worn * lit[None, :, None]
    skin = observe(as_photo(worn.astype(np.uint8)), Run()).skin_mask
    bridge = (cover > 0.9) & (np.abs(np.arange(bare.shape[1]) - points[6, 0]) < 8)
    assert skin[bridge].mean() < 0.2
    assert skin[cover > 0.9].mean() < 0.35


def test_a_face_without_spectacles_has_no_frames() -> None:
    bare = cv2.imread(str(PORTRAIT), cv2.IMREAD_COLOR)
    points = observe(as_photo(bare[..., ::-1]), Run()).landmarks_px
    for gain in (1.0, 0.3):
        lightness = cv2.cvtColor((bare * gain / 255).astype(np.float32), cv2.COLOR_BGR2Lab)[..., 0]
        assert not frame_mask(lightness, points.astype(np.float64)).any()
