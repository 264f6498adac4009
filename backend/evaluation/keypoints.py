"""Key points of a face: the 85 of the REALY protocol, its regions' own, and the 7 of the NoW protocol.

The first 68 are the iBUG 300-W points (0–16 jaw, 17–26 brows, 27–35 nose, 36–47 eyes, 48–67 mouth; right
and left are the subject's, the right first). REALY adds 17 that its paper shows in a picture only; ours are
the Face Mesh points named in ``EXTRA_OF_FACE_MESH``, in the same order of roles where the published region
lists tell it (70, 71 the wings of the nose, 76, 77 beside the mouth). A truth that knows its own 85 points
(the real REALY data) brings them along and is compared by the first 68 alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

IBUG_OF_FACE_MESH = (
    *(127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91),  # lips, outer
    *(78, 81, 13, 311, 308, 402, 14, 178),  # lips, inner
)
EXTRA_OF_FACE_MESH = (
    *(10, 151),  # forehead
    *(64, 294),  # wings of the nose
    *(67, 297, 54, 284),  # sides of the forehead
    *(205, 425, 50, 280, 117, 346, 187, 411),  # cheeks
    199,  # chin
)
COUNT = 85
SEVEN = (36, 39, 42, 45, 33, 48, 54)  # eye corners from right to left, base of the nose, corners of the mouth

# Which key points take part in the alignment of a region (as REALY publishes it) …
ALIGNING = {
    "nose": (*range(27, 36), 70, 71),
    "mouth": (*range(48, 61), 64),
    "forehead": (*range(36, 48), *range(17, 27)),
    "cheek": (*range(48, 61), 64, 76, 77, 36, 41, 40, 39, 42, 47, 46, 45, 7, 8, 9),
}
# … and in its non-rigid correspondence (none for the cheeks, which have no features).
CORRESPONDING = {
    "nose": tuple(range(27, 36)),
    "mouth": ALIGNING["mouth"],
    "forehead": ALIGNING["forehead"],
    "cheek": (),
}


def key_points(points478: F64 | None, points68: F64 | None = None) -> F64:
    """The 85 key points ``(85, 3)`` from Face Mesh's ``(478, 3)`` and iBUG's ``(68, 3)``; NaN where unknown.

    Where both are given a point of ``points68`` wins if it is known.
    """
    found = np.full((COUNT, 3), np.nan)
    if points478 is not None:
        found[:68] = points478[list(IBUG_OF_FACE_MESH)]
        found[68:] = points478[list(EXTRA_OF_FACE_MESH)]
    if points68 is not None:
        known = np.isfinite(points68).all(1)
        found[:68][known] = points68[known]
    return found


def both_known(a: F64, b: F64, rows: tuple[int, ...]) -> NDArray[np.intp]:
    """Those of ``rows`` that are known in both sets of key points."""
    chosen = np.asarray(rows, np.intp)
    if len(chosen) == 0:
        return chosen
    return np.asarray(chosen[np.isfinite(a[chosen]).all(1) & np.isfinite(b[chosen]).all(1)])
