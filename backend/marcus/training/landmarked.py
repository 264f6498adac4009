"""Heads that do not say where Face Mesh's points and the face are, as HiFi3D++ does not, are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from backend.artifacts import F64
from backend.head.base import ParametricHead
from backend.head.correspondences import points68
from backend.head.hifi3dpp import METRES_PER_UNIT
from backend.head.registry import load_head
from backend.head.surface import carry_over
from backend.marcus.geometry.alignment import five_of_ibug, standard_points
from backend.marcus.register import register

TEMPLATE = "similarity_Lm3D_all.mat"  # the release's, beside hifi3dpp_model_info.mat


def landmarked(head: ParametricHead) -> ParametricHead:
    """``head`` with Face Mesh's points and the face's regions, from the open head laid over its mean.

    A head that has them comes back as it is. Raises: BadInput (no 68 points, or of a wholly other size).
    """
    if "face" in head.regions and (head.mediapipe.triangle >= 0).any():
        return head
    ours = load_head("open")
    laid = register(head, head.mean_vertices, head.mean_vertices, ours)
    carried = carry_over(
        replace(ours, mean_vertices=laid.neutral_head), replace(head, mean_vertices=laid.surface_neutral)
    )
    return replace(head, mediapipe=carried.mediapipe, regions=carried.regions)


def standard_five(head: ParametricHead, name: str) -> F64:
    """The five points ``(5, 3)``, decimetres, that crops for ``head`` (called ``name``) are aligned to.

    The release's template where it lies beside the head's file, as at inference; else the mean head's own.
    Raises: BadInput (no 68 points), BadWeights (the template cannot be read).
    """
    template = Path(name.partition(":")[2]).parent / TEMPLATE
    if name.startswith("hifi3dpp:") and template.is_file():
        return standard_points(template)
    mean = head.mean_vertices.astype(np.float64) / METRES_PER_UNIT
    return five_of_ibug(points68(head).positions(mean, head.triangles))
