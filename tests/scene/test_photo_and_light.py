"""Match photo, the difference picture, relighting and the confidence overlay."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from blender_addon import bundle

pytestmark = pytest.mark.blend

UUID = "p"


@pytest.fixture
def folder(avatar, tmp_path):
    from PIL import Image

    folder = shutil.copytree(avatar.directory, tmp_path / "portrait")
    camera = avatar.manifest.camera
    Image.new("RGB", (camera.width_px, camera.height_px), (128, 128, 128)).save(folder / "photo.jpg")
    return folder


@pytest.fixture
def head(bpy, folder):
    from blender_addon.scene.importing import ImportOptions, find, import_steps

    options = ImportOptions(set_camera=False, set_world=False)
    list(import_steps(folder, options, collection_uuid=UUID))
    return find(UUID)


def test_match_photo_sets_all_of_the_photographs_view(bpy, head, folder, avatar):
    from blender_addon.scene.photo import match_photo

    scene = bpy.context.scene
    scene.view_settings.view_transform = "AgX"
    assert match_photo(scene, UUID, folder)
    assert scene.camera["likeness_uuid"] == UUID
    assert scene.world["likeness_role"] == "light"
    assert scene.view_settings.view_transform == "Standard"
    camera = avatar.manifest.camera
    assert (scene.render.resolution_x, scene.render.resolution_y) == (camera.width_px, camera.height_px)
    assert match_photo(scene, UUID, folder)
    (background,) = scene.camera.data.background_images  # once
    assert background.image.size[:] == (camera.width_px, camera.height_px)
    assert background.image.packed_file is not None
    assert scene.camera.data.show_background_images


def test_the_camera_follows_a_head_that_was_moved(bpy, head, folder):
    from mathutils import Matrix

    from blender_addon.scene.photo import match_photo

    match_photo(bpy.context.scene, UUID, folder)
    bpy.context.view_layer.update()
    before = head.root.matrix_world.inverted() @ bpy.context.scene.camera.matrix_world
    head.root.matrix_world = Matrix.Translation((1.0, 2.0, 3.0))
    bpy.context.view_layer.update()
    match_photo(bpy.context.scene, UUID, folder)
    bpy.context.view_layer.update()
    after = head.root.matrix_world.inverted() @ bpy.context.scene.camera.matrix_world
    np.testing.assert_allclose(np.array(after), np.array(before), atol=1e-5)


def test_without_a_photo_all_but_the_background_is_set(bpy, head, folder):
    from blender_addon.scene.photo import difference_view, match_photo

    (folder / "photo.jpg").unlink()
    assert not match_photo(bpy.context.scene, UUID, folder)
    assert bpy.context.scene.camera is not None
    with pytest.raises(LookupError, match=r"holds no photo\.jpg"):
        difference_view(UUID, folder)


def test_seen_pixels_lie_on_seen_skin(avatar):
    """Against the backend's rasteriser: all visible gives the front of the head, none gives nothing."""
    pytest.importorskip("numba")  # the other Blenders' environments go without
    from synthetic_avatar import make_reconstruction

    from backend.uvspace.rasterise import rasterise_camera
    from blender_addon.scene.photo import seen_pixels

    made, camera = make_reconstruction(), avatar.manifest.camera
    skin = made.fit.head.triangles[made.fit.head.triangle_part == 0]
    covered = rasterise_camera(made.fit.vertices_head, skin, made.fit.camera).covered
    every = seen_pixels(avatar.mesh, np.ones((64, 64), np.float32), camera)
    assert every.shape == covered.shape
    assert not (every & ~covered).sum() > 0.1 * covered.sum()  # cells reach over the edge a little
    assert not seen_pixels(avatar.mesh, np.zeros((64, 64), np.float32), camera).any()


@pytest.mark.parametrize("step", ["build_camera", "estimated_world", "set_output", "configure_cycles"])
def test_a_difference_scene_that_fails_half_way_leaves_nothing(bpy, head, folder, monkeypatch, step):
    from blender_addon.scene import photo

    def fails(*_args, **_options):
        raise MemoryError("no room")

    before = {kind: len(getattr(bpy.data, kind)) for kind in ("scenes", "objects", "cameras", "worlds")}
    monkeypatch.setattr(photo, step, fails)
    with pytest.raises(MemoryError):
        photo.difference_scene(UUID, folder)
    after = {kind: len(getattr(bpy.data, kind)) for kind in before}
    world = after.pop("worlds") - before.pop("worlds")  # the head's own light, kept for next time
    assert world in (0, 1)
    assert after == before
    assert head.collection.name in bpy.data.collections


@pytest.mark.slow
def test_difference_of_a_render_from_itself_is_small(bpy, head, folder):
    """The photograph replaced by Cycles' own picture of the head: only noise and JPEG are left."""
    from PIL import Image

    from blender_addon.scene.photo import difference_scene, difference_view, drop_difference_scene
    from blender_addon.scene.render import render_to_file

    (folder / "maps" / "visibility.png").unlink()
    Image.new("L", (64, 64), 255).save(folder / "maps" / "visibility.png")
    scenes = len(bpy.data.scenes)
    far = difference_view(UUID, folder, samples=8)
    scene = difference_scene(UUID, folder, samples=32)
    render_to_file(scene, folder / "render.png", transparent=True)
    drop_difference_scene(scene)
    made = Image.open(folder / "render.png")
    grey = Image.new("RGBA", made.size, (128, 128, 128, 255))
    Image.alpha_composite(grey, made).convert("RGB").save(folder / "photo.jpg", quality=98)
    near = difference_view(UUID, folder, samples=8)
    assert near.mean_srgb < 0.02
    assert far.mean_srgb > 3 * near.mean_srgb
    assert near.image.size[:] == made.size
    assert len(bpy.data.scenes) == scenes
    assert head.collection.name in bpy.context.scene.collection.children


def test_hdri_light_turns_without_being_loaded_again(bpy, head):
    from blender_addon.scene.relight import bundled_hdris, photo_light, relight_hdri

    panoramas = bundled_hdris()
    assert len(panoramas) >= 8
    assert all(path.suffix == ".exr" for path in panoramas)
    scene = bpy.context.scene
    relight_hdri(scene, panoramas[0], 0.0, 1.0)
    world, images = scene.world, len(bpy.data.images)
    relight_hdri(scene, panoramas[0], 90.0, 2.0)
    assert scene.world == world
    assert len(bpy.data.images) == images
    nodes = {n.bl_idname: n for n in world.node_tree.nodes}
    assert nodes["ShaderNodeMapping"].inputs["Rotation"].default_value[2] == pytest.approx(np.pi / 2)
    lit = nodes["ShaderNodeTexEnvironment"].outputs["Color"].links[0].to_node
    assert lit.inputs["Strength"].default_value == 2.0
    relight_hdri(scene, panoramas[1], 0.0, 1.0)
    assert len([w for w in bpy.data.worlds if w.get("likeness_role") == "hdri world"]) == 1
    photo_light(scene, UUID)
    assert scene.world["likeness_role"] == "light"


def test_presets_are_sized_to_the_head_and_go_again(bpy, head, avatar):
    from mathutils import Vector

    from blender_addon.scene.relight import PRESETS, photo_light, relight_preset

    scene = bpy.context.scene
    for name, plan in PRESETS.items():
        relight_preset(scene, UUID, name)
        bpy.context.view_layer.update()
        lamps = [o for o in scene.objects if o.type == "LIGHT"]
        assert len(lamps) == len(plan)
        skin = head.parts["skin"]
        corners = [skin.matrix_world @ Vector(c) for c in skin.bound_box]
        middle, size = sum(corners, Vector()) / 8, (corners[0] - corners[6]).length
        for lamp in lamps:
            towards = middle - lamp.matrix_world.translation
            assert 1.0 * size < towards.length < 6.0 * size
            shines = lamp.matrix_world.to_3x3() @ Vector((0, 0, -1))
            assert shines.dot(towards.normalized()) > 0.98
    assert len(bpy.data.lights) == len(plan)  # those of the other presets are gone
    photo_light(scene, UUID)
    assert not bpy.data.lights
    with pytest.raises(KeyError):
        relight_preset(scene, UUID, "disco")
    with pytest.raises(LookupError, match="no longer in this file"):
        relight_preset(scene, "other", "rim")


def test_confidence_comes_and_goes(bpy, head):
    from blender_addon.scene.confidence import is_shown, show_confidence

    material = head.parts["skin"].data.materials[0]
    output = next(n for n in material.node_tree.nodes if n.bl_idname == "ShaderNodeOutputMaterial")

    def source():
        link = output.inputs["Surface"].links[0]
        return link.from_node.name, link.from_socket.name

    nodes = len(material.node_tree.nodes)
    before = source()
    show_confidence(UUID, True)
    show_confidence(UUID, True)
    assert is_shown(UUID)
    assert output.inputs["Surface"].links[0].from_node.bl_idname == "ShaderNodeEmission"
    show_confidence(UUID, False)
    assert source() == before
    assert len(material.node_tree.nodes) == nodes
    assert not is_shown(UUID)
    # an artist's own shader comes back as well
    own = material.node_tree.nodes.new("ShaderNodeBsdfDiffuse")
    material.node_tree.links.new(own.outputs[0], output.inputs["Surface"])
    show_confidence(UUID, True)
    show_confidence(UUID, False)
    assert source()[0] == own.name


@pytest.mark.slow
def test_confidence_shows_what_was_seen(bpy, head, folder, tmp_path):
    """A map that says: the upper half was completed, the lower half seen."""
    from PIL import Image

    from blender_addon.scene.camera import build_camera, orbit
    from blender_addon.scene.confidence import COLOURS, show_confidence
    from blender_addon.scene.importing import ImportOptions, import_steps
    from blender_addon.scene.render import configure_cycles, render_to_file
    from blender_addon.scene.scene import set_output

    halves = np.zeros((64, 64), np.uint8)
    halves[32:] = 255
    Image.fromarray(halves).save(bundle.map_path(folder, "visibility"))
    list(import_steps(folder, ImportOptions(), collection_uuid=UUID))
    show_confidence(UUID, True)
    scene = bpy.context.scene
    scene.camera = build_camera("view", orbit(np.zeros(3), 0.12, 0, 0, 64))
    scene.collection.objects.link(scene.camera)
    set_output(scene, 64, 64)
    configure_cycles(scene, 4, denoise=False)
    render_to_file(scene, tmp_path / "x.png")
    picture = np.asarray(Image.open(tmp_path / "x.png")).astype(float) / 255
    for rows, (_, linear) in ((slice(12, 22), COLOURS[0]), (slice(44, 54), COLOURS[-1])):
        wanted = 1.055 * np.array(linear) ** (1 / 2.4) - 0.055  # sRGB
        np.testing.assert_allclose(picture[rows, 30:34].mean(axis=(0, 1)), wanted, atol=0.02)
