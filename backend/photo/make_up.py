"""Whether lips or eyelids wear strong make-up, by their hue beside the skin next to them.

Lips and lids lie in the same light as the skin around, so the ratio of both is nearly free of it. Bare lips
are redder than skin only so far, bare lids hardly differ from it but by shadow. Make-up is part of how the
person looks: lipstick stays in the maps, bright eye shadow mostly does not. That is said. Where lips are too
red because the skin around them has lost its own hue, it is the face that is painted. Thresholds were found
on portraits and on rendered heads whose make-up is known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64, Photo
from backend.colour import LUMINANCE_REC709, srgb_to_linear
from backend.photo import face_regions as regions
from backend.photo.crops import square_crop
from backend.photo.landmarks import Landmarks

_SIDE, _EXTENT = 256, 1.2  # of the crop, pixels; over the face's larger extent
_SEEN = 0.4  # mean visibility of a part's points below which its looks say nothing
_LEAST, _MOST = 0.01, 0.9  # linear, between which a colour has a hue
_MIN_PIXELS = 12
# Logarithmic chroma beside the skin's: half blue over red, green over both.
_LIP_BLUE, _LIP_GREEN = (-0.55, 0.30), (-0.62, 0.15)  # of lips that are bare, or in a usual lipstick
_LIP_DARK = -1.5  # log luminance beside the skin's, below which no bare lip is
_PAINTED_BLUE = -0.12  # of skin itself, above which it is white, grey or blue: the palest has -0.3
_LID_BLUE, _LID_GREEN = (-0.45, 0.32), (-0.26, 0.22)  # of bare lids

_LIDS = (regions.RIGHT_UPPER_LID, regions.LEFT_UPPER_LID)
_BELOW = (regions.RIGHT_UNDER_EYE, regions.LEFT_UNDER_EYE)
_EYES = (regions.RIGHT_EYE, regions.LEFT_EYE)
_BROWS = (regions.RIGHT_BROW, regions.LEFT_BROW)


def made_up_parts(photo: Photo, landmarks: Landmarks) -> tuple[str, ...]:
    """Those of "face", "lips" and "eyelids" that are painted in a colour that no bare ones have.

    The face is told by the skin around the lips, and its lips are not named beside it.

    Parts that are turned away, hidden (their points' visibility is 0), or too dark or too bright for a hue
    are left out; so are lids where only one eye shows any colour, which may be a shadow or a light.
    """
    x0, y0, x1, y1 = landmarks.box
    centre, side = ((x0 + x1) / 2, (y0 + y1) / 2), _EXTENT * max(x1 - x0, y1 - y0)
    crop = square_crop(photo.rgb_srgb, centre, side, landmarks.roll, _SIDE)
    linear, offset = crop.to_photo[:, :2], crop.to_photo[:, 2]
    points: F64 = np.asarray((landmarks.points_px.astype(np.float64) - offset) @ np.linalg.inv(linear).T)
    rgb = srgb_to_linear(crop.rgb.astype(np.float32) / 255)

    def seen(part: tuple[int, ...]) -> bool:
        return float(landmarks.visible[list(part)].mean()) > _SEEN

    def area(part: tuple[int, ...], grown_px: float = 0.0) -> NDArray[np.bool_]:
        grown: NDArray[np.bool_] = regions.dilate(regions.fill(rgb.shape, points, part), grown_px) > 0
        return grown

    parts = []
    if seen(regions.OUTER_LIPS):
        lips = area(regions.OUTER_LIPS, -1) & ~area(regions.INNER_LIPS, 1)
        around = area(regions.OUTER_LIPS, 0.06 * _SIDE) & ~area(regions.OUTER_LIPS, 0.015 * _SIDE)
        beside = _beside(rgb[lips], rgb[around])
        if beside is not None and (_outside(beside, _LIP_BLUE, _LIP_GREEN) or beside[2] < _LIP_DARK):
            parts.append("face" if beside[0] < _LIP_BLUE[0] and _is_painted(rgb[around]) else "lips")
    lids = [
        _beside(rgb[area(lid) & ~area(brow, 2) & ~area(eye, 1)], rgb[area(below)])
        for lid, brow, eye, below in zip(_LIDS, _BROWS, _EYES, _BELOW, strict=True)
        if seen(eye)
    ]
    coloured = [lid is not None and _outside(lid, _LID_BLUE, _LID_GREEN) for lid in lids]
    if len(lids) == 2 and all(coloured):
        parts.append("eyelids")
    return tuple(parts)


def _beside(part: NDArray[np.float32], skin: NDArray[np.float32]) -> F64 | None:
    """Blue, green and log luminance of ``part`` ``(N, 3)`` beside ``skin`` ``(M, 3)``; None without hues."""
    if min(len(part), len(skin)) < _MIN_PIXELS:
        return None
    here, there = (np.median(colours.astype(np.float64), axis=0) for colours in (part, skin))
    if min(here.max(), there.max()) < 3 * _LEAST or max(here.max(), there.max()) > _MOST:
        return None
    red, green, blue = np.log(np.maximum(here, _LEAST)) - np.log(np.maximum(there, _LEAST))
    bright = float(np.log(here @ LUMINANCE_REC709) - np.log(there @ LUMINANCE_REC709))
    return np.array([0.5 * (blue - red), green - 0.5 * (red + blue), bright])


def _is_painted(skin: NDArray[np.float32]) -> bool:
    red, _, blue = np.median(skin.astype(np.float64), axis=0)
    return bool(0.5 * np.log(max(blue, _LEAST) / max(red, _LEAST)) > _PAINTED_BLUE)


def _outside(beside: F64, blue: tuple[float, float], green: tuple[float, float]) -> bool:
    return not (blue[0] <= beside[0] <= blue[1] and green[0] <= beside[1] <= green[1])
