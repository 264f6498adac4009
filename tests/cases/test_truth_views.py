"""The truth's buffers against embree and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_material import sphere

from backend.head.open_head import load_open_head
from synthdata.cases.heads import expressed
from synthdata.cases.truth_views import view_buffers
from synthdata.headmodel.preview import look_at

FLAT = np.full((64, 64, 3), 0.5, np.float32)


@pytest.mark.parametrize("yaw", [0.0, 45.0])
def test_positions_are_where_embree_hits(yaw: float):
    from trimesh import Trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    head = load_open_head()
    vertices, _ = expressed(head, head.mean_vertices, {"mouthSmileLeft": 0.5})
    subject = replace(
        sphere(FLAT),
        vertices_head=vertices,
        triangles=head.triangles,
        is_skin=head.triangle_part == 0,
        uvs=head.uvs,
        triangle_uvs=head.triangle_uvs,
        face=head.regions["face"],
    )
    camera = look_at((0.0, 0.0, 0.03), yaw, 3.0, 0.9, 0.34, 160)
    buffers = view_buffers(subject, camera, np.zeros((160, 160), np.uint8))
    x, y = np.meshgrid(np.arange(160) + 0.5, np.arange(160) + 0.5)
    local = np.stack([(x - 80) / camera.focal_px, (y - 80) / camera.focal_px, np.ones_like(x)], -1)
    direction = local.reshape(-1, 3) @ camera.world_to_camera[:, :3]
    origin = np.broadcast_to(camera.centre_head, direction.shape)
    mesh = Trimesh(vertices, head.triangles, process=False)
    found, ray, _ = RayMeshIntersector(mesh).intersects_location(origin, direction, multiple_hits=False)
    hit = np.zeros(160 * 160, bool)
    hit[ray] = True
    drawn = np.isfinite(buffers["position_head"].reshape(-1, 3)).all(1)
    assert (hit != drawn).mean() < 1e-3
    both = hit[ray] & drawn[ray]
    gap = np.linalg.norm(buffers["position_head"].reshape(-1, 3)[ray] - found, axis=1)[both]
    assert np.quantile(gap, 0.999) < 2e-5
    assert (buffers["skin_mask"].ravel() <= drawn).all()


def test_normals_and_maps_of_a_ball():
    rng = np.random.default_rng(1)
    albedo = rng.random((8, 8, 3)).astype(np.float32).repeat(16, 0).repeat(16, 1)
    ball = replace(sphere(albedo), displacement_m=np.full((128, 128), 1e-4, np.float32))
    camera = look_at((0.0, 0.0, 0.0), 20.0, 10.0, 1.0, 0.25, 128)
    buffers = view_buffers(ball, camera, np.zeros((128, 128), np.uint8))
    inside = buffers["skin_mask"] > 0
    position, normal = buffers["position_head"][inside], buffers["normal_head"][inside]
    np.testing.assert_allclose(normal, position / np.linalg.norm(position, axis=1)[:, None], atol=5e-3)
    u = (np.arctan2(position[:, 0], position[:, 2]) / (2 * np.pi) + 0.25) % 1
    v = 1 - np.arccos(position[:, 1] / 0.1) / np.pi
    at = np.stack([128 * u, 128 * (1 - v)], 1)
    # Away from the borders of its blocks the map is flat, so the value is known exactly.
    clear = (np.abs(at % 16 - 8) < 6).all(1) & (v > 0.1) & (v < 0.9)
    expected = albedo[at[clear, 1].astype(int), at[clear, 0].astype(int)]
    np.testing.assert_allclose(buffers["albedo_linear"][inside][clear], expected, atol=1e-3)
    np.testing.assert_allclose(buffers["displacement_m"][inside], 1e-4, rtol=1e-2)
    assert "roughness" not in buffers  # it is assumed, not known


def test_what_is_hidden_is_no_skin_but_keeps_its_surface():
    camera = look_at((0.0, 0.0, 0.0), 0.0, 0.0, 1.0, 0.25, 64)
    hidden = np.zeros((64, 64), np.uint8)
    hidden[20:30] = 1
    buffers = view_buffers(sphere(FLAT), camera, hidden)
    assert not buffers["skin_mask"][20:30].any()
    assert buffers["face_mask"][25, 32] == 1
    np.testing.assert_array_equal(buffers["occluder_mask"], hidden)
    np.testing.assert_allclose(buffers["albedo_linear"][25, 32], 0.5, atol=1e-3)
