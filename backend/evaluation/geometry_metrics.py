"""Geometry against a case's truth: REALY on the photographed face, NoW on the neutral one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from backend.evaluation.cases import Case
from backend.evaluation.error_picture import error_picture
from backend.evaluation.keypoints import key_points
from backend.evaluation.now_protocol import ScanErrors, now
from backend.evaluation.prediction import Prediction
from backend.evaluation.realy import RegionErrors, Shape, all_mm, realy
from backend.evaluation.regions import REGIONS, label_regions
from backend.evaluation.registry import MetricGroup, MetricInfo, Values
from backend.evaluation.truth_mesh import F64, TruthMesh

_REGION_LABELS = {"all": "all", "nose": "nose", "mouth": "mouth", "forehead": "forehead", "cheek": "cheeks"}


def measure_realy(case: Case, prediction: Prediction, pictures: Path) -> Values:
    """REALY's mean distances by region, with and without scale, and a picture of where they lie."""
    truth, by_scale = _realy(_pair(case, prediction))
    values: dict[str, float | None] = {}
    for prefix, found in zip(("realy", "realy_noscale"), by_scale, strict=True):
        for name in REGIONS:
            values[f"{prefix}_{name}_mm"] = found[name].mean_mm if name in found else None
        values[f"{prefix}_all_mm"] = all_mm(found)
    if by_scale[0]:
        rows = np.concatenate([errors.rows for errors in by_scale[0].values()])
        error = np.concatenate([errors.error_m for errors in by_scale[0].values()])
        error_picture(truth.vertices, truth.triangles, rows, error * 1e3).save(pictures / "geometry.png")
    return values


def measure_now(case: Case, prediction: Prediction, pictures: Path) -> Values:
    """NoW's median, mean and standard deviation on the neutral face, with and without scale."""
    values: dict[str, float | None] = {}
    for prefix, found in zip(("now", "now_noscale"), _now(_pair(case, prediction)), strict=True):
        values[f"{prefix}_median_mm"] = found.median_mm
        values[f"{prefix}_mean_mm"] = found.mean_mm
        values[f"{prefix}_std_mm"] = found.std_mm
    return values


@dataclass(frozen=True)
class _Pair:
    """What geometry depends on, carrying what is compared: methods that share a mesh are measured once."""

    truth: str
    own: str
    case: Case = field(compare=False, repr=False)
    prediction: Prediction = field(compare=False, repr=False)


def _pair(case: Case, prediction: Prediction) -> _Pair:
    digest = hashlib.blake2b(digest_size=16)
    for shape in (prediction.photographed, prediction.neutral):
        for array in (shape.vertices, shape.triangles, shape.key_points):
            digest.update(np.ascontiguousarray(array).tobytes())
    return _Pair(case.digest, digest.hexdigest(), case, prediction)


@lru_cache(maxsize=2)
def _realy(pair: _Pair) -> tuple[Shape, tuple[dict[str, RegionErrors], dict[str, RegionErrors]]]:
    """The truth, and errors with and without scale."""
    mesh, points = _mesh(pair.case), _points(pair.case)
    if mesh.vertices_head is None:
        raise ValueError(f"case '{pair.case.id}' has no photographed mesh")
    truth = Shape(mesh.vertices_head, mesh.skin_triangles, points)
    regions = dict(mesh.regions) or label_regions(truth.vertices, points)
    own = pair.prediction.photographed
    return truth, (realy(truth, regions, own), realy(truth, regions, own, with_scale=False))


@lru_cache(maxsize=2)
def _now(pair: _Pair) -> tuple[ScanErrors, ScanErrors]:
    """Errors with and without scale."""
    mesh = _mesh(pair.case)
    if mesh.vertices_neutral_head is None:
        raise ValueError(f"case '{pair.case.id}' has no neutral mesh")
    scan = Shape(mesh.vertices_neutral_head, mesh.skin_triangles, _neutral_points(pair.case, mesh))
    own = pair.prediction.neutral
    return now(scan, own), now(scan, own, with_scale=False)


def _mesh(case: Case) -> TruthMesh:
    mesh = case.mesh
    if mesh is None:
        raise ValueError(f"case '{case.id}' has no truth mesh")
    return mesh


def _points(case: Case) -> F64:
    marks = case.landmarks
    if "points85_head" in marks:  # the first 68 are iBUG's, the others the benchmark's own
        return key_points(None, marks["points85_head"][:68])
    return key_points(marks.get("points478_head"), marks.get("points68_head"))


def _neutral_points(case: Case, mesh: TruthMesh) -> F64:
    """The key points of the neutral face: given, or carried there by the triangles they lie on."""
    marks = case.landmarks
    if "points68_neutral_head" in marks:
        return key_points(None, marks["points68_neutral_head"])
    points = _points(case)
    if mesh.vertices_head is None or mesh.vertices_neutral_head is None:
        return points  # only one shape is known: the landmarks are its own
    from backend.evaluation.closest import Surface

    known = np.isfinite(points).all(1)
    hits = Surface(mesh.vertices_head, mesh.triangles).closest(points[known])
    weights, corners = hits.barycentric, mesh.triangles[hits.triangle]
    moved = np.einsum("nk,nkc->nc", weights, (mesh.vertices_neutral_head - mesh.vertices_head)[corners])
    carried = points.copy()
    carried[known] += moved
    return carried


def _infos(prefix: str, words: str) -> dict[str, MetricInfo]:
    return {
        f"{prefix}_{name}_mm": MetricInfo(f"REALY {label}{words}", "mm", "lower")
        for name, label in _REGION_LABELS.items()
    }


def _now_infos(prefix: str, words: str) -> dict[str, MetricInfo]:
    return {
        f"{prefix}_{name}_mm": MetricInfo(f"NoW {name}{words}", "mm", "lower")
        for name in ("median", "mean", "std")
    }


GROUPS = (
    MetricGroup(
        name="realy",
        metrics=_infos("realy", "") | _infos("realy_noscale", ", no scale"),
        measure=measure_realy,
        needs=("mesh", "landmarks"),
    ),
    MetricGroup(
        name="now",
        metrics=_now_infos("now", "") | _now_infos("now_noscale", ", no scale"),
        measure=measure_now,
        needs=("neutral mesh", "landmarks"),
    ),
)
