"""The group "Likeness Skin": neutral defaults are the maps themselves, sliders act and stay skin."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.blend


@pytest.fixture
def material(bpy, avatar):
    from blender_addon.scene.scene import build_avatar

    return build_avatar(avatar, bpy.context.scene.collection).parts["skin"].data.materials[0]


def _node(material):
    return material.node_tree.nodes["Likeness Skin"]


def _principled(material):
    tree = _node(material).node_tree
    return next(n for n in tree.nodes if n.bl_idname == "ShaderNodeBsdfPrincipled")


def test_one_group_serves_all_heads(bpy, avatar, material):
    from blender_addon.scene.scene import build_avatar
    from blender_addon.scene.skin_group import skin_group

    build_avatar(avatar, bpy.context.scene.collection)
    assert _node(material).node_tree == skin_group()
    assert len([t for t in bpy.data.node_groups if "likeness_skin_version" in t]) == 1


def test_constants_are_those_of_skin(material):
    """Jensen et al. 2001, "skin1": mean free paths 3.67, 1.37, 0.68 mm; IOR of F0 = 0.08 · level."""
    principled = _principled(material)
    assert principled.inputs["IOR"].default_value == pytest.approx(1.5)
    assert principled.subsurface_method == "RANDOM_WALK"
    radius = np.array(principled.inputs["Subsurface Radius"].default_value)
    scale = principled.inputs["Subsurface Scale"].links[0].from_node.inputs[1].default_value
    np.testing.assert_allclose(radius * scale * 1000, [3.67, 1.37, 0.68], atol=0.005)
    assert _node(material).inputs["Subsurface"].default_value == pytest.approx(0.4)


def _plain(bpy, avatar, group):
    """A bare Principled material with the maps wired straight in: what the group must equal."""
    from blender_addon.scene.nodes import new_material, set_inputs

    material, tree, principled = new_material("plain")
    for name, socket in (
        ("Albedo", "Base Color"), ("Roughness", "Roughness"), ("Specular", "Specular IOR Level"),
    ):  # fmt: skip
        node = tree.nodes.new("ShaderNodeTexImage")
        node.image = group.inputs[name].links[0].from_node.image
        node.extension = "EXTEND"
        tree.links.new(node.outputs["Color"], principled.inputs[socket])
    bend, normal = tree.nodes.new("ShaderNodeNormalMap"), tree.nodes.new("ShaderNodeTexImage")
    bend.uv_map = "UVMap"
    normal.image = group.inputs["Normal"].links[0].from_node.image
    normal.extension = "EXTEND"
    tree.links.new(normal.outputs["Color"], bend.inputs["Color"])
    tree.links.new(bend.outputs["Normal"], principled.inputs["Normal"])
    principled.subsurface_method = "RANDOM_WALK"
    set_inputs(
        principled,
        {
            "IOR": 1.5, "Subsurface Weight": 0.4, "Subsurface Radius": (1.0, 0.373, 0.185),
            "Subsurface Scale": 0.00367,
        },
    )  # fmt: skip
    displace, height = tree.nodes.new("ShaderNodeDisplacement"), tree.nodes.new("ShaderNodeTexImage")
    displace.space = "OBJECT"
    set_inputs(
        displace,
        {
            "Midlevel": avatar.manifest.displacement_midlevel,
            "Scale": avatar.manifest.displacement_scale_m,
        },
    )
    height.image = group.inputs["Displacement"].links[0].from_node.image
    height.extension, height.interpolation = "EXTEND", "Cubic"
    tree.links.new(height.outputs["Color"], displace.inputs["Height"])
    output = next(n for n in tree.nodes if n.bl_idname == "ShaderNodeOutputMaterial")
    tree.links.new(displace.outputs["Displacement"], output.inputs["Displacement"])
    material.displacement_method = "DISPLACEMENT"
    return material


def _render(bpy, avatar, path, size=64):
    from blender_addon.scene.camera import build_camera, orbit
    from blender_addon.scene.render import configure_cycles, render_to_file
    from blender_addon.scene.scene import head_sphere, set_output

    scene = bpy.context.scene
    if scene.camera is None:
        scene.camera = build_camera("view", orbit(*head_sphere(avatar), 25, 5, size))
        scene.collection.objects.link(scene.camera)
        from blender_addon.scene.light import world_from_sh

        scene.world = world_from_sh("light", np.array(avatar.manifest.light.radiance_sh))
    set_output(scene, size, size)
    configure_cycles(scene, 16, denoise=False)
    render_to_file(scene, path)
    image = bpy.data.images.load(str(path), check_existing=False)
    pixels = np.array(image.pixels[:]).reshape(size, size, 4)[..., :3]
    bpy.data.images.remove(image)
    return pixels


@pytest.mark.slow
def test_neutral_renders_as_plain_principled(bpy, avatar, material, tmp_path):
    grouped = _render(bpy, avatar, tmp_path / "a.png")
    skin = next(o for o in bpy.data.objects if o.get("likeness_part") == "skin")
    skin.data.materials[0] = _plain(bpy, avatar, _node(material))
    plain = _render(bpy, avatar, tmp_path / "b.png")
    assert np.abs(grouped - plain).max() <= 2.5 / 255  # same seed: rounding is all that may differ
    assert grouped.std() > 0.02


@pytest.mark.slow
def test_sliders_change_what_they_say(bpy, avatar, material, tmp_path):
    def mean(**sliders):
        inputs = _node(material).inputs
        before = {name: inputs[name].default_value for name in sliders}
        for name, value in sliders.items():
            inputs[name].default_value = value
        picture = _render(bpy, avatar, tmp_path / "c.png")
        for name, value in before.items():
            inputs[name].default_value = value
        return picture[24:40, 24:40].mean(axis=(0, 1))

    neutral, tan, pale, red = mean(), mean(Tan=1.0), mean(Tan=-0.5), mean(Redness=1.0)
    assert (tan < 0.9 * neutral).all()
    assert tan[0] / tan[2] > 1.1 * neutral[0] / neutral[2]  # melanin takes blue first
    assert (pale > neutral).all()
    assert red[1] < 0.93 * neutral[1]
    assert red[0] == pytest.approx(neutral[0], rel=0.04)
    assert np.abs(mean(**{"Blush": 1.0, "Lip Tint": 1.0}) - neutral).max() < 0.1  # not between the eyes


def test_the_lips_of_the_head_become_a_mask(bpy, tmp_path):
    import dataclasses

    from synthetic_avatar import make_head, make_reconstruction

    from backend.export.bundle_writer import write_bundle
    from blender_addon.bundle import read_bundle
    from blender_addon.scene.scene import build_avatar

    head = make_head()
    lips = (np.abs(head.mean_vertices[:, 1] + 0.05) < 0.02).astype(np.float32)
    made = make_reconstruction(dataclasses.replace(head, regions={"lips": lips}))
    read = read_bundle(write_bundle(made, tmp_path / "portrait"))
    skin = build_avatar(read, bpy.context.scene.collection).parts["skin"]
    layer = skin.data.attributes["likeness_lips"]
    values = np.empty(len(skin.data.vertices), np.float32)
    layer.data.foreach_get("value", values)
    height = np.array([v.co.z for v in skin.data.vertices])
    np.testing.assert_array_equal(values, (np.abs(height + 0.05) < 0.02).astype(np.float32))
    blush = skin.data.attributes["likeness_blush"]
    blush.data.foreach_get("value", values)
    reddest = skin.data.vertices[int(values.argmax())].co
    assert values.min() >= 0
    assert values.max() <= 1
    assert abs(reddest.x) > 0.02  # on a cheek, below the eye
    assert reddest.z < 0.03
