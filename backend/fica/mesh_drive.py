"""What a posed mesh asks of the prior: expression weights, gaze and the head's turn, by least squares.

Blender and the keyframes of `likeness drive` pose the avatar's mesh; the prior is driven by weights and gaze.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.head.base import ParametricHead
from backend.head.gaze import gaze_degrees, nearest_rotation
from backend.shading.parts import EYE_PARTS
from blender_addon.bundle import Mesh

_STILL_M, _MOVED_M = 1e-5, 3e-4  # what expressions move at most on the skull, at least on the face
_MOST_ROWS = 2500  # of the face's vertices that the solve looks at
_RIDGE = 1e-4  # of the mean of the normal matrix' diagonal
_ROUNDS = 3  # of taking off what expressions do together beyond their sum


@dataclass(frozen=True)
class MeshDrive:
    """How a mesh is posed."""

    weights: F32  # (E,) in [0, 1], in the mesh's order
    gaze: F32  # (4,) radians, both eyes: to their left, up
    turn: F64  # (3, 3) of the head against the neutral one


class MeshSolver:
    """Solves poses of one avatar's mesh."""

    def __init__(self, mesh: Mesh, head: ParametricHead) -> None:
        neutral = mesh.vertices_neutral_head
        offsets = np.zeros((len(mesh.expression_names), *neutral.shape), np.float32)
        for e in range(len(offsets)):
            rows, offset = mesh.expressions.rows(e)
            offsets[e, rows] = offset
        moved = np.sqrt((offsets**2).sum(2).max(0))
        eyes = np.isin(
            head.triangle_part, [head.part_names.index(n) for n in EYE_PARTS if n in head.part_names]
        )
        is_eye, is_skin = (
            _has(head.triangles[which], len(neutral)) for which in (eyes, head.triangle_part == 0)
        )
        above = neutral[:, 1] > mesh.eye_centres_head[:, 1].mean()
        self._mesh, self._head = mesh, head
        self._skull = np.flatnonzero(is_skin & above & (moved < _STILL_M))
        if len(self._skull) < 3:
            self._skull = np.argsort(moved + ~(is_skin & above))[:32]
        face = np.flatnonzero((is_skin | is_eye) & (moved > _MOVED_M))
        self._rows = face[:: max(1, len(face) // _MOST_ROWS)]
        self._basis = offsets[:, self._rows].reshape(len(offsets), -1).astype(np.float64)  # (E, 3n)
        normal = self._basis @ self._basis.T
        normal[np.diag_indices(len(normal))] += _RIDGE * max(float(np.trace(normal)) / len(normal), 1e-12)
        self._upper = np.linalg.cholesky(normal).T

    def solve(self, vertices: F32) -> MeshDrive:
        """The pose of ``vertices`` ``(V, 3)``, metres."""
        from scipy.linalg import solve_triangular
        from scipy.optimize import lsq_linear

        neutral = self._mesh.vertices_neutral_head.astype(np.float64)
        posed = np.asarray(vertices, np.float64)
        turn = nearest_rotation(neutral[self._skull], posed[self._skull])
        centre, now = neutral[self._skull].mean(0), posed[self._skull].mean(0)
        upright = (posed - now) @ turn + centre
        wanted = upright[self._rows] - neutral[self._rows]
        weights = np.zeros(len(self._basis))
        for _ in range(_ROUNDS):
            beyond = self._mesh.correctives.moved(weights.astype(np.float32), len(neutral))[self._rows]
            told = self._basis @ (wanted - beyond).reshape(-1)
            found = lsq_linear(self._upper, solve_triangular(self._upper.T, told, lower=True), (0.0, 1.0))
            weights = np.clip(found.x, 0, 1)
            if not len(self._mesh.correctives):
                break
        gaze = gaze_degrees(self._head, neutral.astype(np.float32), upright.astype(np.float32))
        return MeshDrive(weights.astype(np.float32), np.radians(np.array(gaze, np.float32)).reshape(-1), turn)


def _has(triangles: NDArray[np.int32], count: int) -> NDArray[np.bool_]:
    found = np.zeros(count, np.bool_)
    found[triangles.reshape(-1)] = True
    return found
