"""Hands before the face: told by joints; what lies wholly within a face is none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from photo_pictures import as_photo

from backend.artifacts import Run
from backend.photo import segment as segmentation
from backend.photo.hands import hand_mask
from backend.photo.mediapipe_graphs import FaceNetworks
from backend.photo.observe import observe

PORTRAIT = Path(__file__).parents[1] / "data" / "portrait_front.jpg"


def open_hand(wrist: tuple[float, float], towards: tuple[float, float], size: float) -> np.ndarray:
    """Joints ``(21, 2)`` of a flat hand; ``size`` is from wrist to the middle knuckle."""
    up = np.array(towards) / np.linalg.norm(towards)
    across = np.array([-up[1], up[0]])
    joints = np.zeros((21, 2))
    for finger in range(5):
        aside = (finger - 2) * 0.22
        base = 0.45 if finger == 0 else 1.0
        for joint in range(4):
            joints[1 + 4 * finger + joint] = size * ((base + 0.25 * joint) * up + aside * across)
    return (joints + wrist).astype(np.float32)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return cv2.imread(str(PORTRAIT), cv2.IMREAD_COLOR)[..., ::-1].copy()


@pytest.fixture(scope="module")
def points(picture: np.ndarray) -> np.ndarray:
    return observe(as_photo(picture), Run()).landmarks_px


def test_a_hand_with_fingers_palm_and_arm_is_covered(picture: np.ndarray, points: np.ndarray) -> None:
    face = np.ptp(points[:, 0])
    wrist = points[172] + [-0.2 * face, 0.5 * face]
    joints = open_hand(wrist, (0.35, -1.0), 0.45 * face)
    mask = hand_mask(picture.shape, [joints], points)
    rows, columns = np.clip(joints[:, ::-1].astype(int), 0, np.array(picture.shape[:2]) - 1).T
    assert mask[rows, columns].min() > 0.9
    tip = joints[12] + (joints[12] - joints[9]) * 0.6
    assert mask[int(tip[1]), int(tip[0])] < 0.1
    assert hand_mask(picture.shape, [], points).max() == 0


def test_a_hand_that_lies_wholly_in_the_face_is_none(picture: np.ndarray, points: np.ndarray) -> None:
    joints = open_hand(points[205], (0.8, 0.6), 0.2 * np.ptp(points[:, 0]))
    assert hand_mask(picture.shape, [joints], points).max() == 0


def test_a_face_without_hands_shows_none(picture: np.ndarray) -> None:
    with FaceNetworks() as networks:
        assert networks.hands(picture) == []


def test_what_a_hand_covers_is_no_skin(
    picture: np.ndarray, points: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def found(_: FaceNetworks, rgb: np.ndarray) -> list[np.ndarray]:
        side = rgb.shape[0]
        seen["joints"] = open_hand((0.25 * side, 0.9 * side), (0.3, -1.0), 0.2 * side)
        return [seen["joints"]]

    made = []
    crop_of = segmentation._head_crop

    def remembered(*args):  # type: ignore[no-untyped-def]
        made.append(crop_of(*args))
        return made[-1]

    bare = observe(as_photo(picture), Run()).skin_mask
    monkeypatch.setattr(FaceNetworks, "hands", found)
    monkeypatch.setattr(segmentation, "_head_crop", remembered)
    skin = observe(as_photo(picture), Run()).skin_mask
    column, row = made[-1].points_to_photo(seen["joints"].astype(float)).astype(int).T
    inside = (row >= 0) & (row < skin.shape[0]) & (column >= 0) & (column < skin.shape[1])
    row, column = row[inside], column[inside]
    assert (bare[row, column] > 0.9).sum() >= 3
    assert skin[row, column].max() < 0.1
