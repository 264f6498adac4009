"""The REALY protocol: how far each region of a face is from the truth, in millimetres.

After Chai et al., *REALY: Rethinking the Evaluation of 3D Face Reconstruction* (ECCV 2022). Per region of
the truth:

1. the prediction is brought onto the truth by a similarity over 7 key points;
2. it is moved rigidly, by ICP from the region's vertices to the prediction's surface together with the
   region's key points (which weigh as much as all vertices, a quarter of that for the cheeks);
3. the region is bent onto the prediction (``nonrigid``), which finds for each of its vertices the point of
   the prediction that corresponds to it;
4. the error of a vertex is the distance from where it was to the point found; the region's error is their
   mean. ``all`` is the mean of the four regions.

What the description leaves open, and what is done here: the non-rigid solve (the paper's is an ICP with
learned weights per region; ours is documented in ``nonrigid``); that only the skin of the prediction is a
target; that a vertex counts once, whatever its area. The paper calls its figure NMSE; it is a mean
distance, and is called so here. Figures compare within this suite. They come near the published ones only
on the published data.

``with_scale=False`` leaves the prediction's size alone in step 1: the error then holds wrong size too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.align import Anchors, Similarity, fit_similarity, rigid_icp
from backend.evaluation.closest import Surface
from backend.evaluation.keypoints import ALIGNING, CORRESPONDING, SEVEN, both_known
from backend.evaluation.nonrigid import bend_onto
from backend.evaluation.regions import REGIONS

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_CHEEK_SHARE = 0.25
_ANCHOR_WEIGHT = 50.0  # of a key point in the non-rigid solve, in vertices


@dataclass(frozen=True)
class Shape:
    """One side of the comparison."""

    vertices: F64  # (V, 3) metres
    triangles: I64  # (T, 3) of the skin
    key_points: F64  # (85, 3) metres, NaN where unknown


@dataclass(frozen=True)
class RegionErrors:
    """What the protocol found in one region."""

    rows: I64  # (N,) the truth's vertices
    error_m: F64  # (N,)

    @property
    def mean_mm(self) -> float:
        return float(self.error_m.mean() * 1e3)


def realy(
    truth: Shape, regions: dict[str, NDArray[np.bool_]], prediction: Shape, *, with_scale: bool = True
) -> dict[str, RegionErrors]:
    """Errors by region for those of REGIONS that ``regions`` ((V,) masks) has and that are not empty.

    Raises: ValueError when fewer than 3 of the 7 alignment points are known on both sides.
    """
    start = seven_point_alignment(truth, prediction, with_scale=with_scale)
    surface = Surface(prediction.vertices, prediction.triangles)
    found = {}
    for name in REGIONS:
        mask = regions.get(name)
        if mask is None or not mask[truth.triangles].all(1).any():
            continue
        found[name] = _region(name, mask, truth, prediction, surface, start)
    return found


def all_mm(found: dict[str, RegionErrors]) -> float | None:
    """The mean over the four regions; None unless all four were measured."""
    if set(found) != set(REGIONS):
        return None
    return float(np.mean([errors.mean_mm for errors in found.values()]))


def seven_point_alignment(truth: Shape, prediction: Shape, *, with_scale: bool) -> Similarity:
    """The transform of the prediction onto the truth over the 7 key points known on both sides.

    Raises: ValueError when fewer than 3 are.
    """
    rows = both_known(truth.key_points, prediction.key_points, SEVEN)
    if len(rows) < 3:
        raise ValueError(f"only {len(rows)} of the 7 alignment points are known, at least 3 are needed")
    return fit_similarity(prediction.key_points[rows], truth.key_points[rows], with_scale=with_scale)


def _region(
    name: str,
    mask: NDArray[np.bool_],
    truth: Shape,
    prediction: Shape,
    surface: Surface,
    start: Similarity,
) -> RegionErrors:
    inside = mask[truth.triangles].all(1)
    rows, flat = np.unique(truth.triangles[inside], return_inverse=True)
    patch, triangles = truth.vertices[rows], flat.reshape(-1, 3).astype(np.int64)

    shared = both_known(truth.key_points, prediction.key_points, ALIGNING[name])
    anchors = None
    if len(shared):
        weight = len(patch) / len(shared) * (_CHEEK_SHARE if name == "cheek" else 1.0)
        anchors = Anchors(prediction.key_points[shared], truth.key_points[shared], weight)
    moved = rigid_icp(patch, surface, start, anchors=anchors)

    aligned = Surface(moved.apply(prediction.vertices), prediction.triangles)
    shared = both_known(truth.key_points, prediction.key_points, CORRESPONDING[name])
    held = None
    if len(shared):
        places = moved.apply(prediction.key_points[shared])
        held = Anchors(truth.key_points[shared], places, _ANCHOR_WEIGHT)
    bent = bend_onto(patch, triangles, aligned, held)
    error = np.linalg.norm(aligned.closest(bent).point - patch, axis=1)
    return RegionErrors(rows.astype(np.int64), error)
