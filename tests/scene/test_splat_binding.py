"""Splats bound to a head in Blender: they follow what deforms the mesh; faulty files change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bound_splats import check, drawn

from blender_addon.bundle import read_bundle
from blender_addon.splats import SplatsError

pytestmark = pytest.mark.blend


def test_splats_follow_shape_keys(bpy, bound_head, bound_folder) -> None:
    mesh, objects, _, thing = bound_head
    check(bpy, mesh, objects, thing, bound_folder)
    before = drawn(bpy, thing)["position"]
    keys = objects.parts["skin"].data.shape_keys.key_blocks
    moving = next(key for key in keys[1:] if key.name in mesh.expression_names and not key.mute)
    moving.value = 1.0 - moving.value
    bpy.context.view_layer.update()
    check(bpy, mesh, objects, thing, bound_folder)
    assert np.abs(drawn(bpy, thing)["position"] - before).max() > 1e-4


def test_splats_follow_the_rig_and_the_root(bpy, bound_head, bound_folder) -> None:
    from blender_addon.scene.identity import first

    mesh, objects, uuid, thing = bound_head
    rig = first("objects", uuid, "rig")
    before = drawn(bpy, thing)["position"]
    rig.pose.bones["head"].rotation_mode = "XYZ"
    rig.pose.bones["head"].rotation_euler = (0.2, 0.1, -0.3)
    objects.root.location.x += 0.5
    bpy.context.view_layer.update()
    check(bpy, mesh, objects, thing, bound_folder)
    assert np.abs(drawn(bpy, thing)["position"] - before).max() > 0.01


def test_mesh_and_splats_take_turns(bpy, bound_head) -> None:
    from blender_addon.scene.splat_binding import show_splats

    _, objects, uuid, thing = bound_head
    assert thing.hide_viewport
    assert not objects.parts["skin"].hide_viewport
    assert show_splats(objects, uuid, True)
    assert not thing.hide_render
    assert all(part.hide_render for part in objects.parts.values())
    moved = drawn(bpy, thing)["position"]
    assert np.abs(moved).max() > 0.05  # hidden parts are still followed
    show_splats(objects, uuid, False)
    assert thing.hide_viewport
    assert not objects.parts["skin"].hide_render


def test_adding_again_replaces_and_faults_change_nothing(bpy, bound_head, bound_folder, tmp_path) -> None:
    from blender_addon.scene.splat_binding import add_bound_splats

    mesh, objects, uuid, _ = bound_head
    add_bound_splats(bound_folder, mesh, objects, uuid, "portrait")
    assert sum(o.get("likeness_role") == "splats" for o in bpy.data.objects) == 1
    count = len(bpy.data.objects)
    with pytest.raises(SplatsError, match="--splats"):
        add_bound_splats(tmp_path, mesh, objects, uuid, "portrait")
    smaller = replace(mesh, vertices_neutral_head=mesh.vertices_neutral_head[:3])
    with pytest.raises(SplatsError, match="another mesh"):
        add_bound_splats(bound_folder, smaller, objects, uuid, "portrait")
    assert len(bpy.data.objects) == count


def test_the_scene_and_the_import_bring_the_splats(bpy, bound_folder, tmp_path) -> None:
    import shutil
    import uuid as uuids

    import msgspec

    from blender_addon.bundle import BundleError, SplatsRecord, write_manifest
    from blender_addon.scene.identity import find, first
    from blender_addon.scene.importing import ImportOptions, import_steps
    from blender_addon.scene.splat_binding import show_splats

    copy = tmp_path / "portrait"
    shutil.copytree(bound_folder, copy)
    record = SplatsRecord(count=400, sh_degree=1, sha256="1", binding_sha256="2")
    write_manifest(copy, msgspec.structs.replace(read_bundle(copy).manifest, splats=record))
    own = str(uuids.uuid4())
    assert "splats" in list(import_steps(copy, ImportOptions(mark_asset=False), collection_uuid=own))
    assert first("objects", own, "splats").hide_viewport
    show_splats(find(own), own, True)
    again = list(import_steps(copy, ImportOptions(mark_asset=False), collection_uuid=own))
    assert "splats" not in again
    write_manifest(
        copy,
        msgspec.structs.replace(
            read_bundle(copy).manifest, splats=msgspec.structs.replace(record, sha256="3")
        ),
    )
    assert "splats" in list(import_steps(copy, ImportOptions(mark_asset=False), collection_uuid=own))
    assert not first("objects", own, "splats").hide_viewport  # the artist's choice is kept
    (copy / "splats.npz").write_bytes(b"")
    with pytest.raises(BundleError, match="damaged"):
        list(import_steps(copy, ImportOptions(mark_asset=False), collection_uuid=str(uuids.uuid4())))


def test_relightable_splats_answer_to_light(bpy, bound_head, tmp_path) -> None:
    """Black without a light once relightable, and bright as captured before."""
    from blender_addon.scene.splat_binding import set_relightable, show_splats

    _, objects, uuid, _ = bound_head
    show_splats(objects, uuid, True)
    scene = bpy.context.scene
    scene.world = None
    scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 2, "CPU"
    scene.cycles.use_denoising = False
    scene.render.resolution_x = scene.render.resolution_y = 24
    scene.render.image_settings.file_format = "PNG"

    def brightness(name: str) -> float:
        scene.render.filepath = str(tmp_path / name)
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath)
        return float(np.array(image.pixels[:]).reshape(-1, 4)[:, :3].max())

    assert brightness("captured.png") > 0.2
    assert set_relightable(uuid, True)
    assert brightness("dark.png") < 0.01
