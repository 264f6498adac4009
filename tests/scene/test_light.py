"""The estimated light: the add-on's harmonics are the backend's, Blender's panorama looks the right way."""

from __future__ import annotations

import numpy as np
import pytest

from backend.shading import sh

pytestmark = pytest.mark.blend

LIGHT = np.zeros((9, 3))
LIGHT[:4] = [[2.0, 1.8, 1.6], [0.3, 0.3, 0.3], [0.5, 0.4, 0.3], [0.2, 0.3, 0.5]]
LIGHT[4:] = 0.1 * np.random.default_rng(0).normal(size=(5, 3))


def test_both_bases_are_the_same(bpy):
    from blender_addon.scene.light import _sh_basis

    d = np.random.default_rng(1).normal(size=(500, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    np.testing.assert_allclose(_sh_basis(d), sh.basis(d), atol=1e-12)


def test_ringing_light_keeps_its_coefficients(bpy):
    from blender_addon.scene.light import _panorama_basis, sh_panorama

    ringing = np.zeros((9, 3))
    ringing[0], ringing[2], ringing[6] = 1.0, 1.0, 0.3  # dips below zero at the back
    panorama = sh_panorama(ringing, 256, 128)
    assert panorama.min() == 0.0
    basis, solid_angle = _panorama_basis(256, 128)
    np.testing.assert_allclose(np.einsum("hwk,hwc->kc", basis * solid_angle, panorama), ringing, atol=2e-3)


@pytest.mark.slow
def test_a_diffuse_ball_shows_the_closed_form(bpy, tmp_path):
    """Cycles under our world against irradiance by Ramamoorthi & Hanrahan, per pixel of a white ball."""
    from backend.artifacts import Camera
    from backend.export.bundle_writer import camera_record
    from blender_addon.scene.camera import build_camera
    from blender_addon.scene.light import world_from_sh
    from blender_addon.scene.render import configure_cycles
    from blender_addon.scene.scene import set_output

    scene = bpy.context.scene
    bpy.ops.mesh.primitive_uv_sphere_add(segments=128, ring_count=64, radius=0.1)
    ball = bpy.context.object
    ball.data.shade_smooth()
    material = bpy.data.materials.new("white")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    diffuse, output = tree.nodes.new("ShaderNodeBsdfDiffuse"), tree.nodes.new("ShaderNodeOutputMaterial")
    diffuse.inputs["Color"].default_value = (1, 1, 1, 1)
    tree.links.new(diffuse.outputs[0], output.inputs["Surface"])
    ball.data.materials.append(material)
    scene.world = world_from_sh("light", LIGHT)
    size = 64
    pose = np.c_[np.diag([1.0, -1.0, -1.0]), [0, 0, 5.0]]
    camera = Camera(size * 5 / 0.22, (size / 2, size / 2), size, size, pose)
    scene.camera = build_camera("camera", camera_record(camera))
    scene.collection.objects.link(scene.camera)
    set_output(scene, size, size)
    configure_cycles(scene, 256, denoise=False)
    scene.render.film_transparent = True
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_depth = "32"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.filepath = str(tmp_path / "ball.exr")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(tmp_path / "ball.exr"))
    pixels = np.empty(size * size * 4, np.float32)
    image.pixels.foreach_get(pixels)
    shown = pixels.reshape(size, size, 4)[::-1]

    at = (np.arange(size) + 0.5 - size / 2) / (size / 2) * 0.11  # nearly orthographic
    x, y = np.meshgrid(at, -at)
    inside = np.hypot(x, y) < 0.09
    normal = np.stack([x, y, np.sqrt(np.maximum(0.1**2 - x**2 - y**2, 0))], -1) / 0.1
    wanted = sh.irradiance(LIGHT, normal) / np.pi
    ratio = shown[inside][:, :3] / wanted[inside]
    assert np.abs(ratio.mean() - 1) < 0.01
    assert np.sqrt(((ratio - 1) ** 2).mean()) < 0.03


def test_the_studio_stands_around_the_head(bpy):
    from mathutils import Vector

    from blender_addon.scene.light import build_studio

    key, fill, rim = build_studio(np.zeros(3), 0.12)
    assert key.location.x > 0  # the subject's left
    assert key.location.y < 0  # before the face
    assert fill.location.x < 0
    assert rim.location.y > 0  # behind
    for lamp in (key, fill, rim):
        shines = lamp.matrix_world.to_3x3() @ Vector((0, 0, -1))
        assert shines.dot(-lamp.location.normalized()) > 0.999
