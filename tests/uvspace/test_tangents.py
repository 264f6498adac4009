"""Normals and tangents against closed forms and Blender's own MikkTSpace."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from chart_meshes import cylinder, lattice, sphere

from backend.head.base import ParametricHead
from backend.uvspace.chart import tangent_to_head
from backend.uvspace.normals import vertex_normals
from backend.uvspace.tangents import corner_tangents

BLENDER = """
import sys, bpy, numpy as np
data = np.load(sys.argv[1])
mesh = bpy.data.meshes.new("m")
mesh.from_pydata(data["vertices"].tolist(), [], data["triangles"].tolist())
layer = mesh.uv_layers.new(name="uv")
layer.data.foreach_set("uv", data["uvs"][data["triangle_uvs"].ravel()].astype(np.float32).ravel())
mesh.shade_smooth()
mesh.calc_tangents(uvmap="uv")
n = len(mesh.loops)
tangent, sign, normal = np.empty(3 * n), np.empty(n), np.empty(3 * n)
mesh.loops.foreach_get("tangent", tangent)
mesh.loops.foreach_get("bitangent_sign", sign)
mesh.loops.foreach_get("normal", normal)
tangent, normal = tangent.reshape(-1, 3, 3), normal.reshape(-1, 3, 3)
np.savez(sys.argv[2], tangent=tangent, sign=sign.reshape(-1, 3), normal=normal)
"""


def tangents_of(head: ParametricHead) -> tuple[np.ndarray, np.ndarray]:
    normals = vertex_normals(head.mean_vertices, head.triangles)
    return normals, corner_tangents(head.mean_vertices, normals, head.triangles, head.uvs, head.triangle_uvs)


def degrees_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1)))


def test_sphere_normals_point_outwards() -> None:
    ball = sphere()
    expected = ball.mean_vertices / np.linalg.norm(ball.mean_vertices, axis=1, keepdims=True)
    normals, _ = tangents_of(ball)
    between_poles = np.abs(expected[:, 1]) < 0.999  # each pole is many vertices, one facet to each
    assert degrees_between(normals, expected)[between_poles].max() < 0.2


def test_cube_corner_normal_is_the_diagonal_however_it_is_cut() -> None:
    """Weighting by angle: a cube corner whose faces are cut into one or two triangles points (1, 1, 1)."""
    vertices = np.array(
        [[1, 1, 1], [-1, 1, 1], [-1, -1, 1], [1, -1, 1], [1, -1, -1], [1, 1, -1], [-1, 1, -1]]
    )
    # The front face is cut through the corner, the right and top faces beside it.
    triangles = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 5], [3, 4, 5], [0, 5, 1], [5, 6, 1]], np.int32)
    np.testing.assert_allclose(vertex_normals(vertices, triangles)[0], 3**-0.5, atol=1e-6)


def test_tube_tangents_run_around_it() -> None:
    tube = cylinder()
    _, tangents = tangents_of(tube)
    p = tube.mean_vertices[tube.triangles].astype(float)
    around = np.stack([p[..., 2], np.zeros(p.shape[:2]), -p[..., 0]], -1)
    around /= np.linalg.norm(around, axis=-1, keepdims=True)
    assert degrees_between(tangents[..., :3], around).max() < 0.01
    np.testing.assert_array_equal(tangents[..., 3], 1)


def test_mirrored_uvs_split_the_frame_and_flip_its_sign() -> None:
    """A flat sheet whose right half mirrors the left's UVs, as symmetric charts do."""
    triangles, _, uvs = lattice(3, 5)
    vertices = np.concatenate([uvs, np.zeros((len(uvs), 1))], 1)
    folded = np.stack([np.abs(uvs[:, 0] - 0.5), uvs[:, 1]], -1)
    normals = vertex_normals(vertices, triangles)
    tangents = corner_tangents(vertices, normals, triangles, folded, triangles)
    left = vertices[triangles][..., 0].mean(1) < 0.5
    np.testing.assert_allclose(tangents[left], np.broadcast_to([-1, 0, 0, -1], (left.sum(), 3, 4)), atol=1e-6)
    np.testing.assert_allclose(
        tangents[~left], np.broadcast_to([1, 0, 0, 1], ((~left).sum(), 3, 4)), atol=1e-6
    )
    # Up in the chart is up on the sheet on both sides.
    up = tangent_to_head(np.float32([0, 0, 1]), tangents[:, 0], np.float32([0, 1, 0]))
    np.testing.assert_allclose(up, np.broadcast_to([0, 1, 0], up.shape), atol=1e-6)


def test_triangles_without_uv_area_get_some_unit_tangent() -> None:
    triangles, _, uvs = lattice(3, 3)
    vertices = np.concatenate([uvs, np.zeros((len(uvs), 1))], 1)
    tangents = corner_tangents(
        vertices, vertex_normals(vertices, triangles), triangles, np.zeros_like(uvs), triangles
    )
    np.testing.assert_allclose(np.linalg.norm(tangents[..., :3], axis=-1), 1, atol=1e-6)


@pytest.mark.blend
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed (extra `blend`)")
def test_agrees_with_blender(tmp_path: Path) -> None:
    """Bumpy ball with skewed and partly mirrored UVs: tangents within 0.02°, signs equal."""
    ball = sphere(17, 32)
    rng = np.random.default_rng(7)
    vertices = (ball.mean_vertices * (1 + 0.2 * rng.uniform(size=(len(ball.mean_vertices), 1)))).astype("f4")
    uvs = ball.uvs + rng.uniform(-0.004, 0.004, ball.uvs.shape).astype("f4")
    mirrored = np.abs(uvs[:, 0] - 0.5) < 0.2
    uvs[mirrored, 0] = 1 - uvs[mirrored, 0]
    np.savez(
        tmp_path / "in.npz",
        vertices=vertices,
        triangles=ball.triangles,
        uvs=uvs,
        triangle_uvs=ball.triangle_uvs,
    )
    subprocess.run(
        [sys.executable, "-c", BLENDER, str(tmp_path / "in.npz"), str(tmp_path / "out.npz")],
        check=True,
        env={**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path)},
        capture_output=True,
        timeout=120,
    )
    expected = np.load(tmp_path / "out.npz")
    normals = vertex_normals(vertices, ball.triangles)
    assert degrees_between(normals[ball.triangles], expected["normal"]).max() < 0.02
    tangents = corner_tangents(vertices, normals, ball.triangles, uvs, ball.triangle_uvs)
    assert set(np.unique(expected["sign"])) == {-1, 1}
    np.testing.assert_array_equal(tangents[..., 3], expected["sign"])
    error = degrees_between(tangents[..., :3], expected["tangent"])
    print(f"tangent error against Blender: mean {error.mean():.5f}°, max {error.max():.5f}°")
    assert error.max() < 0.02
