"""Eyes below a cornea shine as the cornea does, which pictures without refraction leave out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.head.base import ParametricHead

SIDES = ("left", "right")
NEAREST = 3


def with_corneal_normals(head: ParametricHead, normals: F32) -> F32:
    """``normals`` ``(V, 3)``, in which those of the eyeballs below a cornea are the cornea's."""
    from scipy.spatial import cKDTree

    out = normals
    for side, centre in zip(SIDES, head.eye_centres, strict=True):
        eye, cornea = (_rows(head, f"{part}_{side}") for part in ("eye", "cornea"))
        if len(eye) == 0 or len(cornea) == 0:
            continue
        # On the mean head the eye looks along +Z, so that what lies before a point has its x and y.
        under, over = (head.mean_vertices[rows] - centre for rows in (eye, cornea))
        reach = np.hypot(over[:, 0], over[:, 1]).max()
        covered = (np.hypot(under[:, 0], under[:, 1]) < reach) & (under[:, 2] > 0)
        gap, near = cKDTree(over[:, :2]).query(under[covered, :2], k=NEAREST)
        share = 1.0 / (gap + 1e-6)
        blend = np.einsum("nk,nkc->nc", share, normals[cornea[near]])
        out = out.copy() if out is normals else out
        out[eye[covered]] = blend / np.linalg.norm(blend, axis=1, keepdims=True)
    return out


def _rows(head: ParametricHead, part: str) -> NDArray[np.intp]:
    if part not in head.part_names:
        return np.zeros(0, np.intp)
    return np.asarray(np.unique(head.triangles[head.triangle_part == head.part_names.index(part)]), np.intp)
