"""Named areas of the Face Mesh and their filled polygons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

# Contours of Face Mesh point numbers, in order. "Right" is the subject's right, on the image's left.
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
RIGHT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
# The upper lid's skin: between the lashes and the first ring of points above them.
RIGHT_UPPER_LID = (33, 246, 161, 160, 159, 158, 157, 173, 133, 243, 190, 56, 28, 27, 29, 30, 247, 130)
LEFT_UPPER_LID = (263, 466, 388, 387, 386, 385, 384, 398, 362, 463, 414, 286, 258, 257, 259, 260, 467, 359)
# Below each eye, between the lower lid and the cheek: the second and third ring around the eye.
RIGHT_UNDER_EYE = (31, 228, 229, 230, 231, 232, 233, 121, 120, 119, 118, 117, 111)
LEFT_UNDER_EYE = (261, 448, 449, 450, 451, 452, 453, 350, 349, 348, 347, 346, 340)
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
OUTER_LIPS = (
    *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
)
INNER_LIPS = (
    *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
)

# Patches that are bare skin on nearly every face: cheeks, sides of the nose, middle of the forehead.
RIGHT_CHEEK = (116, 117, 118, 119, 100, 142, 203, 206, 207, 187, 147, 123)
LEFT_CHEEK = (345, 346, 347, 348, 329, 371, 423, 426, 427, 411, 376, 352)
RIGHT_NOSE = (6, 197, 195, 5, 4, 45, 220, 115, 114, 188)
LEFT_NOSE = (6, 197, 195, 5, 4, 275, 440, 344, 343, 412)
RIGHT_FOREHEAD = (9, 107, 66, 69, 108, 151)
LEFT_FOREHEAD = (9, 336, 296, 299, 337, 151)

_SUBPIXEL_BITS = 4


def fill(shape: tuple[int, ...], points: NDArray[np.floating[Any]], contour: tuple[int, ...]) -> U8:
    """``(H, W)`` of 0 and 1: the polygon of ``contour`` over ``points`` ``(≥ 468, 2)`` (x, y)."""
    import cv2

    polygon = np.round((np.asarray(points)[list(contour), :2] - 0.5) * (1 << _SUBPIXEL_BITS))
    mask: U8 = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [polygon.astype(np.int32)], 1, shift=_SUBPIXEL_BITS)
    return mask


def dilate(mask: U8, radius: float) -> U8:
    """``mask`` grown by a disc of ``radius`` pixels (shrunk when negative)."""
    import cv2

    r = round(abs(radius))
    if r == 0:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))
    grown: U8 = cv2.dilate(mask, disc) if radius > 0 else cv2.erode(mask, disc)
    return grown
