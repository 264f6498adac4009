"""The whites of the eyes, and the skin below them: two surfaces side by side in nearly the same light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64, Photo
from backend.colour import LUMINANCE_REC709, srgb_to_linear
from backend.photo import face_regions as regions
from backend.photo.mesh_topology import IRIS_CENTRES

# The upper lid's skin, and the skin below the eye.
_AROUND_RIGHT = (regions.RIGHT_UPPER_LID, regions.RIGHT_UNDER_EYE)
_AROUND_LEFT = (regions.LEFT_UPPER_LID, regions.LEFT_UNDER_EYE)
_LIDS_RIGHT, _LIDS_LEFT = (159, 145), (386, 374)  # middles of the upper and the lower lid's edge
_CORNERS_RIGHT, _CORNERS_LEFT = (33, 133), (263, 362)
_LIMBUS = 1.12  # iris radii from which on there is no iris, whatever the landmarks' error
_LID_MARGIN = 0.12  # iris radii to stay away from the lids
# Per cent of brightness that are taken for the white: above lashes and the upper lid's shadow, below glints.
_WHITE_QUANTILES = (70, 95)
_SMALL_IRIS_PX = 5.0  # radius below which white and lids blur into each other: only the brightest is white
_SMALL_QUANTILES = (88, 100)
_FINE_PX = 60  # an eye is enlarged to about this width: its outline is finer than its pixels
_MIN_FINE_PX, _MIN_SKIN_PX = 8, 4
_LEAST_VISIBLE = 0.05  # of the outline's points, on average: less only where something hides the eye


@dataclass(frozen=True)
class EyeWhite:
    """One eye as the photo shows it, linear Rec. 709."""

    white: F64  # (3,) of the better lit part of the sclera
    skin: F64  # (3,) median of the skin below the eye
    opening: float  # between the lids over the iris' diameter
    width: (
        float  # from corner to corner over the iris' diameter: foreshortened in the far eye of a turned face
    )
    lid: (
        float | None
    )  # luminance of the upper lid's skin over that of the skin below; None where it is too thin


def eye_whites(
    photo: Photo,
    landmarks_px: NDArray[np.floating[Any]],
    visible: NDArray[np.floating[Any]] | None = None,
) -> tuple[EyeWhite, ...]:
    """What is seen of each eye's white; the subject's right first; none for an eye that is closed or cut off.

    ``landmarks_px`` are the 478 points ``(478, 2)``; an eye whose outline is not ``visible`` ``(478,)`` is
    left out. What lies in the outline is taken as it is: a lens, a
    lash or a lid before the white is for the caller to tell.
    """
    points = np.asarray(landmarks_px, np.float64)
    found = []
    for centre, eye, around, lids, corners in (
        (IRIS_CENTRES[0], regions.RIGHT_EYE, _AROUND_RIGHT, _LIDS_RIGHT, _CORNERS_RIGHT),
        (IRIS_CENTRES[1], regions.LEFT_EYE, _AROUND_LEFT, _LIDS_LEFT, _CORNERS_LEFT),
    ):
        upper, below = around
        if visible is not None and float(visible[list(eye)].mean()) < _LEAST_VISIBLE:
            continue
        white, skin = _white(photo, points, centre, eye), _skin(photo, points, below)
        if white is not None and skin is not None:
            radius = _iris_radius(points, centre)
            opening, width = (
                float(np.linalg.norm(points[a] - points[b])) / (2 * radius) for a, b in (lids, corners)
            )
            lid = _skin(photo, points, upper, (eye, _LID_MARGIN * radius))
            shade = None if lid is None else float((lid @ LUMINANCE_REC709) / (skin @ LUMINANCE_REC709))
            found.append(EyeWhite(white, skin, opening, width, shade))
    return tuple(found)


def _iris_radius(points: F64, centre: int) -> float:
    return float(np.linalg.norm(points[centre + 1 : centre + 5] - points[centre], axis=1).mean())


def _white(photo: Photo, points: F64, centre_index: int, eye: tuple[int, ...]) -> F64 | None:
    import cv2

    centre = points[centre_index]
    radius = _iris_radius(points, centre_index)
    window = _window(photo, points[list(eye)], 3)
    if window is None or radius < 0.5:
        return None
    x0, y0, x1, y1 = window
    scale = max(1, -(-_FINE_PX // (x1 - x0)))
    crop = srgb_to_linear(np.ascontiguousarray(photo.rgb_srgb[y0:y1, x0:x1]))
    fine = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    opening = regions.fill(fine.shape[:2], (points - (x0, y0)) * scale, eye)
    opening = regions.dilate(opening, -_LID_MARGIN * radius * scale)
    y, x = (np.mgrid[: fine.shape[0], : fine.shape[1]] + 0.5) / scale
    outside = np.hypot(x + x0 - centre[0], y + y0 - centre[1]) > _LIMBUS * radius
    colours = np.maximum(fine[(opening > 0) & outside].astype(np.float64), 0)
    if len(colours) < _MIN_FINE_PX:
        return None
    bright = colours @ LUMINANCE_REC709
    low, high = np.percentile(bright, _WHITE_QUANTILES if radius > _SMALL_IRIS_PX else _SMALL_QUANTILES)
    mean: F64 = colours[(bright >= low) & (bright <= high)].mean(0)
    return mean if float(mean.min()) > 0 else None


def _skin(
    photo: Photo, points: F64, area: tuple[int, ...], but: tuple[tuple[int, ...], float] | None = None
) -> F64 | None:
    """Median linear colour ``(3,)`` of ``area`` less an outline grown by pixels; None of too few."""
    window = _window(photo, points[list(area)], 1)
    if window is None:
        return None
    x0, y0, x1, y1 = window
    shape, local = (y1 - y0, x1 - x0), points - (x0, y0)
    inside = regions.fill(shape, local, area) > 0
    if but is not None:
        inside &= regions.dilate(regions.fill(shape, local, but[0]), but[1]) == 0
    if inside.sum() < _MIN_SKIN_PX:
        return None
    median: F64 = np.median(srgb_to_linear(photo.rgb_srgb[y0:y1, x0:x1][inside]), axis=0).astype(np.float64)
    return median if float(median.min()) > 0 else None


def _window(photo: Photo, outline: F64, margin: int) -> tuple[int, int, int, int] | None:
    """Pixels ``x0, y0, x1, y1`` around ``outline`` in the photo; None when nothing is left of it."""
    size = np.array([photo.width, photo.height])
    x0, y0 = np.clip(np.floor(outline.min(0)).astype(int) - margin, 0, size)
    x1, y1 = np.clip(np.ceil(outline.max(0)).astype(int) + margin, 0, size)
    return (int(x0), int(y0), int(x1), int(y1)) if x1 - x0 >= 3 and y1 - y0 >= 3 else None
