"""Whether a detected face is a photographed human one: what to turn away before a fit is wasted on it."""

from __future__ import annotations

import numpy as np

from backend.artifacts import Photo
from backend.photo import face_regions as regions
from backend.photo.crops import square_crop
from backend.photo.landmarks import LEFT_EYE, RIGHT_EYE, Landmarks

MIN_PRESENCE = 0.5  # Face Mesh's own confidence; a photographed face scores above 0.99
MAX_SPREAD = 0.035  # disagreement between crops; people up to profile stay under 0.03
MAX_FLAT = 0.5  # share of the face without any shading; skin in a photo or render has under 0.1
_EYES_OVER_FACE = 0.4  # outer corners' distance over the face's extent, in front rather more
_SIDE = 192
_FLAT_RANGE = 2  # 8-bit levels within 5×5 pixels


def is_human_face(photo: Photo, landmarks: Landmarks) -> bool:
    """Face Mesh is confident, its points hold still between crops and the face carries shading.

    Animals and chance patterns fail the first two tests, drawings with flat colours the third; a shaded
    painting, statue or rendered head passes, and may well be wanted.
    """
    return (
        landmarks.presence >= MIN_PRESENCE
        and _spread_over_face(landmarks) <= MAX_SPREAD
        and flat_share(photo, landmarks) <= MAX_FLAT
    )


def _spread_over_face(landmarks: Landmarks) -> float:
    """``Landmarks.spread``, but for a face turned aside over the eye distance that it would have in front."""
    right, left = (landmarks.points_px[eye[0]] for eye in (RIGHT_EYE, LEFT_EYE))
    eyes = float(np.linalg.norm(right - left))
    x0, y0, x1, y1 = landmarks.box
    return landmarks.spread * eyes / max(eyes, _EYES_OVER_FACE * max(x1 - x0, y1 - y0))


def flat_share(photo: Photo, landmarks: Landmarks) -> float:
    """Share of the face's oval, at 192 pixels, whose 5×5 neighbourhoods hold one colour."""
    import cv2

    x0, y0, x1, y1 = landmarks.box
    centre, side = ((x0 + x1) / 2, (y0 + y1) / 2), 1.1 * max(x1 - x0, y1 - y0)
    crop = square_crop(photo.rgb_srgb, centre, side, 0.0, _SIDE)
    points = (landmarks.points_px - np.array(centre)) * (_SIDE / side) + _SIDE / 2
    oval = regions.fill((_SIDE, _SIDE), points, regions.FACE_OVAL) > 0
    if not oval.any():
        return 1.0
    window = np.ones((5, 5), np.uint8)
    spread = cv2.dilate(crop.rgb, window).astype(int) - cv2.erode(crop.rgb, window)
    # Clipped highlights are flat in photographs too.
    clipped = (crop.rgb.min(-1) >= 250) | (crop.rgb.max(-1) <= 5)
    flat = (spread.max(-1) <= _FLAT_RANGE) & ~clipped
    return float(flat[oval].mean())
