"""The first guess of the focal length; the fit may refine it."""

from __future__ import annotations

import math
from typing import Literal

from backend.artifacts import FaceBox, Photo
from backend.photo.exif import FILM_DIAGONAL_MM

DEFAULT_35MM = 50.0  # uncropped portraits: 35 to 85 mm
FACE_HEIGHT_M = 0.18  # brow line of hair to chin, what the Face Mesh box spans
MIN_DISTANCE_M = 1.0  # portraits are taken from about 1 m on; nearer ones (selfies) mostly carry EXIF


def initial_focal_px(photo: Photo, face: FaceBox | None = None) -> tuple[float, Literal["exif", "estimated"]]:
    """Focal length in photo pixels and where it comes from.

    EXIF's 35 mm equivalent is read by the diagonal (CIPA DCG-001): ``f_px = f_35 · diagonal_px / 43.27``,
    which holds for every aspect ratio. Without EXIF a 50 mm equivalent is assumed; when ``face`` would
    then be nearer than 1 m the picture is a crop of a longer lens, and the focal length that puts the
    face at 1 m is taken instead. Most portraits without EXIF lie within a factor 0.6 to 2 of the estimate.
    """
    diagonal_px = math.hypot(photo.width, photo.height)
    if photo.focal_35mm is not None:
        return photo.focal_35mm * diagonal_px / FILM_DIAGONAL_MM, "exif"
    focal = DEFAULT_35MM * diagonal_px / FILM_DIAGONAL_MM
    if face is not None:
        focal = max(focal, MIN_DISTANCE_M * max(face.size) / FACE_HEIGHT_M)
    return focal, "estimated"
