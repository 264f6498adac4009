"""The crop that the published regressors were trained on, from five points of a face (facts sheet, 4.2, 4.3).

Points of the release have y up. A fit of the five standard 3D points to them gives scale and place; the
crop is 224², 102 of its pixels to a unit of the standard points.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Camera
from backend.errors import BadWeights, Missing
from backend.head.hifi3dpp import METRES_PER_UNIT
from backend.marcus.geometry.face_model import DISTANCE, FOCAL, FRAME

PIXELS_PER_UNIT = 102.0
# Face Mesh's points for the picture's left eye, right eye, nose, left and right mouth corner. The release
# takes an eye's middle from two iBUG points each, its corners; iBUG's nose is Face Mesh's 4, not its tip 1
# (bench/marcus_alignment.py: the frames lie 1.3 px apart, with the tip 2.7).
_FIVE = ((33, 133), (362, 263), (4,), (61,), (291,))
# iBUG's (1-based 37,40; 43,46; 31; 49; 55), for the standard points and for heads that have them.
_FIVE_IBUG = ((36, 39), (42, 45), (30,), (48,), (54,))


@dataclass(frozen=True)
class Alignment:
    """Where the 224² frame lies on a photo of ``width``×``height`` pixels."""

    width: int
    height: int
    scale: float  # frame pixels per photo pixel
    centre: tuple[float, float]  # photo pixels, y up, that land in the frame's middle

    @property
    def resized(self) -> tuple[int, int]:
        """The photo's size before the crop, whole pixels (rounded down, as the release does)."""
        return int(self.width * self.scale), int(self.height * self.scale)

    @property
    def corner(self) -> tuple[int, int]:
        """The crop's left and upper edge in the resized photo."""
        (w, h), (x, y) = self.resized, self.centre
        half = FRAME / 2
        left = int(w / 2 - half + (x - self.width / 2) * self.scale)
        up = int(h / 2 - half + (self.height / 2 - y) * self.scale)
        return left, up


def five_of_face_mesh(landmarks_px: F32) -> F64:
    """``(5, 2)`` in photo pixels (y down) of Face Mesh's points ``(478, 2)``."""
    points = np.asarray(landmarks_px, np.float64)
    return np.stack([points[list(group)].mean(axis=0) for group in _FIVE])


def five_of_ibug(points: NDArray[np.floating[Any]]) -> F64:
    """``(5, C)`` of iBUG's 68 points ``(68, C)``."""
    return np.stack([np.asarray(points, np.float64)[list(group)].mean(axis=0) for group in _FIVE_IBUG])


def align(five_px: F64, standard: F64, width: int, height: int) -> Alignment:
    """The frame for a photo whose five points (y down, pixel centres at .5) are ``five_px`` ``(5, 2)``.

    ``standard`` ``(5, 3)`` is in the file's units. Least squares for x' = r1·X + s_x, y' = r2·X + s_y.
    """
    seen = np.stack([five_px[:, 0] - 0.5, height - 1 - (five_px[:, 1] - 0.5)], axis=1)
    rows = np.concatenate([standard, np.ones((5, 1))], axis=1)
    solved = np.linalg.lstsq(rows, seen, rcond=None)[0]  # (4, 2): r1 and r2 as columns, then s
    size = float(np.linalg.norm(solved[:3], axis=0).mean())
    return Alignment(width, height, PIXELS_PER_UNIT / size, (float(solved[3, 0]), float(solved[3, 1])))


def crop(photo_srgb: F32, alignment: Alignment) -> F32:
    """The portrait ``(224, 224, 3)`` in [0, 1], black outside the photo."""
    from PIL import Image

    picture = Image.fromarray(np.rint(np.clip(photo_srgb, 0, 1) * 255).astype(np.uint8))
    left, up = alignment.corner
    resized = picture.resize(alignment.resized, Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, up, left + FRAME, up + FRAME)), np.float32) / 255


def frame_to_photo(frame_uv: F64, alignment: Alignment) -> F64:
    """Photo pixels (y down, centres at .5) of places ``(…, 2)`` in the frame (v up); not clipped."""
    (w, h), (x, y), s = alignment.resized, alignment.centre, alignment.scale
    half = FRAME / 2
    across = (frame_uv[..., 0] + w / 2 - half) / s + x - alignment.width / 2
    up = (frame_uv[..., 1] + h / 2 - half) / s + y - alignment.height / 2
    return np.stack([across + 0.5, alignment.height - 1 - up + 0.5], axis=-1)


def camera(alignment: Alignment, rotation: F64, translation: F64) -> Camera:
    """The release's camera and pose over the whole photo: a pinhole on unposed vertices in metres.

    ``rotation`` ``(3, 3)`` and ``translation`` ``(3,)`` in decimetres carry them to the release's camera.
    """
    flip = np.diag([1.0, -1.0, -1.0])  # y up, z to the viewer, to OpenCV's axes
    away = np.array([0.0, 0.0, DISTANCE])
    pose = np.concatenate([flip @ rotation, ((flip @ translation) + away)[:, None] * METRES_PER_UNIT], axis=1)
    middle = frame_to_photo(np.array([FRAME / 2, FRAME / 2]), alignment)
    return Camera(
        focal_px=FOCAL / alignment.scale,
        principal_px=(float(middle[0]), float(middle[1])),
        width_px=alignment.width,
        height_px=alignment.height,
        world_to_camera=pose,
    )


def standard_points(path: Path) -> F64:
    """The five standard points ``(5, 3)`` of ``similarity_Lm3D_all.mat``. Raises: Missing, BadWeights."""
    from scipy.io import loadmat

    if not path.is_file():
        raise Missing(f"no '{path}'; run `likeness weights fetch marcus`")
    try:
        points = np.asarray(loadmat(path, variable_names=["lm"])["lm"], np.float64)
    except Exception as error:  # scipy raises a dozen kinds
        raise BadWeights(f"'{path}' cannot be read ({type(error).__name__}); fetch it again") from error
    if points.shape != (68, 3) or not np.isfinite(points).all():
        raise BadWeights(f"'{path}' has lm of shape {points.shape}, expected (68, 3); fetch it again")
    return five_of_ibug(points)
