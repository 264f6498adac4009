"""A reconstruction as the metrics see it: an avatar folder, and where the key points lie on its mesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.keypoints import key_points
from backend.evaluation.realy import Shape
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from blender_addon.bundle import Avatar, read_bundle

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """What a method made of one photograph."""

    method: str
    avatar: Avatar
    head: ParametricHead  # the model whose mesh the avatar has; tells where landmarks lie on it

    @property
    def directory(self) -> Path:
        return self.avatar.directory

    @cached_property
    def photographed(self) -> Shape:
        """The skin of the photographed face, with its expression, head space."""
        return self._shape(self.avatar.mesh.expressed())

    @cached_property
    def neutral(self) -> Shape:
        """The skin of the neutral face, head space."""
        return self._shape(self.avatar.mesh.vertices_neutral_head)

    def points478(self, vertices: NDArray[np.float32]) -> F64:
        """Face Mesh's points ``(478, 3)`` on ``vertices`` ``(V, 3)`` of this mesh; NaN where unknown."""
        points = self.head.mediapipe
        found = points.positions(vertices, self.head.triangles)
        found[points.triangle < 0] = np.nan
        return found

    def _shape(self, vertices: NDArray[np.float32]) -> Shape:
        skin = self.head.triangles[self.head.triangle_part == 0]
        return Shape(vertices.astype(np.float64), skin.astype(np.int64), key_points(self.points478(vertices)))


def read_prediction(method: str, directory: Path, head: str = "open") -> Prediction:
    """The prediction in the avatar folder ``directory``, made with the head called ``head``.

    Raises: BundleError (no whole avatar), BadInput (no such head), ValueError (the mesh is not that head's).
    """
    avatar, model = read_bundle(directory), load_head(head)
    if len(avatar.mesh.vertices_neutral_head) != len(model.mean_vertices):
        raise ValueError(f"'{directory}' was made with another head than '{head}'")
    return Prediction(method, avatar, model)
