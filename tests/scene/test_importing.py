"""Import by steps: growing folders, repeats, undo in between, what the artist changed meanwhile."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct

import msgspec
import numpy as np
import pytest

from blender_addon import bundle

pytestmark = pytest.mark.blend

UUID = "8d6c7c1a-0000-4000-8000-000000000001"


@pytest.fixture
def folder(avatar, tmp_path):
    """A copy of the avatar to take files from and put them back."""
    return shutil.copytree(avatar.directory, tmp_path / "portrait")


@pytest.fixture
def take(bpy):
    from blender_addon.scene.importing import ImportOptions, import_steps

    def run(folder, uuid=UUID, **options):
        return list(import_steps(folder, ImportOptions(**options), collection_uuid=uuid))

    return run


def _skin(uuid=UUID):
    from blender_addon.scene.identity import find

    return find(uuid).parts["skin"]


def _partial(folder, is_partial):
    manifest = bundle.read_manifest(folder)
    bundle.write_manifest(folder, msgspec.structs.replace(manifest, partial=is_partial))


def _marked(bpy):
    kinds = ("collections", "objects", "meshes", "armatures", "cameras", "materials", "images", "worlds")
    return {kind: sum("likeness_uuid" in b for b in getattr(bpy.data, kind)) for kind in kinds}


def test_everything_carries_the_uuid(bpy, take, folder, avatar):
    take(folder)
    parts = len(avatar.mesh.part_names)
    assert _marked(bpy) == {
        "collections": 1, "objects": parts + 3, "meshes": parts, "armatures": 1, "cameras": 1,
        "materials": parts, "images": 7, "worlds": 1,
    }  # fmt: skip
    assert bpy.context.scene.camera["likeness_uuid"] == UUID
    assert bpy.context.scene.world["likeness_uuid"] == UUID


def test_a_growing_folder_fills_the_same_head(bpy, take, folder):
    aside = folder.parent / "aside"
    (folder / "maps").rename(aside)
    (folder / "maps").mkdir()
    _partial(folder, True)
    steps = take(folder)
    assert steps[0] == "read"
    assert not [step for step in steps if "map" in step]
    skin = _skin()
    group = skin.data.materials[0].node_tree.nodes["Likeness Skin"]
    assert not group.inputs["Albedo"].links  # clay
    assert bpy.data.collections["portrait"].asset_data is None
    mesh = skin.data

    shutil.copy(aside / "albedo.png", folder / "maps")
    assert [step for step in take(folder) if "map" in step] == ["albedo map"]
    assert _skin().data == mesh  # not built again
    assert group.inputs["Albedo"].links
    assert not group.inputs["Normal"].links

    for file in aside.iterdir():
        shutil.copy(file, folder / "maps")
    _partial(folder, False)
    assert len([step for step in take(folder) if step.endswith(" map")]) == 5
    assert all(group.inputs[n].links for n in ("Albedo", "Normal", "Roughness", "Specular", "Displacement"))
    assert bpy.data.collections["portrait"].asset_data is not None
    before = _marked(bpy)
    assert take(folder) == ["read", "collection"]  # nothing is new
    assert _marked(bpy) == before


def test_a_better_map_takes_the_place_of_the_first(bpy, take, folder):
    take(folder)
    image = next(i for i in bpy.data.images if i.get("likeness_map") == "roughness")
    first = np.array(image.pixels[:])
    shutil.copy(bundle.map_path(folder, "specular"), bundle.map_path(folder, "roughness"))
    assert "roughness map" in take(folder)
    again = next(i for i in bpy.data.images if i.get("likeness_map") == "roughness")
    assert again == image
    assert not np.array_equal(np.array(image.pixels[:]), first)
    assert image.packed_file.data == bundle.map_path(folder, "specular").read_bytes()


def test_a_refit_moves_the_same_mesh_and_keeps_the_artists_pose(bpy, take, folder, avatar):
    take(folder)
    rig = next(o for o in bpy.data.objects if o.type == "ARMATURE")
    rig.pose.bones["head"].rotation_euler = (0.1, 0.2, 0.3)
    mesh = _skin().data
    shifted = avatar.mesh.vertices_neutral_head * np.float32(1.1)
    bundle.write_mesh(folder, dataclasses.replace(avatar.mesh, vertices_neutral_head=shifted))
    take(folder)
    assert _skin().data == mesh
    basis = mesh.shape_keys.reference_key.points
    values = np.empty(3 * len(basis), np.float32)
    basis.foreach_get("co", values)
    assert np.abs(values).max() == pytest.approx(np.abs(shifted[: len(basis)]).max(), rel=0.05)
    assert tuple(rig.pose.bones["head"].rotation_euler) == pytest.approx((0.1, 0.2, 0.3))
    drivers = mesh.shape_keys.animation_data.drivers
    assert len(drivers) == len({d.data_path for d in drivers})  # none twice


def test_sliders_camera_and_light_of_the_artist_stay(bpy, take, folder):
    take(folder)
    skin = _skin().data.materials[0].node_tree.nodes["Likeness Skin"]
    skin.inputs["Tan"].default_value = 0.7
    _skin().data.shape_keys.key_blocks["mouthSmileLeft"].value = 0.11
    bpy.context.scene.camera = bpy.context.scene.world = None
    take(folder)
    assert skin.inputs["Tan"].default_value == pytest.approx(0.7)
    assert _skin().data.shape_keys.key_blocks["mouthSmileLeft"].value == pytest.approx(0.11)
    assert bpy.context.scene.camera is None
    assert bpy.context.scene.world is None


@pytest.mark.parametrize("after", [1, 2, 4, 8, 12, 20])
def test_a_head_that_vanishes_between_steps_ends_them(bpy, folder, after):
    """As undo and file load do it: every data-block is gone, old pointers are dead."""
    from blender_addon.scene.importing import ImportOptions, import_steps

    steps = import_steps(folder, ImportOptions(), collection_uuid=UUID)
    for _ in range(after):
        next(steps)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert len(list(steps)) <= (40 if after == 1 else 0)  # not begun yet: it may be built in the new file
    assert bool(_marked(bpy)["collections"]) == (after == 1)


def test_a_real_undo_in_between_ends_the_steps(bpy, folder, take):
    from blender_addon.scene.importing import ImportOptions, find, import_steps

    bpy.ops.ed.undo_push(message="before")
    steps = import_steps(folder, ImportOptions(), collection_uuid=UUID)
    for _ in range(8):
        next(steps)
    bpy.ops.ed.undo_push(message="the artist does something")
    bpy.ops.ed.undo()
    assert find(UUID) is None
    assert list(steps) == []
    take(folder)
    assert find(UUID) is not None


def test_blenders_own_gltf_exporter_finds_maps_and_skin(bpy, take, folder, tmp_path):
    if bpy.app.version < (4, 3):
        pytest.skip("after any glTF export the module of 4.2 crashes when Python ends")
    take(folder)
    path = tmp_path / "scene.glb"
    bpy.ops.export_scene.gltf(filepath=str(path))
    data = path.read_bytes()
    gltf = json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])
    skin = next(m for m in gltf["materials"] if m["name"] == "portrait skin")
    assert "baseColorTexture" in skin["pbrMetallicRoughness"]
    assert "metallicRoughnessTexture" in skin["pbrMetallicRoughness"]
    assert "normalTexture" in skin
    assert "specularTexture" in skin["extensions"]["KHR_materials_specular"]
    names = {node.get("name") for node in gltf["nodes"]}
    assert {"neck", "head", "jaw", "eye.L", "eye.R"} <= names
    assert len(gltf["skins"]) == 1


def test_steps_after_reopening_the_saved_file_do_nothing_twice(bpy, take, folder, tmp_path):
    take(folder)
    path = tmp_path / "saved.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    before = _marked(bpy)
    assert take(folder) == ["read", "collection"]
    assert _marked(bpy) == before


def test_two_heads_and_removing_one(bpy, take, folder):
    from blender_addon.scene.importing import find, remove

    take(folder)
    before = _marked(bpy)
    take(folder, uuid="other")
    remove("other")
    assert find("other") is None
    assert _marked(bpy) == before
    assert len(bpy.data.objects) == before["objects"]
    assert len(bpy.data.shape_keys) == len([m for m in bpy.data.meshes if m.shape_keys])
    remove(UUID)
    assert not any(_marked(bpy).values())


def test_a_second_head_stands_beside_the_first_and_brings_its_camera_along(bpy, take, folder, avatar):
    from blender_addon.scene.identity import first

    take(folder)
    render, record = bpy.context.scene.render, avatar.manifest.camera
    assert (render.resolution_x, render.resolution_y) == (record.width_px, record.height_px)
    take(folder, uuid="other")
    bpy.context.view_layer.update()
    apart = first("objects", "other", "root").matrix_world.translation.x
    assert apart > 0.3  # metres; shoulders are narrower than two of that
    cameras = [first("objects", uuid, "camera").matrix_world for uuid in (UUID, "other")]
    moved = cameras[1].translation - cameras[0].translation
    np.testing.assert_allclose(moved, (apart, 0.0, 0.0), atol=1e-5)
    np.testing.assert_allclose(cameras[1].to_3x3(), cameras[0].to_3x3(), atol=1e-6)


def test_viewports_turn_to_the_head_but_cameras_stay(bpy, take, folder):
    from types import SimpleNamespace as Plain

    from blender_addon.framing import frame_head

    take(folder)
    bpy.context.view_layer.update()
    free, camera = (
        Plain(view_perspective=kind, view_location=None, view_distance=10.0) for kind in ("PERSP", "CAMERA")
    )
    areas = [
        Plain(type="VIEW_3D", spaces=Plain(active=Plain(region_3d=view)), tag_redraw=lambda: None)
        for view in (free, camera)
    ]
    frame_head(Plain(windows=[Plain(screen=Plain(areas=areas))]), UUID)
    points = np.array([_skin().matrix_world @ v.co for v in _skin().data.vertices])
    radius = np.linalg.norm(points - np.array(free.view_location), axis=1).max()
    assert radius < free.view_distance < 5 * radius  # outside the head, and near
    assert (camera.view_location, camera.view_distance) == (None, 10.0)


def test_maps_beside_the_blend(bpy, take, folder, tmp_path):
    beside = tmp_path / "project" / "maps of mine"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    take(folder, pack=False, maps_folder=beside)
    image = next(i for i in bpy.data.images if i.get("likeness_map") == "albedo")
    assert image.packed_file is None
    assert image.filepath.startswith("//")
    copied = beside / "portrait" / "maps" / "albedo.png"
    assert copied.read_bytes() == bundle.map_path(folder, "albedo").read_bytes()
    assert image.size[0] == 64
    assert not list(beside.rglob("*.partial"))


def test_damage_is_one_line(bpy, take, folder):
    bundle.map_path(folder, "normal").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    with pytest.raises(bundle.BundleError, match=r"normal\.png' is damaged"):
        take(folder)


def test_provenance_and_asset(bpy, take, folder, avatar, tmp_path):
    from blender_addon.scene.asset import CATALOGUE_ID, write_catalogue

    take(folder)
    collection = bpy.data.collections["portrait"]
    assert collection["likeness_photo_sha256"] == avatar.manifest.photo.sha256
    data = collection.asset_data
    assert data.catalog_id == CATALOGUE_ID
    assert "GPL" in data.license
    assert "likeness" in {tag.name for tag in data.tags}
    assert data.author == avatar.manifest.created_by
    assert write_catalogue(tmp_path / "x.blend") is None  # outside of every library
    libraries = bpy.context.preferences.filepaths.asset_libraries
    library = libraries.new(name="mine", directory=str(tmp_path))
    try:
        file = write_catalogue(tmp_path / "deep" / "x.blend")
        assert file == tmp_path / "blender_assets.cats.txt"
        text = file.read_text()
        assert text.startswith("VERSION 1\n")
        assert f"{CATALOGUE_ID}:Likeness/Heads:" in text
        write_catalogue(tmp_path / "x.blend")
        assert file.read_text() == text
    finally:
        libraries.remove(library)


def test_the_preview_is_the_front_portrait_of_the_sheet(bpy, tmp_path):
    """A sheet of the backend's own layout whose third tile alone is red."""
    from PIL import Image

    from backend.export.sheet import Tile, compose, tile_width
    from blender_addon.scene.asset import portrait_of_sheet

    width = tile_width(2200, 5)
    grey, red = (np.full((round(1.25 * width), width, 3), c, np.uint8) for c in (90, (250, 10, 10)))
    small = np.full((tile_width(2200, 6),) * 2 + (3,), 90, np.uint8)
    top = [Tile(red if k == 2 else grey, "name", "note") for k in range(5)]
    sheet = compose("portrait", "caption", "Likeness", [top, [Tile(small, "map", "note")] * 6])
    Image.fromarray(sheet).save(tmp_path / "preview.png")
    picture = portrait_of_sheet(tmp_path / "preview.png", 128)
    assert picture.shape == (128, 128, 4)
    assert picture[..., 0].min() > 0.9
    assert picture[..., 1].max() < 0.15
