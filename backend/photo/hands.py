"""Hands before the face: as skin-coloured as it is, so told by their joints and not by colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.photo import face_regions as regions

WRIST, INDEX, MIDDLE, LITTLE = 0, 5, 9, 17  # MediaPipe's joints: where fingers begin
_FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
_PALM = (0, 1, 5, 9, 13, 17)
# Of the palm's width between the outer knuckles: half a finger, palm and forearm beyond the joints' outline.
_FINGER, _EDGE, _ARM = 0.19, 0.20, 0.50
_PALM_LENGTH = 1.5  # from wrist to knuckles; whichever of both is less foreshortened tells the scale
_ARM_LENGTH = 3.0
_WITHIN = -0.02  # of the face's width: a wrist may lie so far inside its outline


def hand_mask(shape: tuple[int, ...], hands: list[F32], points: F64) -> F32:
    """How surely a pixel is hand or forearm, ``(S, S)`` in [0, 1].

    ``hands`` are joints ``(21, 2)`` in pixels of the level crop, ``points`` ``(478, ≥ 2)`` the face's
    landmarks there. A hand whose wrist lies within the face is none: hands reach in from outside.
    """
    import cv2

    mask = np.zeros(shape[:2], np.uint8)
    face = regions.dilate(
        regions.fill(shape, points, regions.FACE_OVAL), _WITHIN * float(np.ptp(points[:, 0]))
    )
    for joints in hands:
        if not _reaches_in(joints, face):
            continue
        width = max(
            float(np.linalg.norm(joints[INDEX] - joints[LITTLE])),
            float(np.linalg.norm(joints[WRIST] - joints[MIDDLE])) / _PALM_LENGTH,
        )
        for finger in _FINGERS:
            _stroke(mask, joints[list(finger)], 2 * _FINGER * width)
        palm = regions.fill(shape, joints, _PALM)
        mask = np.maximum(mask, regions.dilate(palm, _EDGE * width))
        away = joints[WRIST] - joints[MIDDLE]
        elbow = joints[WRIST] + away / max(float(np.linalg.norm(away)), 1e-6) * _ARM_LENGTH * width
        _stroke(mask, np.stack([joints[WRIST], elbow]), 2 * _ARM * width)
    soft: F32 = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)
    return soft


def _reaches_in(joints: F32, face: NDArray[np.uint8]) -> bool:
    row, column = int(joints[WRIST, 1]), int(joints[WRIST, 0])
    if not (0 <= row < face.shape[0] and 0 <= column < face.shape[1]):
        return True
    return not face[row, column]


def _stroke(mask: NDArray[np.uint8], line: F32, thickness: float) -> None:
    import cv2

    corners = np.round(line * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(mask, [corners], False, 1, max(1, round(thickness)), cv2.LINE_8, 4)
