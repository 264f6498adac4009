"""Normals, roughness, specular and displacement against truth, each beside doing nothing.

Doing nothing is the mesh's smooth normal, the regional priors of roughness and specular that every face
gets, and no relief.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput
from backend.evaluation.cases import Case, TruthView
from backend.evaluation.own_view import OwnView
from backend.evaluation.prediction import Prediction
from backend.evaluation.registration import PHOTO
from backend.evaluation.registry import MetricGroup, MetricInfo, Values
from backend.evaluation.texture_groups import seen
from backend.evaluation.truth_masks import both, skin_of

Vectors = NDArray[np.floating[Any]]


def mean_angle_degrees(a: Vectors, b: Vectors) -> float | None:
    """Mean angle between matched directions ``(N, 3)``; pairs without a direction are left out."""
    u, v = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    known = lengths > 1e-9
    if not known.any():
        return None
    u, v = u[known], v[known]
    # atan2 of both products: acos loses what small angles need.
    angle = np.arctan2(np.linalg.norm(np.cross(u, v), axis=1), (u * v).sum(1))
    return float(np.degrees(angle).mean())


def mean_absolute(a: Vectors, b: Vectors) -> float:
    """Mean absolute difference of matched values."""
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).mean())


def relief_rmse_mm(own_m: Vectors, truth_m: Vectors) -> float:
    """Root-mean-square difference of two reliefs ``(N,)`` in metres, each less its own mean, in mm.

    A constant offset belongs to the mesh below, which differs between the two.
    """
    own, truth = np.asarray(own_m, np.float64), np.asarray(truth_m, np.float64)
    return float(np.sqrt(np.mean(((own - own.mean()) - (truth - truth.mean())) ** 2))) * 1e3


def measure(case: Case, prediction: Prediction, pictures: Path) -> Values:
    """Everything of the materials but the albedo, on the visible facial skin from the photo's camera."""
    truth, own = seen(case, prediction, PHOTO)
    return compare(truth, own)


def compare(truth: TruthView, own: OwnView) -> Values:
    """What the truth's buffers allow to be compared. Raises: BadInput when that is nothing."""
    mask = both(skin_of(truth), own.covered)
    if not mask.any():
        return {}
    found: dict[str, float | None] = {}
    buffers = truth.buffers
    if "normal_head" in buffers:
        turn = np.asarray(truth.camera.world_to_camera, np.float64)[:, :3]
        normals = np.asarray(buffers["normal_head"], np.float64)[mask] @ turn.T
        found["normal_degrees"] = mean_angle_degrees(own.normal_camera[mask], normals)
        found["normal_smooth_degrees"] = mean_angle_degrees(own.smooth_normal_camera[mask], normals)
    for name, values, prior in (
        ("roughness", own.roughness, own.roughness_prior),
        ("specular", own.specular, own.specular_prior),
    ):
        if name in buffers:
            found[f"{name}_error"] = mean_absolute(values[mask], buffers[name][mask])
            found[f"{name}_prior_error"] = mean_absolute(prior[mask], buffers[name][mask])
    if "displacement_m" in buffers:
        relief = np.asarray(buffers["displacement_m"], np.float64)[mask]
        found["displacement_rmse_mm"] = relief_rmse_mm(own.displacement_m[mask], relief)
        found["displacement_flat_rmse_mm"] = relief_rmse_mm(np.zeros_like(relief), relief)
    if not found:
        raise BadInput("the truth's view has neither normals nor roughness, specular or displacement")
    return found


GROUPS = (
    MetricGroup(
        name="materials",
        metrics={
            "normal_degrees": MetricInfo("Normals", "°", "lower", 1),
            "normal_smooth_degrees": MetricInfo("Normals of the mesh alone", "°", "lower", 1),
            "roughness_error": MetricInfo("Roughness", "", "lower", 3),
            "roughness_prior_error": MetricInfo("Roughness of the regional prior", "", "lower", 3),
            "specular_error": MetricInfo("Specular", "", "lower", 3),
            "specular_prior_error": MetricInfo("Specular of the regional prior", "", "lower", 3),
            "displacement_rmse_mm": MetricInfo("Displacement", "mm", "lower", 3),
            "displacement_flat_rmse_mm": MetricInfo("Displacement without a map", "mm", "lower", 3),
        },
        measure=measure,
        needs=("view photo",),
    ),
)
