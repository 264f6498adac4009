"""What poses a mesh is found again from its vertices alone."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_avatar import make_reconstruction

from backend.export.bundle_writer import mesh_of
from backend.fica.mesh_drive import MeshSolver
from backend.head.base import ParametricHead
from blender_addon.bundle import Mesh

WEIGHTS = {
    "jawOpen": 0.4,
    "mouthSmileLeft": 0.7,
    "eyeLookOutLeft": 0.5,
    "eyeLookInRight": 0.5,
    "browInnerUp": 0.8,
    "eyeBlinkLeft": 1.0,
}


@pytest.fixture(scope="module")
def mesh(head: ParametricHead) -> Mesh:
    return mesh_of(make_reconstruction(head).fit)


def test_weights_gaze_and_turn(mesh: Mesh, head: ParametricHead) -> None:
    solver = MeshSolver(mesh, head)
    weights = np.array([WEIGHTS.get(name, 0.0) for name in mesh.expression_names], np.float32)
    a = np.radians(-18)
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    posed = (mesh.posed(weights) @ turn.T + (0.01, -0.02, 0.005)).astype(np.float32)
    found = solver.solve(posed)
    np.testing.assert_allclose(found.turn, turn, atol=1e-3)
    assert np.abs(found.weights - weights).max() < 0.05
    off = np.linalg.norm(mesh.posed(found.weights) - mesh.posed(weights), axis=1)
    assert off.max() < 5e-4
    assert found.gaze[0] * found.gaze[2] > 0  # both eyes look to the same side
    assert abs(found.gaze[0]) > 0.1
    resting = solver.solve(mesh.vertices_neutral_head)
    assert np.abs(resting.weights).max() < 0.01
