"""Points and regions of a head that others have names for: iBUG's 68, the 88-point hybrid, REALY's regions.

Face Mesh's 478 points (``ParametricHead.mediapipe``), left-right pairs (``mirror_vertex``) and soft skin
regions (``regions``) are fields of the head itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput
from backend.head.base import ParametricHead, SurfacePoints

# Face Mesh's lips, each ring from the subject's right corner along the upper lip and back along the lower.
LIPS_OF_FACE_MESH = (
    *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
    *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
)
MOUTH_OF_IBUG = 48  # iBUG's points from here on are the mouth
REALY_REGIONS = ("nose", "mouth", "forehead", "cheek")


def points68(head: ParametricHead) -> SurfacePoints:
    """iBUG's 68 points (0–16 jaw, 17–26 brows, 27–35 nose, 36–47 eyes, 48–67 mouth; subject's right first).

    Raises: BadInput (the head's file has none).
    """
    if head.ibug is None:
        raise BadInput(
            f"the head '{head.name}' has no 68 points; build it anew with python -m synthdata.headmodel"
        )
    return head.ibug


def points88(head: ParametricHead) -> SurfacePoints:
    """The 88-point hybrid: iBUG's first 48 (contour, brows, nose, eyes), then Face Mesh's 40 of the lips.

    MARCUS names the configuration but not its points; this is the one split of 88 that keeps all of iBUG's
    points off the mouth and all of Face Mesh's on it.
    Raises: BadInput (the head's file has no 68 points).
    """
    still, lips = points68(head), list(LIPS_OF_FACE_MESH)
    return SurfacePoints(
        np.r_[still.triangle[:MOUTH_OF_IBUG], head.mediapipe.triangle[lips]],
        np.r_[still.barycentric[:MOUTH_OF_IBUG], head.mediapipe.barycentric[lips]],
        np.r_[still.trust[:MOUTH_OF_IBUG], head.mediapipe.trust[lips]],
    )


def realy_regions(head: ParametricHead) -> dict[str, NDArray[np.bool_]]:
    """Masks ``(V,)`` of REALY's nose, mouth, forehead and cheek, which do not overlap.

    REALY's own were painted on its scans; these are drawn between Face Mesh's points on the mean head.
    Eyes, lids and nostrils are in none. Raises: BadInput (the head has no landmarks or regions).
    """
    if head.mediapipe.triangle.min() < 0 or not {"face", "eyelids", "nostrils"} <= head.regions.keys():
        raise BadInput(f"the head '{head.name}' has no landmarks and regions to draw REALY's regions by")
    mean = head.mean_vertices.astype(np.float64)
    points = head.mediapipe.positions(mean, head.triangles)
    skin = np.zeros(len(mean), bool)
    skin[head.triangles[head.triangle_part == 0]] = True
    skin &= (mean[:, 2] > 0.02) & (head.regions["nostrils"] < 0.5)
    face, lids = head.regions["face"] > 0.5, head.regions["eyelids"] > 0.3
    x, y = np.abs(mean[:, 0]), mean[:, 1]

    def at(row: int) -> tuple[float, float]:
        return abs(float(points[row, 0])), float(points[row, 1])

    nasion, wing, base = at(168), at(64), at(2)
    corner, chin_fold = at(61), at(200)
    inner_eye, below_lid = at(133), at(119)
    brow_below, forehead_top = at(65), at(10)

    # A trapezium from the nasion to the wings and base of the nose.
    down = np.clip((nasion[1] - y) / (nasion[1] - wing[1]), 0, 1)
    side = 0.55 * inner_eye[0] + (wing[0] + 0.003 - 0.55 * inner_eye[0]) * down
    nose = (x < side) & (y < nasion[1]) & (y > base[1] - 0.002)
    mouth = ~nose & (x < corner[0] + 0.008) & (y <= base[1]) & (y > chin_fold[1])
    forehead = ~nose & face & ~lids & (y < forehead_top[1]) & (y > brow_below[1])
    cheek = ~nose & ~mouth & face & ~lids & (y < below_lid[1]) & (y > chin_fold[1])
    return {
        name: np.asarray(skin & mask)
        for name, mask in zip(REALY_REGIONS, (nose, mouth, forehead, cheek), strict=True)
    }
