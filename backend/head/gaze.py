"""Where the eyes of a posed head look."""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32, F64
from backend.head.base import ParametricHead
from backend.shading.parts import EYE_PARTS

Angles = tuple[float, float]  # degrees: towards the subject's left, upwards


def gaze_degrees(head: ParametricHead, neutral_head: F32, posed_head: F32) -> tuple[Angles, Angles]:
    """Of the left and the right eye, by the rotation that brings the neutral eye onto the posed one.

    ``neutral_head`` and ``posed_head`` are ``(V, 3)`` metres; the neutral eyes look along +Z.
    """
    left, right = (_turn_of(head, name, neutral_head, posed_head) for name in EYE_PARTS)
    return left, right


def nearest_rotation(before: F64, after: F64) -> F64:
    """The rotation ``(3, 3)`` nearest to what carries ``before`` onto ``after``, both ``(N, 3)`` (Kabsch).

    Both are taken from their means; never a mirror image.
    """
    u, _, vt = np.linalg.svd((after - after.mean(0)).T @ (before - before.mean(0)))
    return np.asarray(u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt)


def _turn_of(head: ParametricHead, part: str, neutral: F32, posed: F32) -> Angles:
    if part not in head.part_names:
        return 0.0, 0.0
    rows = np.unique(head.triangles[head.triangle_part == head.part_names.index(part)])
    before, after = (v[rows].astype(np.float64) for v in (neutral, posed))
    x, y, z = nearest_rotation(before, after)[:, 2]  # whatever else the eye did
    return float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arcsin(np.clip(y, -1, 1))))
