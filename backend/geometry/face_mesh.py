"""Which of MediaPipe Face Mesh's 478 points are which (topology facts; left and right are the subject's)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNT = 478
OUTER_EYE_CORNERS = (263, 33)  # left, right
IRIS_CENTRES = (473, 468)  # left, right
# Opposite points on each iris' edge: (horizontal pair, vertical pair).
IRIS_PAIRS = (((474, 476), (475, 477)), ((469, 471), (470, 472)))
# Upper and lower lid at mid-eye, inner and outer corner: left, right.
EYE_OPENING = ((386, 374, 362, 263), (159, 145, 133, 33))
# The closed outline of the face, from the forehead's middle towards the subject's left.
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
FOREHEAD_OVAL = (10, 338, 297, 332, 284, 251, 389, 162, 21, 54, 103, 67, 109, 127, 356)
IRISES = tuple(range(468, 478))


def halves() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two interleaved halves of the points, ``(478,)`` masks: the fit's and the held-out score's.

    Even indices against odd ones: both halves cover every facial part, so a held-out point always
    has fitted neighbours but is never itself fitted.
    """
    even = np.arange(COUNT) % 2 == 0
    return even, ~even


def oval_tangents(landmarks_px: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Unit tangents ``(36, 2)`` of the outline at the points of ``FACE_OVAL``, photo pixels."""
    p = np.asarray(landmarks_px, np.float64)[list(FACE_OVAL)]
    t = np.roll(p, -1, axis=0) - np.roll(p, 1, axis=0)
    length = np.linalg.norm(t, axis=1, keepdims=True)
    return np.asarray(t / np.maximum(length, 1e-9))
