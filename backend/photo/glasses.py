"""Spectacle frames: thin lines about the eyes that cross the bridge of the nose."""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32, F64
from backend.photo import face_regions as regions

_STRONG, _WEAK = 10.0, 7.0  # lightness units (CIE L*) against the surroundings
_BRIDGE = (168, 6, 197)  # the nose's root, where no wrinkle is that dark and thin
# Brows to mid-cheek, out to the temples.
_AREA = (
    *(8, 107, 66, 105, 63, 70, 156, 127, 234, 123, 50, 36, 142, 197),
    *(371, 266, 280, 352, 454, 356, 383, 300, 293, 334, 296, 336),
)


def frame_mask(lightness: F32, points: F64) -> F32:
    """How surely a pixel is spectacle frame, ``(S, S)`` in [0, 1]; all 0 where no frame crosses the nose.

    ``lightness`` is CIE L* ``(S, S)`` of a crop with a level face, ``points`` its landmarks in pixels.
    """
    import cv2

    shape = lightness.shape[:2]
    nothing = np.zeros(shape, np.float32)
    width = float(np.linalg.norm(points[454, :2] - points[234, :2]))
    k = max(3, round(0.045 * width)) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (k, k))
    dark = cv2.morphologyEx(lightness, cv2.MORPH_BLACKHAT, disc)
    bright = cv2.morphologyEx(lightness, cv2.MORPH_TOPHAT, disc)
    if not _crosses_bridge(dark, points, width):
        return nothing
    area = regions.dilate(regions.fill(shape, points, _AREA), 0.05 * width)
    eyes = np.maximum(
        regions.fill(shape, points, regions.RIGHT_EYE), regions.fill(shape, points, regions.LEFT_EYE)
    )
    # Lids and lashes are as dark and thin as frames; the eyes are taken out elsewhere.
    free = (area > 0) & (regions.dilate(eyes, 0.045 * width) == 0)
    line = np.maximum(dark, 0.6 * bright)
    weak = ((line > _WEAK) & free).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(weak, connectivity=8)
    strong = np.zeros(len(stats), bool)
    strong[np.unique(labels[(dark > _STRONG) & free])] = True
    extent = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    strong &= extent > 0.12 * width
    strong[0] = False
    frame = regions.dilate(strong[labels].astype(np.uint8), max(1.0, 0.008 * width))
    mask: F32 = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 1.0)
    return mask


def _crosses_bridge(dark: F32, points: F64, width: float) -> bool:
    """Whether every column of a strip about the nose's root meets a dark thin line."""
    top, bottom = points[_BRIDGE[0], 1] - 0.06 * width, points[_BRIDGE[2], 1]
    middle, half = points[_BRIDGE[1], 0], 0.035 * width
    strip = dark[max(0, int(top)) : int(bottom) + 1, max(0, int(middle - half)) : int(middle + half) + 1]
    if strip.size == 0:
        return False
    return bool(strip.max(0).min() > _STRONG)
