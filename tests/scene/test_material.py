"""Materials: every map reaches its socket in its colour space, images travel inside the file."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_avatar import EYE_RADIUS

from blender_addon.bundle import map_path

pytestmark = pytest.mark.blend


@pytest.fixture
def skin(bpy, avatar):
    from blender_addon.scene.scene import build_avatar

    return build_avatar(avatar, bpy.context.scene.collection).parts["skin"].data.materials[0]


def _source(socket):
    return socket.links[0].from_node


def _group(material):
    return next(n for n in material.node_tree.nodes if n.bl_idname == "ShaderNodeGroup")


def _inner(material, kind):
    return next(n for n in _group(material).node_tree.nodes if n.bl_idname == kind)


def test_maps_reach_the_group_in_their_colour_space(skin, avatar):
    group = _group(skin)
    for name in ("albedo", "normal", "roughness", "specular", "displacement"):
        image = _source(group.inputs[name.capitalize()]).image
        assert image.packed_file.data == map_path(avatar.directory, name).read_bytes()
        assert image.colorspace_settings.name == ("sRGB" if name == "albedo" else "Non-Color")


def test_displacement_moves_the_surface(skin, avatar):
    output = next(n for n in skin.node_tree.nodes if n.bl_idname == "ShaderNodeOutputMaterial")
    assert _source(output.inputs["Displacement"]) == _group(skin)
    inputs = _group(skin).inputs
    assert inputs["Displacement Midlevel"].default_value == avatar.manifest.displacement_midlevel
    assert inputs["Displacement Height"].default_value == pytest.approx(avatar.manifest.displacement_scale_m)
    assert _source(inputs["Displacement"]).image.is_float  # sixteen bits, not eight
    assert skin.displacement_method != "BUMP"


def test_the_file_reopens_whole(bpy, avatar, tmp_path):
    from blender_addon.scene.scene import assemble_scene

    assemble_scene(avatar, bpy.context.scene)
    path = tmp_path / "avatar.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=True, copy=True)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    used = [image for image in bpy.data.images if image.users]
    assert len(used) == 7  # six maps and the estimated light
    assert all(image.packed_file is not None for image in used)
    light = next(image for image in used if "light" in image.name)
    assert light.is_float
    pixels = np.empty(len(light.pixels), np.float32)
    light.pixels.foreach_get(pixels)
    assert pixels.reshape(-1, 4)[:, :3].max() > 0.5
    scene = bpy.context.scene
    assert scene.view_settings.view_transform == "Standard"
    assert scene.camera is not None
    assert scene.eevee.use_raytracing
    behind = next(n for n in scene.world.node_tree.nodes if n.bl_idname == "ShaderNodeMixShader")
    assert _source(behind.inputs[0]).bl_idname == "ShaderNodeLightPath"  # the camera sees grey there
    assert scene.world.users == 2  # the scene and its own fake user
    assert {o.name for o in scene.objects if o.type == "MESH"} == {
        f"portrait {part}" for part in avatar.mesh.part_names
    }
    keys = bpy.data.objects["portrait skin"].data.shape_keys.key_blocks
    assert keys["mouthSmileLeft"].value == pytest.approx(0.6)


def test_eye_chart_finds_pupil_and_iris(avatar):
    from blender_addon.scene.eyes import IRIS_RADIUS_M, eye_chart

    for side, part in enumerate(("eye_left", "eye_right")):
        chart = eye_chart(avatar.mesh, part, avatar.mesh.eye_centres_head[side])
        assert chart.pupil_uv == pytest.approx((0.5, 0.5), abs=0.01)
        # the synthetic chart's radius is 0.48 per half turn from the front pole
        wanted = 0.48 * np.arcsin(IRIS_RADIUS_M / EYE_RADIUS) / np.pi
        assert chart.iris_radius_uv == pytest.approx(wanted, rel=0.08)


def test_eye_colours_for_formats_without_nodes():
    from blender_addon.scene.eyes import SCLERA_LINEAR, EyeChart, eye_colours, srgb_to_linear

    colours = eye_colours(EyeChart((0.5, 0.25), 0.1), (0.2, 0.4, 0.7), 200)
    row = 150  # v = 0.25 lies three quarters down
    assert colours[row, 100] == pytest.approx((0, 0, 0), abs=0.02)
    assert colours[row, 123] == pytest.approx(SCLERA_LINEAR, rel=0.02)
    iris = colours[row - 14 : row + 15, 86:115].reshape(-1, 3)
    iris = iris[iris.sum(axis=1) > 0.05].mean(axis=0)
    wanted = np.array(srgb_to_linear((0.2, 0.4, 0.7)))
    assert iris / iris.sum() == pytest.approx(wanted / wanted.sum(), abs=0.03)
