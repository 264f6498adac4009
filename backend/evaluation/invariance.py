"""One head photographed in many ways: how far its reconstructions lie apart, beside different heads'.

Pose, light, focal length, size and JPEG quality are not the person's. What a method makes of one head should
therefore differ less between its photographs than between heads: every spread within heads stands beside the
spread between heads, and their ratio says how much of a reconstruction is the photograph instead of the
person (0 is perfect, 1 has learned nothing of who it is).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.align import fit_similarity
from backend.evaluation.cases import Case
from backend.evaluation.own_view import read_map
from backend.evaluation.prediction import Prediction
from backend.evaluation.registry import MetricGroup, MetricInfo, Values
from backend.evaluation.skin_tone import delta_e_2000, lab_of_linear
from backend.texture.regions import region_map
from backend.uvspace.chart import chart_raster

F64 = NDArray[np.float64]
Distance = Callable[[F64, F64], float]

_TEXELS = 128  # of the maps that are compared: a skin's colour, not its pores
_FACE = 0.5


@dataclass(frozen=True)
class Spread:
    """Mean distances over all pairs of reconstructions."""

    within: float | None  # of one head; None when no head was photographed twice
    between: float | None  # of different heads; None when there is one head only

    @property
    def ratio(self) -> float | None:
        """``within / between``; None when either is unknown or heads do not differ."""
        if self.within is None or not self.between:
            return None
        return self.within / self.between


def spread(subjects: Sequence[str], values: Sequence[F64], distance: Distance) -> Spread:
    """Mean ``distance`` within and between ``subjects``; every subject weighs the same within.

    ``values`` are one per photograph, in the order of ``subjects``.
    """
    own: dict[str, list[float]] = {}
    others: list[float] = []
    for i, j in combinations(range(len(values)), 2):
        far = distance(values[i], values[j])
        if subjects[i] == subjects[j]:
            own.setdefault(subjects[i], []).append(far)
        else:
            others.append(far)
    return Spread(
        within=float(np.mean([np.mean(found) for found in own.values()])) if own else None,
        between=float(np.mean(others)) if others else None,
    )


def identity_distance(a: F64, b: F64) -> float:
    """Root-mean-square difference of identity coefficients ``(K,)``, standard deviations."""
    return float(np.sqrt(np.mean((a - b) ** 2)))


def shape_distance_mm(a: F64, b: F64) -> float:
    """Mean distance of matched vertices ``(N, 3)`` in metres after the rigid alignment that fits best, in mm.

    Both lie in the one topology of their head, so a vertex is matched with itself; size counts.
    """
    aligned = fit_similarity(a, b, with_scale=False).apply(a)
    return float(np.linalg.norm(aligned - b, axis=1).mean()) * 1e3


def albedo_distance(a: F64, b: F64) -> float:
    """Mean CIEDE2000 of matched linear albedos ``(N, 3)``."""
    return float(delta_e_2000(lab_of_linear(a), lab_of_linear(b)).mean())


def over_cases(pairs: Sequence[tuple[Case, Prediction]]) -> Values:
    """Spreads of identity, neutral shape and albedo over the cases' subjects."""
    predictions = [prediction for _, prediction in pairs]
    subjects = [case.subject for case, _ in pairs]
    found: dict[str, Spread] = {}
    identities = [p.avatar.manifest.identity for p in predictions]
    if predictions and all(identity for identity in identities):
        coefficients = [np.asarray(identity, np.float64) for identity in identities]
        found["identity"] = spread(subjects, coefficients, identity_distance)
    found["shape"] = spread(subjects, [_face(p) for p in predictions], shape_distance_mm)
    found["albedo"] = spread(subjects, [_face_albedo(p) for p in predictions], albedo_distance)
    values: dict[str, float | None] = {}
    for name, unit in _UNITS.items():
        one = found.get(name, Spread(None, None))
        values[f"spread_{name}{unit}"] = one.within
        values[f"spread_{name}_heads{unit}"] = one.between
        values[f"spread_{name}_ratio"] = one.ratio
    return values


def _face(prediction: Prediction) -> F64:
    """The neutral face's vertices, metres; all of the skin where the head names no face."""
    vertices = prediction.avatar.mesh.vertices_neutral_head.astype(np.float64)
    face = prediction.head.regions.get("face")
    if face is None:
        skin = prediction.head.triangles[prediction.head.triangle_part == 0]
        return np.asarray(vertices[np.unique(skin)])
    return np.asarray(vertices[face > _FACE])


def _face_albedo(prediction: Prediction) -> F64:
    """Linear albedo at the face's texels ``(N, 3)`` of a small map."""
    import cv2

    albedo = read_map(prediction.avatar, "albedo")
    small = cv2.resize(albedo, (_TEXELS, _TEXELS), interpolation=cv2.INTER_AREA)
    raster = chart_raster(prediction.head, _TEXELS)
    face = region_map(prediction.head, ("face",), raster.triangle, raster.barycentric) > _FACE
    inside = face if face.any() else raster.covered
    return np.asarray(small, np.float64)[inside]


_UNITS = {"identity": "", "shape": "_mm", "albedo": "_delta_e"}
_LABELS = {"identity": ("Identity", "SD", 3), "shape": ("Shape", "mm", 3), "albedo": ("Albedo", "ΔE2000", 2)}


def _infos() -> dict[str, MetricInfo]:
    infos: dict[str, MetricInfo] = {}
    for name, suffix in _UNITS.items():
        label, unit, decimals = _LABELS[name]
        infos[f"spread_{name}{suffix}"] = MetricInfo(
            f"{label}, one head's photographs apart", unit, "lower", decimals
        )
        infos[f"spread_{name}_heads{suffix}"] = MetricInfo(
            f"{label}, different heads apart", unit, "higher", decimals
        )
        infos[f"spread_{name}_ratio"] = MetricInfo(f"{label}, one head over different heads", "", "lower")
    return infos


GROUPS = (MetricGroup(name="invariance", metrics={}, set_metrics=_infos(), over_cases=over_cases),)
