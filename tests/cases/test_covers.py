"""Hats and hands for extra cases: where they lie, and that nothing else changes with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.head.open_head import load_open_head
from backend.photo import face_regions as regions
from backend.uvspace.rasterise import rasterise_camera
from synthdata.cases.case_set import COVERS, plan_case, plan_heads
from synthdata.cases.covers import WOOL_M, hand_meshes, hat_mesh, under_hat
from synthdata.headmodel.preview import look_at


@pytest.fixture(scope="module")
def head():
    return load_open_head()


def _hidden(meshes, head, points: np.ndarray) -> np.ndarray:
    """Which ``points`` the meshes hide from a camera before the face."""
    camera = look_at((0.0, 0.015, 0.03), 0.0, 0.0, 1.2, 0.35, 256)
    vertices = np.concatenate([v for v, _ in meshes])
    starts = np.cumsum([0] + [len(v) for v, _ in meshes[:-1]])
    quads = np.concatenate([q + s for (_, q), s in zip(meshes, starts, strict=True)])
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    seen = rasterise_camera(vertices, triangles, camera)
    (column, row), depth = camera.project(points)[0].astype(int).T, camera.project(points)[1]
    place = seen.interpolate(vertices, triangles)[row, column]
    return seen.covered[row, column] & (camera.to_camera(place)[:, 2] < depth)


def test_a_cover_changes_nothing_else():
    head = plan_heads(2)[1]
    bare = plan_case(head, "turned")
    for cover in COVERS:
        worn = plan_case(head, "turned", cover=cover)
        assert worn.id == f"{bare.id}_{cover}"
        assert replace(worn, id=bare.id, cover="") == bare


def test_a_hat_sits_on_the_head_and_leaves_the_face_free(head):
    vertices = head.mean_vertices
    hat, quads = hat_mesh(head, vertices)
    assert quads.max() < len(hat)
    points = head.mediapipe.positions(vertices, head.triangles)
    top = vertices[np.argmax(vertices[:, 1])]
    assert 0.8 * WOOL_M < hat[:, 1].max() - top[1] < 3 * WOOL_M
    brows, chin, crown = points[[105, 334]], points[[152]], points[[10]]
    hidden = _hidden([(hat, quads)], head, np.concatenate([brows, chin, crown]))
    assert hidden.tolist() == [False, False, False, True]
    strands = np.repeat(np.stack([top, points[152]])[:, None], 3, 1).astype(np.float32)
    assert under_hat(head, vertices, strands).tolist() == [True, False]


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_hand_lies_on_one_cheek(head, side: float):
    vertices = head.mean_vertices
    meshes = hand_meshes(head, vertices, side)
    points = head.mediapipe.positions(vertices, head.triangles)
    left, right = (points[list(patch)] for patch in (regions.LEFT_CHEEK, regions.RIGHT_CHEEK))
    near, far = (left, right) if side > 0 else (right, left)
    assert _hidden(meshes, head, near).mean() > 0.4
    assert not _hidden(meshes, head, np.concatenate([far, points[[159, 386, 1]]])).any()
