"""Cornea and tear line: light reaches what lies below, reflections show, exporters get transmission."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytestmark = pytest.mark.blend


def _covered_plane(bpy, path, material):
    """Mean linear colour of a red plane under a sun and a sphere of ``material``, by Cycles."""
    from blender_addon.scene.nodes import new_material, set_inputs
    from blender_addon.scene.render import configure_cycles

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    red, _, principled = new_material("red")
    set_inputs(principled, {"Base Color": (0.5, 0.05, 0.05), "Roughness": 1.0, "Specular IOR Level": 0.0})
    bpy.ops.mesh.primitive_plane_add(size=2.0)
    bpy.context.object.data.materials.append(red)
    if material is not None:
        bpy.ops.mesh.primitive_uv_sphere_add(segments=24, ring_count=12, radius=0.6, location=(0, 0, -0.2))
        bpy.ops.object.shade_smooth()
        bpy.context.object.data.materials.append(material(bpy))
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy = 2.0
    sun.rotation_euler = (0.5, 0.0, 0.0)  # its mirror image lies off the camera
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.location = (0, 0, 4)
    camera.data.lens = 300
    for obj in (sun, camera):
        scene.collection.objects.link(obj)
    scene.camera = camera
    configure_cycles(scene, 16, denoise=False)
    scene.view_settings.view_transform = "Raw"
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    pixels = np.empty(16 * 16 * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(16, 16, 4)[..., :3].mean((0, 1))


@pytest.mark.parametrize("kind", ["build_cornea", "build_tear_line"])
def test_what_lies_below_is_lit_as_if_bare(bpy, tmp_path, kind):
    from blender_addon.scene import clear

    bare = _covered_plane(bpy, tmp_path / "bare.exr", None)
    seen = _covered_plane(bpy, tmp_path / "seen.exr", lambda bpy: getattr(clear, kind)("film"))
    assert bare[0] > 0.2
    assert seen[0] == pytest.approx(bare[0], rel=0.1)  # but for the few per cent that are reflected


def test_cornea_has_an_output_for_each_engine(bpy):
    from blender_addon.scene.clear import build_cornea

    material = build_cornea("cornea")
    outputs = {n.target: n for n in material.node_tree.nodes if n.bl_idname == "ShaderNodeOutputMaterial"}
    assert set(outputs) == {"CYCLES", "EEVEE"}
    assert all(node.inputs["Surface"].is_linked for node in outputs.values())
    assert material.diffuse_color[3] < 0.2, "clear in the solid viewport"


def _with_part(avatar, name):
    """The avatar with its teeth called ``name``."""
    parts = tuple(name if part == "teeth" else part for part in avatar.mesh.part_names)
    return dataclasses.replace(avatar, mesh=dataclasses.replace(avatar.mesh, part_names=parts))


def test_cornea_turns_with_the_bone_of_its_eye_alone(bpy, avatar):
    from blender_addon.scene.scene import build_avatar

    cornea = build_avatar(_with_part(avatar, "cornea_left"), bpy.context.scene.collection).parts[
        "cornea_left"
    ]
    assert [group.name for group in cornea.vertex_groups] == ["eye.L"]
    keys = cornea.data.shape_keys
    assert keys is None or not any(key.name.startswith("bone ") for key in keys.key_blocks)


def test_below_a_cornea_the_iris_is_dry(bpy, avatar):
    from blender_addon.scene.scene import build_avatar

    def coat(given):
        eye = build_avatar(given, bpy.context.scene.collection).parts["eye_left"]
        nodes = eye.data.materials[0].node_tree.nodes
        return next(n for n in nodes if n.bl_idname == "ShaderNodeBsdfPrincipled").inputs["Coat Weight"]

    assert not coat(avatar).is_linked
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert coat(_with_part(avatar, "cornea_left")).is_linked


def test_brow_strands_wait_hidden_and_stay_out_of_gltf(bpy, avatar):
    """The albedo has the photographed brows already."""
    from blender_addon.scene.gltf import GltfImages, build_gltf_head
    from blender_addon.scene.scene import build_avatar

    given = _with_part(avatar, "brows")
    parts = build_avatar(given, bpy.context.scene.collection).parts
    assert parts["brows"].hide_render
    assert parts["brows"].hide_viewport
    assert not parts["skin"].hide_render
    png = (avatar.directory / "maps" / "albedo.png").read_bytes()
    images = GltfImages(png, png, png, png, {"eye_left": png, "eye_right": png})
    root = build_gltf_head(given, images, bpy.context.scene.collection)
    assert "brows" not in [child.name.split(".")[0] for child in root.children]
    assert len(root.children) == len(avatar.mesh.part_names) - 1


@pytest.mark.parametrize("part", ["cornea_left", "tear_line"])
def test_gltf_gets_transmission(bpy, part):
    from blender_addon.scene.clear import build_clear_for_gltf, is_clear

    assert is_clear(part)
    nodes = build_clear_for_gltf(part).node_tree.nodes
    principled = next(n for n in nodes if n.bl_idname == "ShaderNodeBsdfPrincipled")
    assert principled.inputs["Transmission Weight"].default_value == 1.0
    assert principled.inputs["Alpha"].default_value == 1.0


def test_gloss_is_off_where_the_cornea_shines(bpy):
    from blender_addon.scene.eyes import EyeChart, eye_gloss

    gloss = eye_gloss(EyeChart((0.5, 0.5), 0.25, has_cornea=True), 100)
    assert gloss[50, 50] == 0.0
    assert gloss[50, 99] == 1.0
    assert (eye_gloss(EyeChart((0.5, 0.5), 0.25), 8) == 1.0).all()
