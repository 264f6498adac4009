"""Spectacle frames: thin lines about the eyes that cross the bridge of the nose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.photo import face_regions as regions

# Share of the lightness around (CIE L*) that a line takes away: dark skin and shadow show frames fainter.
_STRONG, _WEAK = 0.155, 0.11
_DARKEST = 26.0  # lightness below which surroundings count as this light: there noise makes lines
# A faint line across the nose may be a wrinkle, unless there are rims below both eyes; a small or blurred
# picture has frames that are so much fainter everywhere.
_FAINT_BRIDGE, _FAINT_RIM, _FULL_BRIDGE, _FAINTEST = 0.05, 0.06, 0.25, 0.35
_CORE = 0.3  # of the strongest response beside it
_HAIRS = 0.20  # in brows, lids and lashes
_BRIGHT = 0.8  # metal and rims of lenses may shine, but so does skin
_LIDS, _AROUND_BROWS = 0.035, 0.02  # of the face's width: their reach beyond eyes' and brows' outlines
_TEMPLE, _ARMS = 0.12, 0.10  # of the face's width: from the eyes' corners outwards, above and below the eyes
_PIECE, _BESIDE = (
    0.03,
    0.02,
)  # of the face's width: extent of a piece of frame beside a found one, its distance
_BRIDGE = (168, 6, 197)  # the nose's root, where no wrinkle is that dark and thin
_BELOW_EYES = (0.05, 0.20)  # of the face's width below the lower lid: where rims run
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
    around = np.maximum(cv2.morphologyEx(lightness, cv2.MORPH_CLOSE, disc), _DARKEST)
    dark = cv2.morphologyEx(lightness, cv2.MORPH_BLACKHAT, disc) / around
    bright = cv2.morphologyEx(lightness, cv2.MORPH_TOPHAT, disc) / around
    bridge = _bridge(dark, points, width)
    if bridge < _STRONG and not (bridge > _FAINT_BRIDGE and _rims(dark, points, width) > _FAINT_RIM):
        return nothing
    # From here on there are spectacles: rims and arms may be fainter than the bridge.
    scale = float(np.clip(bridge / _FULL_BRIDGE, _FAINTEST, 1.0))
    ridge = _ridge(shape, points)
    line = np.where(ridge, dark, np.maximum(dark, _BRIGHT * bright))
    faint = np.where(_hairy(shape, points, width), _HAIRS, _WEAK)
    weak = ((line > faint * scale) & _place(shape, points, width)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(weak, connectivity=8)
    strong = np.zeros(len(stats), bool)
    strong[np.unique(labels[(dark > _STRONG * scale) & (weak > 0)])] = True
    extent = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    strong &= extent > 0.12 * width
    strong[0] = False
    found = strong[labels]
    # Reflections and hairs break a rim into pieces.
    beside = regions.dilate(found.astype(np.uint8), _BESIDE * width) > 0
    near = np.zeros(len(stats), bool)
    near[np.unique(labels[beside])] = True
    near &= extent > _PIECE * width
    near[0] = False
    found |= near[labels]
    # The hats' skirts are wider than the frame: of its cross-section the core is kept, then its blurred rim.
    core = found & (line > _CORE * cv2.dilate(line, disc))
    frame = regions.dilate(core.astype(np.uint8), max(1.0, 0.008 * width))
    mask: F32 = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 1.0)
    return mask


def _place(shape: tuple[int, ...], points: F64, width: float) -> NDArray[np.bool_]:
    """Where frames may be: about the eyes, and at their height out to the ears; not on the nose's tip."""
    x, y = points[:, 0], points[:, 1]
    columns, rows = np.arange(shape[1])[None] + 0.5, np.arange(shape[0])[:, None] + 0.5
    area = regions.dilate(regions.fill(shape, points, _AREA), 0.10 * width) > 0
    inner = (columns > x[[33, 130]].min() - _TEMPLE * width) & (
        columns < x[[263, 359]].max() + _TEMPLE * width
    )
    arms = np.abs(rows - y[[33, 133, 263, 362]].mean()) < _ARMS * width
    nose = (rows > y[195]) & (columns > x[129]) & (columns < x[358])
    place: NDArray[np.bool_] = area & (inner | arms) & ~nose
    return place


def _hairy(shape: tuple[int, ...], points: F64, width: float) -> NDArray[np.bool_]:
    """Brows, lids and lashes, whose hairs are dark and thin as well."""
    eyes = np.maximum(
        regions.fill(shape, points, regions.RIGHT_EYE), regions.fill(shape, points, regions.LEFT_EYE)
    )
    brows = np.maximum(
        regions.fill(shape, points, regions.RIGHT_BROW), regions.fill(shape, points, regions.LEFT_BROW)
    )
    hairy: NDArray[np.bool_] = (
        regions.dilate(eyes, _LIDS * width) | regions.dilate(brows, _AROUND_BROWS * width)
    ) > 0
    return hairy


def _ridge(shape: tuple[int, ...], points: F64) -> NDArray[np.bool_]:
    """The nose below its root: light runs down it as a bright thin line."""
    x, y = points[:, 0], points[:, 1]
    columns, rows = np.arange(shape[1])[None] + 0.5, np.arange(shape[0])[:, None] + 0.5
    ridge: NDArray[np.bool_] = (rows > y[6]) & (columns > x[133]) & (columns < x[362])
    return ridge


def _bridge(dark: F32, points: F64, width: float) -> float:
    """The faintest dark line that every column of a strip about the nose's root meets."""
    top, bottom = points[_BRIDGE[0], 1] - 0.06 * width, points[_BRIDGE[2], 1]
    middle, half = points[_BRIDGE[1], 0], 0.035 * width
    return _crossed(dark, (middle - half, top, middle + half, bottom), 0.0)


def _rims(dark: F32, points: F64, width: float) -> float:
    """The dark line that nearly every column below the eyes meets, below the eye where it is fainter."""
    found = []
    for corners, lid in (((33, 133), 145), ((362, 263), 374)):
        left, right = np.sort(points[list(corners), 0]) + 0.15 * np.ptp(points[list(corners), 0]) * np.array(
            [1, -1]
        )
        y = points[lid, 1]
        found.append(
            _crossed(dark, (left, y + _BELOW_EYES[0] * width, right, y + _BELOW_EYES[1] * width), 0.15)
        )
    return min(found)


def _crossed(dark: F32, box: tuple[float, float, float, float], share: float) -> float:
    """The quantile ``share`` over the columns of ``box`` (x0, y0, x1, y1) of each one's darkest line."""
    x0, y0, x1, y1 = (max(0, int(edge)) for edge in box)
    strip = dark[y0 : y1 + 1, x0 : x1 + 1]
    return float(np.quantile(strip.max(0), share)) if strip.size else 0.0
