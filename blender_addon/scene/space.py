"""Head space to Blender's scene space and back; no bpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Blender's axes from head space: (x, y, z) → (x, −z, y).
HEAD_TO_SCENE: NDArray[np.float64] = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def to_scene(points_head: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Head-space points or directions ``(..., 3)`` in Blender's axes (same unit)."""
    return np.asarray(points_head, np.float64) @ HEAD_TO_SCENE.T


def to_head(points_scene: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Points or directions ``(..., 3)`` in Blender's axes in head space (same unit)."""
    return np.asarray(points_scene, np.float64) @ HEAD_TO_SCENE
