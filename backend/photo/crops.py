"""Square, rolled, area-filtered crops of a photograph and the map from crop pixels back to the photo's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Crop:
    """A square cut-out. Both frames count pixels from their top-left corner, centres at .5."""

    rgb: U8  # (n, n, 3) sRGB
    to_photo: F64  # (2, 3) affine

    @property
    def scale(self) -> float:
        """Photo pixels per crop pixel."""
        return float(np.hypot(*self.to_photo[:, 0]))

    def points_to_photo(self, points: NDArray[np.floating[Any]]) -> F64:
        """``(N, 2 or 3)`` crop points to photo pixels; a third column is depth and is scaled alike."""
        p = np.asarray(points, np.float64)
        xy = p[:, :2] @ self.to_photo[:, :2].T + self.to_photo[:, 2]
        return np.column_stack([xy, p[:, 2:] * self.scale])


def square_crop(rgb_srgb: F32, centre: tuple[float, float], side: float, roll: float, size: int) -> Crop:
    """Cut the square of ``side`` photo pixels about ``centre`` (x, y), resampled to ``size``².

    ``roll`` is the angle in radians (x towards y, clockwise on screen) of the crop's x axis in the photo:
    a face whose eye line is at that angle comes out level. Beyond the photo its border is repeated.
    """
    import cv2

    height, width = rgb_srgb.shape[:2]
    scale = side / size
    turn = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]]) * scale
    offset = np.asarray(centre, np.float64) - turn @ np.array([size / 2, size / 2])

    reach = side / 2 * (abs(math.cos(roll)) + abs(math.sin(roll))) + 2 * scale + 2
    x0, x1 = _span(centre[0] - reach, centre[0] + reach, width)
    y0, y1 = _span(centre[1] - reach, centre[1] + reach, height)
    part = rgb_srgb[y0:y1, x0:x1]
    small = part
    if scale > 1.0:  # area filter first: bilinear lookup alone would alias
        shape = max(1, round(part.shape[1] / scale)), max(1, round(part.shape[0] / scale))
        small = cv2.resize(part, shape, interpolation=cv2.INTER_AREA)
    ratio = np.array([small.shape[1] / part.shape[1], small.shape[0] / part.shape[0]])

    # crop corner frame -> photo corner frame -> part -> small, then both to OpenCV's index frame (−.5)
    linear = ratio[:, None] * turn
    shift = ratio * (offset - np.array([x0, y0]))
    shift = shift + linear @ np.array([0.5, 0.5]) - 0.5
    picture = cv2.warpAffine(
        small,
        np.column_stack([linear, shift]),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    levels = np.clip(picture * 255.0 + 0.5, 0, 255).astype(np.uint8)
    return Crop(levels, np.column_stack([turn, offset]))


def _span(low: float, high: float, limit: int) -> tuple[int, int]:
    """The integer pixels of [low, high] inside [0, limit), at least one."""
    start = min(max(math.floor(low), 0), limit - 1)
    return start, max(min(math.ceil(high), limit), start + 1)
