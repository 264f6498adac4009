"""Blender's camera projects as the photograph's: checked with Blender's own projection."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_avatar import make_camera

from backend.export.bundle_writer import camera_record

pytestmark = pytest.mark.blend


def _project(bpy, record, points_head):
    from bpy_extras.object_utils import world_to_camera_view
    from mathutils import Vector

    from blender_addon.scene.camera import build_camera
    from blender_addon.scene.scene import set_output
    from blender_addon.scene.space import to_scene

    scene = bpy.context.scene
    set_output(scene, record.width_px, record.height_px)
    camera = build_camera("test", record)
    scene.collection.objects.link(camera)
    bpy.context.view_layer.update()
    view = np.array([world_to_camera_view(scene, camera, Vector(p)) for p in to_scene(points_head)])
    size = np.array([record.width_px, record.height_px])
    return np.c_[view[:, 0], 1 - view[:, 1]] * size, view[:, 2]


@pytest.mark.parametrize(("width", "height"), [(320, 240), (240, 320), (3000, 4000), (512, 512)])
def test_projection_equals_the_photographs(bpy, width, height):
    camera = make_camera(width, height)
    points = np.random.default_rng(3).uniform(-0.12, 0.12, (200, 3))
    pixels, depth = camera.project(points)
    got, got_depth = _project(bpy, camera_record(camera), points)
    assert np.abs(got - pixels).max() <= 0.01
    np.testing.assert_allclose(got_depth, depth, rtol=1e-5)


@pytest.mark.parametrize(("width", "height"), [(160, 120), (161, 121), (640, 480)])
def test_a_resized_view_shows_the_same(bpy, width, height):
    from blender_addon.scene.camera import resized

    camera = make_camera(320, 240)
    points = np.random.default_rng(4).uniform(-0.1, 0.1, (50, 3))
    got, _ = _project(bpy, resized(camera_record(camera), width, height), points)
    scale = width / 320
    wanted = camera.project(points)[0] * scale + [0, (height - 240 * scale) / 2]
    assert np.abs(got - wanted).max() <= 0.01


def test_orbit_frames_the_head_from_the_named_side(bpy):
    from blender_addon.scene.camera import orbit

    centre, radius = np.array([0.01, 0.02, -0.03]), 0.12
    sphere = np.random.default_rng(5).normal(size=(2000, 3))
    sphere = centre + radius * sphere / np.linalg.norm(sphere, axis=1, keepdims=True)
    for yaw, pitch in ((0, 0), (90, 0), (-90, 0), (30, 20), (-120, -45)):
        pixels, _ = _project(bpy, orbit(centre, radius, yaw, pitch, 200), sphere)
        assert np.ptp(pixels, axis=0).min() > 0.90 * 200
        assert pixels.min() > 0
        assert pixels.max() < 200
    nose, left_ear, crown = centre + np.diag([0.1, 0.1, 0.1])[[2, 0, 1]]
    front, depth = _project(bpy, orbit(centre, radius, 0, 0, 200), np.stack([nose, left_ear, crown]))
    assert front[1, 0] > 150  # the subject's left is on the viewer's right
    assert front[2, 1] < 50
    assert depth[0] < depth[1]
    _, depth = _project(bpy, orbit(centre, radius, 90, 0, 200), np.stack([nose, left_ear, crown]))
    assert depth[1] == depth.min()  # seen from the subject's left
    _, depth = _project(bpy, orbit(centre, radius, 0, 80, 200), np.stack([nose, left_ear, crown]))
    assert depth[2] == depth.min()  # seen from above
