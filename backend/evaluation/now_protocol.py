"""The NoW protocol: distances from the scan of a neutral face to a predicted mesh, in millimetres.

After Sanyal et al., *Learning to Regress 3D Face Shape and Expression from an Image without 3D Supervision*
(CVPR 2019), and the benchmark's page; the crop is that of Feng et al., *Evaluation of Dense 3D
Reconstruction from 2D Face Images in the Wild* (FG 2018), with NoW's radius.

1. The prediction is brought onto the scan by a similarity over 7 landmarks.
2. The scan is cropped to a ball about the middle of the face: centre at the base of the nose, raised by 0.3
   of the way to the bridge (midway between the inner eye corners); radius 1.4 times the mean of the outer
   eye corners' distance and the bridge's from the base.
3. The prediction is moved rigidly to the least scan-to-mesh distance.
4. The error is the distance from every cropped scan vertex to the closest point of the prediction's
   surface: median, mean and standard deviation over the scan's vertices. (The benchmark's own table takes
   them over the vertices of all scans together; here every scan counts once.)

What the description leaves open, and what is done here: step 3 minimises the mean SQUARED distance over
the cropped vertices; the prediction's surface is its skin. The direction matters: a prediction larger than
the crop (a whole head) costs nothing, one that lacks a part of the face does.

``with_scale=False`` (the benchmark's metrical variant) keeps the prediction's size in step 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.align import refine_to_surface
from backend.evaluation.closest import Surface
from backend.evaluation.realy import Shape, seven_point_alignment

F64 = NDArray[np.float64]

_RADIUS = 1.4
_RAISED = 0.3
_INNER_EYES, _OUTER_EYES, _NOSE_BASE = (39, 42), (36, 45), 33


@dataclass(frozen=True)
class ScanErrors:
    """What the protocol found on one scan."""

    rows: NDArray[np.int64]  # (N,) the scan's vertices inside the crop
    error_m: F64  # (N,)

    @property
    def median_mm(self) -> float:
        return float(np.median(self.error_m) * 1e3)

    @property
    def mean_mm(self) -> float:
        return float(self.error_m.mean() * 1e3)

    @property
    def std_mm(self) -> float:
        return float(self.error_m.std() * 1e3)


def now(scan: Shape, prediction: Shape, *, with_scale: bool = True) -> ScanErrors:
    """Distances from the cropped ``scan`` to ``prediction``.

    Raises: ValueError when a point that the crop or the alignment needs is unknown, or the crop is empty.
    """
    start = seven_point_alignment(scan, prediction, with_scale=with_scale)
    rows = face_rows(scan)
    points = scan.vertices[rows]
    surface = Surface(prediction.vertices, prediction.triangles)
    moved = refine_to_surface(points, surface, start)
    # Distances scale with the transform: those in the prediction's own space are brought to the scan's.
    distance = surface.closest(moved.inverse().apply(points)).distance * moved.scale
    return ScanErrors(rows, distance)


def face_rows(scan: Shape) -> NDArray[np.int64]:
    """The scan's skin vertices inside the protocol's crop. Raises: ValueError (see ``now``)."""
    points = scan.key_points
    needed = (*_INNER_EYES, *_OUTER_EYES, _NOSE_BASE)
    if not np.isfinite(points[list(needed)]).all():
        raise ValueError("the crop needs the eye corners and the base of the nose")
    base, bridge = points[_NOSE_BASE], points[list(_INNER_EYES)].mean(0)
    outer = np.linalg.norm(points[_OUTER_EYES[0]] - points[_OUTER_EYES[1]])
    radius = _RADIUS * (outer + np.linalg.norm(bridge - base)) / 2
    rows = np.unique(scan.triangles)
    inside = np.linalg.norm(scan.vertices[rows] - (base + _RAISED * (bridge - base)), axis=1) <= radius
    if not inside.any():
        raise ValueError("no vertex of the scan lies near its landmarks; are they in the same units?")
    return np.asarray(rows[inside], np.int64)
