"""The iris colour seen in a photograph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Photo
from backend.photo import face_regions as regions
from backend.photo.mesh_topology import IRIS_CENTRES

_PUPIL, _LIMBUS = 0.5, 0.85  # radii over the iris': outside the pupil, inside the dark rim
_LID_MARGIN = 0.12  # iris radii to stay away from the lids and their shadow
_CORNEA_QUANTILES = (10, 75)  # per cent of brightness kept: without lashes, without the window's reflection
_MIN_PIXELS = 12


def iris_colour_srgb(
    photo: Photo,
    landmarks_px: NDArray[np.floating[Any]],
    visible: NDArray[np.floating[Any]] | None = None,
) -> F32 | None:
    """Median sRGB colour ``(3,)`` of both irises, or None where too little of them is seen.

    ``landmarks_px`` are the 478 points ``(478, 2)``; an eye whose iris is not ``visible`` ``(478,)`` is left
    out. Taken is the ring between pupil and limbus, inside
    the lids, without its darkest pixels (lashes, shadow of the upper lid) and its brightest (reflections).
    The colour is as lit in the photo.
    """
    points = np.asarray(landmarks_px, np.float64)
    rings = [np.zeros((0, 3), np.float32)]
    for centre, eye in zip(IRIS_CENTRES, (regions.RIGHT_EYE, regions.LEFT_EYE), strict=True):
        if visible is None or float(visible[centre]) > 0:
            rings.append(_ring(photo, points, centre, eye))
    colours = np.concatenate(rings)
    if len(colours) < _MIN_PIXELS:
        return None
    brightness = colours.mean(1)
    low, high = np.percentile(brightness, _CORNEA_QUANTILES)
    kept = colours[(brightness >= low) & (brightness <= high)]
    colour: F32 = np.median(kept, axis=0).astype(np.float32)
    return colour


def _ring(photo: Photo, points: F64, centre_index: int, eye: tuple[int, ...]) -> F32:
    """sRGB pixels ``(N, 3)`` of one iris' usable ring, none when the eye is closed or leaves the frame."""
    centre = points[centre_index]
    radius = float(np.linalg.norm(points[centre_index + 1 : centre_index + 5] - centre, axis=1).mean())
    reach = radius + 2
    x0, y0 = np.maximum(np.floor(centre - reach), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(centre + reach), (photo.width, photo.height)).astype(int)
    if radius < 1.5 or x1 <= x0 or y1 <= y0:
        return np.zeros((0, 3), np.float32)
    y, x = np.mgrid[y0:y1, x0:x1] + 0.5
    distance = np.hypot(x - centre[0], y - centre[1]) / radius
    opening = regions.fill((y1 - y0, x1 - x0), points - (x0, y0), eye)
    opening = regions.dilate(opening, -_LID_MARGIN * radius)
    usable = (distance > _PUPIL) & (distance < _LIMBUS) & (opening > 0)
    ring: F32 = photo.rgb_srgb[y0:y1, x0:x1][usable]
    return ring
