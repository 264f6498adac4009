"""Decoded frames in Blender: what its nodes show of pictures and without them, and the pose asked for."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from bound_splats import check, deformed, drawn
from splat_reference import matrices

from blender_addon.splat_binding import read_bound_splats
from blender_addon.splat_frames import frame_name, pixels_of
from blender_addon.splats import Splats

pytestmark = pytest.mark.blend


def decoded(folder, mesh, vertices, seed: int) -> Splats:
    """What a decoder might say of a pose: every number other than the binding's."""
    splats, tie = read_bound_splats(folder, len(mesh.vertices_neutral_head))
    placed, random = tie.placed(splats, vertices), np.random.default_rng(seed)
    turns = random.normal(size=placed.rotations.shape).astype(np.float32)
    return Splats(
        placed.positions + random.normal(0, 0.003, placed.positions.shape).astype(np.float32),
        placed.log_scales + random.normal(0, 0.3, placed.log_scales.shape).astype(np.float32),
        turns / np.linalg.norm(turns, axis=1, keepdims=True),
        placed.opacity_logits + random.normal(0, 1, len(placed)).astype(np.float32),
        placed.sh + random.normal(0, 0.2, placed.sh.shape).astype(np.float32),
    )


def write_frame(where, frame: int, splats: Splats) -> None:
    """A 16-bit RGB PNG by the book (ISO/IEC 15948), as Blender's Python has no encoder."""
    where.mkdir(exist_ok=True)
    pixels = pixels_of(splats)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 1)), (b"IEND", b"")):
        file += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    (where / frame_name(frame)).write_bytes(file)


def test_blender_shows_the_decoded_frame_and_else_what_the_mesh_moves(
    bpy, bound_head, bound_folder, tmp_path
) -> None:
    from blender_addon.scene.splat_frames import attach_frames, detach_frames, frames_range, posed_vertices

    mesh, objects, uuid, thing = bound_head
    scene = bpy.context.scene
    truth = {frame: decoded(bound_folder, mesh, mesh.expressed(), frame) for frame in (3, 4, 6)}
    for frame, splats in truth.items():
        write_frame(tmp_path / "frames", frame, splats)
    attach_frames(uuid, tmp_path / "frames", 3, 6)
    assert frames_range(uuid) == (3, 6)
    for frame, splats in truth.items():
        scene.frame_set(frame)
        got = drawn(bpy, thing)
        assert np.abs(got["position"] - splats.positions).max() < 2e-5
        np.testing.assert_allclose(got["splat_shape"][:, :3], splats.scales(), rtol=1e-3)
        np.testing.assert_allclose(got["splat_shape"][:, 3], splats.opacities(), atol=1e-3)
        turned = matrices(got["splat_rotation"][:, [3, 0, 1, 2]])
        assert np.abs(turned - matrices(splats.rotations)).max() < 1e-3
        harmonics = np.stack([got[f"splat_sh_{channel}0"] for channel in "rgb"], 2)
        assert np.abs(harmonics - splats.sh).max() < 1e-4
        live = read_bound_splats(bound_folder, len(mesh.vertices_neutral_head))[0]
        assert np.abs(live.sh - splats.sh).max() > 0.2  # what the binding alone is wrong by
    for frame in (5, 2, 7):  # a picture that is missing, before, after
        scene.frame_set(frame)
        check(bpy, mesh, objects, thing, bound_folder)
    scene.frame_set(4)
    assert detach_frames(uuid)
    check(bpy, mesh, objects, thing, bound_folder)
    assert not detach_frames(uuid)
    assert frames_range(uuid) is None
    vertices = posed_vertices(uuid, {}, mesh.vertices_neutral_head)
    np.testing.assert_array_equal(vertices, mesh.vertices_neutral_head)


def test_the_pose_is_what_blender_shows(bpy, bound_head) -> None:
    """Shape keys, bones and a moved root, in head space."""
    from blender_addon.scene.head_mesh import part_faces
    from blender_addon.scene.identity import first
    from blender_addon.scene.splat_frames import posed_vertices

    mesh, objects, uuid, thing = bound_head
    thing.hide_viewport = False
    bone = first("objects", uuid, "rig").pose.bones["head"]
    bone.rotation_mode, bone.rotation_euler = "XYZ", (0.2, 0.1, -0.3)
    keys = objects.parts["skin"].data.shape_keys.key_blocks
    next(key for key in keys[1:] if key.name in mesh.expression_names).value = 0.7
    objects.root.location.x += 0.5
    bpy.context.view_layer.update()
    truth = deformed(bpy, mesh, objects)
    parts = {name: part_faces(mesh, name).vertex for name in mesh.part_names}
    got = posed_vertices(uuid, parts, mesh.vertices_neutral_head)
    assert np.abs(got - truth).max() < 2e-6
    assert np.abs(got - mesh.vertices_neutral_head).max() > 0.01


def test_frames_that_are_gone_or_a_head_without_splats_are_refused(bpy, bound_head, tmp_path) -> None:
    from blender_addon.scene.splat_frames import attach_frames, posed_vertices

    mesh, _, uuid, thing = bound_head
    count = len(thing.modifiers)
    with pytest.raises(RuntimeError):
        attach_frames(uuid, tmp_path, 1, 2)
    assert len(thing.modifiers) == count
    with pytest.raises(LookupError, match="no splats"):
        attach_frames("nobody", tmp_path, 1, 2)
    with pytest.raises(LookupError, match="import it again"):
        posed_vertices("nobody", {}, mesh.vertices_neutral_head)


def test_a_saved_file_plays_them_without_the_add_on(bpy, bound_head, bound_folder, tmp_path) -> None:
    """From its own folder moved elsewhere: the pictures are found beside the .blend."""
    from blender_addon.scene.identity import first
    from blender_addon.scene.splat_frames import attach_frames

    mesh, _, uuid, _ = bound_head
    home = tmp_path / "home"
    home.mkdir()
    splats = decoded(bound_folder, mesh, mesh.expressed(), 1)
    write_frame(home / "frames", 2, splats)
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "head.blend"))
    attach_frames(uuid, home / "frames", 2, 2)
    bpy.ops.wm.save_mainfile()
    home.rename(tmp_path / "moved")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "moved" / "head.blend"))
    assert "blender_addon" not in bpy.context.preferences.addons
    bpy.context.scene.frame_set(2)
    got = drawn(bpy, first("objects", uuid, "splats"))
    assert np.abs(got["position"] - splats.positions).max() < 2e-5
