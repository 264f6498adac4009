"""Which pixels of a truth's view count, and its buffers by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput
from backend.evaluation.cases import TruthView


def buffer(view: TruthView, name: str, why: str) -> NDArray[Any]:
    """The buffer ``name``. Raises: BadInput saying that ``why`` is left out without it."""
    if name not in view.buffers:
        raise BadInput(f"the truth's view has no {name}; {why} is left out")
    return view.buffers[name]


def face_of(view: TruthView) -> NDArray[np.bool_]:
    """The truth's visible face ``(H, W)``: its face, without what covers it. Raises: BadInput."""
    face = buffer(view, "face_mask", "everything on the face") > 0
    return np.asarray(face & ~_occluded(view))


def skin_of(view: TruthView) -> NDArray[np.bool_]:
    """The truth's visible facial skin ``(H, W)``. Raises: BadInput."""
    face = face_of(view)
    return np.asarray(face & (view.buffers["skin_mask"] > 0)) if "skin_mask" in view.buffers else face


def both(mask: NDArray[np.bool_], covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of ``mask`` that the reconstruction covers as well."""
    return np.asarray(mask & covered)


def covered_percent(mask: NDArray[np.bool_], covered: NDArray[np.bool_]) -> float | None:
    """How much of ``mask`` the reconstruction covers: errors are measured there alone, so this stands beside
    them. None for an empty mask."""
    return 100 * float(both(mask, covered).sum()) / int(mask.sum()) if mask.any() else None


def _occluded(view: TruthView) -> NDArray[np.bool_]:
    if "occluder_mask" not in view.buffers:
        return np.zeros((view.camera.height_px, view.camera.width_px), bool)
    return np.asarray(view.buffers["occluder_mask"] > 0)
