"""Materials: every map reaches its socket in its colour space, images travel inside the file."""

from __future__ import annotations

import numpy as np
import pytest

from blender_addon.bundle import map_path

pytestmark = pytest.mark.blend


@pytest.fixture
def skin(bpy, avatar):
    from blender_addon.scene.material import build_skin

    return build_skin(avatar, "skin")


def _source(socket):
    return socket.links[0].from_node


def _principled(material):
    return next(n for n in material.node_tree.nodes if n.bl_idname == "ShaderNodeBsdfPrincipled")


def test_maps_reach_their_sockets(skin, avatar):
    principled = _principled(skin)
    for socket, name, space in (
        ("Base Color", "albedo", "sRGB"),
        ("Roughness", "roughness", "Non-Color"),
        ("Specular IOR Level", "specular", "Non-Color"),
    ):
        image = _source(principled.inputs[socket]).image
        assert image.packed_file.data == map_path(avatar.directory, name).read_bytes()
        assert image.colorspace_settings.name == space
    bend = _source(principled.inputs["Normal"])
    assert bend.bl_idname == "ShaderNodeNormalMap"
    assert bend.space == "TANGENT"
    normal = _source(bend.inputs["Color"]).image
    assert normal.colorspace_settings.name == "Non-Color"
    assert normal.packed_file.data == map_path(avatar.directory, "normal").read_bytes()
    assert principled.inputs["IOR"].default_value == pytest.approx(1.5)


def test_displacement_moves_the_surface(skin, avatar):
    output = next(n for n in skin.node_tree.nodes if n.bl_idname == "ShaderNodeOutputMaterial")
    displace = _source(output.inputs["Displacement"])
    assert displace.inputs["Midlevel"].default_value == avatar.manifest.displacement_midlevel
    assert displace.inputs["Scale"].default_value == pytest.approx(avatar.manifest.displacement_scale_m)
    image = _source(displace.inputs["Height"]).image
    assert image.colorspace_settings.name == "Non-Color"
    assert image.is_float  # sixteen bits, not eight
    assert skin.displacement_method != "BUMP"


def test_the_file_reopens_whole(bpy, avatar, tmp_path):
    from blender_addon.scene.scene import assemble_scene

    assemble_scene(avatar, bpy.context.scene)
    path = tmp_path / "avatar.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=True, copy=True)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    used = [image for image in bpy.data.images if image.users]
    assert len(used) == 6  # five maps and the estimated light
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
    assert scene.world.users == 1
    assert {o.name for o in scene.objects if o.type == "MESH"} == {
        f"portrait {part}" for part in avatar.mesh.part_names
    }
    keys = bpy.data.objects["portrait skin"].data.shape_keys.key_blocks
    assert keys["mouthSmileLeft"].value == pytest.approx(0.6)


def test_eye_chart_finds_pupil_and_iris(avatar):
    from blender_addon.scene.eyes import IRIS_OVER_EYEBALL, eye_chart

    for side, part in enumerate(("eye_left", "eye_right")):
        chart = eye_chart(avatar.mesh, part, avatar.mesh.eye_centres_head[side])
        assert chart.pupil_uv == pytest.approx((0.5, 0.5), abs=0.01)
        # the synthetic chart's radius is 0.48 per half turn from the front pole
        assert chart.iris_radius_uv == pytest.approx(0.48 * np.arcsin(IRIS_OVER_EYEBALL) / np.pi, rel=0.08)


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
