"""Which vertices of a truth mesh are nose, mouth, forehead and cheeks.

REALY's own regions were painted on its scans by hand. A truth without such masks gets them from its key
points: the regions are drawn once on the mean open head, which is then bent (thin-plate spline) so that its
key points meet the truth's; each vertex of the truth takes the region of the nearest template vertex.
The regions do not overlap. Eyes and lids are in none: no scan knows them well.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.keypoints import key_points
from backend.head.correspondences import REALY_REGIONS, realy_regions
from backend.head.registry import load_head

F64 = NDArray[np.float64]

REGIONS = REALY_REGIONS
_REACH_M = 0.008  # a vertex farther than this from the bent template lies in no region
_JAW = 17  # outline points, which slide along the face and say little of where it is


def label_regions(vertices: F64, key_points_head: F64) -> dict[str, NDArray[np.bool_]]:
    """Masks ``(V,)`` of REGIONS for ``vertices`` ``(V, 3)`` with the key points ``(85, 3)``, all metres.

    Raises: ValueError when fewer than 10 key points are known.
    """
    from scipy.interpolate import RBFInterpolator
    from scipy.spatial import cKDTree

    template, labels, points = _template()
    known = np.isfinite(key_points_head).all(1) & np.isfinite(points).all(1)
    known[:_JAW] = False
    if known.sum() < 10:
        raise ValueError("regions need at least 10 known key points off the jaw line")
    bend = RBFInterpolator(points[known], key_points_head[known], kernel="thin_plate_spline", smoothing=1e-6)
    gap, near = cKDTree(bend(template)).query(vertices, distance_upper_bound=_REACH_M)
    label = np.append(labels, -1)[near]  # cKDTree answers len(template) where nothing is near
    return {name: np.asarray((label == i) & np.isfinite(gap)) for i, name in enumerate(REGIONS)}


@lru_cache(maxsize=1)
def _template() -> tuple[F64, NDArray[np.int64], F64]:
    """The mean head: front skin ``(N, 3)``, its regions ``(N,)`` (−1 none), key points ``(85, 3)``."""
    head = load_head("open")
    mean = head.mean_vertices.astype(np.float64)
    skin = np.zeros(len(mean), bool)
    skin[head.triangles[head.triangle_part == 0]] = True
    keep = skin & (mean[:, 2] > 0.02) & (head.regions["nostrils"] < 0.5)
    labels = np.full(len(mean), -1)
    for i, mask in enumerate(realy_regions(head).values()):
        labels[mask] = i
    return mean[keep], labels[keep], key_points(head.mediapipe.positions(mean, head.triangles))
