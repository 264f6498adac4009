"""Casting landmarks back on the head: what the camera sees from outside, and what lies beside it."""

from __future__ import annotations

import numpy as np
from small_head import small_head

from backend.uvspace.rasterise import rasterise_camera
from synthdata.headmodel.landmarks import BESIDE_PX, facing, onto_covered
from synthdata.headmodel.preview import look_at


def test_only_the_side_towards_the_camera_faces_it():
    """Two sheets, the hinder one turned round: through a hole in the first the second shows its back."""
    head = small_head()
    v = head.mean_vertices.astype(np.float64)
    hole = np.abs(v[head.triangles, :2]).max((1, 2)) < 0.03
    back = v * [1, 1, 0] - [0, 0, 0.1]
    vertices = np.concatenate([v, back])
    triangles = np.concatenate([head.triangles[~hole], head.triangles[:, ::-1] + len(v)])
    camera = look_at((0.0, 0.0, 0.0), 0, 0, 1.0, 0.14, 200)
    front = facing(vertices, triangles, camera)
    np.testing.assert_array_equal(front, np.arange(len(triangles)) < len(head.triangles) - hole.sum())
    seen = rasterise_camera(vertices, triangles, camera)
    middle = seen.triangle[100, 100]
    assert middle >= 0
    assert not front[middle]


def test_a_cast_that_just_misses_goes_to_the_nearest_pixel():
    covered = np.zeros((40, 40), bool)
    covered[:, :10] = True
    row, column = np.array([5, 20, 20]), np.array([7, 9 + int(BESIDE_PX), 11 + int(BESIDE_PX)])
    rows, columns, found = onto_covered(covered, row, column)
    np.testing.assert_array_equal(found, [True, True, False])
    np.testing.assert_array_equal(rows, row)
    np.testing.assert_array_equal(columns, [7, 9, 9])
