"""Keyframes on a head in Blender: weights, turns, frame rates; mesh and splats follow the same keys."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from blender_addon.drive_file import DriveFile, Frame, VideoRecord, from_angles

pytestmark = pytest.mark.blend


@pytest.fixture
def head(bpy, avatar):
    """The synthetic avatar in the scene: mesh of the file, objects, uuid."""
    from blender_addon.scene.identity import UUID_KEY
    from blender_addon.scene.scene import assemble_scene

    objects = assemble_scene(avatar, bpy.context.scene)
    return avatar.mesh, objects, objects.collection[UUID_KEY]


def take_of(names: tuple[str, ...], yaws_deg: tuple[float, ...] = (0.0, 10.0, 20.0)) -> DriveFile:
    frames = tuple(
        Frame(
            time_s=0.1 * k,
            weights=tuple(0.2 * k + 0.05 * e for e in range(len(names))),
            rotation=from_angles(np.radians(yaw), 0.0, 0.0),
            translation_m=(0.0, 0.0, -0.8),
            gaze_deg=((0.0, 0.0), (0.0, 0.0)),
        )
        for k, yaw in enumerate(yaws_deg)
    )
    return DriveFile(
        created_by="test",
        video=VideoRecord(name="a"),
        frames_per_second=10.0,
        expression_names=names,
        frames=frames,
    )


def values(objects, names) -> list[float]:
    return [objects.parts["skin"].data.shape_keys.key_blocks[name].value for name in names]


def test_weights_come_at_their_frames(bpy, head) -> None:
    from blender_addon.scene.drive import Placing, apply_take

    mesh, objects, uuid = head
    scene = bpy.context.scene
    scene.render.fps = 30
    placed = apply_take(uuid, take_of(mesh.expression_names), Placing(start_frame=5), scene)
    assert (placed.first_frame, placed.last_frame, placed.ignored) == (5, 11, ())
    for frame, share in ((5, 0), (8, 1), (11, 2)):
        scene.frame_set(frame)
        expected = [0.2 * share + 0.05 * e for e in range(len(mesh.expression_names))]
        np.testing.assert_allclose(values(objects, mesh.expression_names), expected, atol=1e-5)
    scene.frame_set(9)  # between two keys, linearly
    assert values(objects, mesh.expression_names)[0] == pytest.approx(0.2 + 0.2 / 3, abs=1e-5)


def test_a_take_can_come_frame_by_frame(bpy, head) -> None:
    from blender_addon.scene.drive import Placing, apply_take

    mesh, objects, uuid = head
    placed = apply_take(uuid, take_of(mesh.expression_names), Placing(match_rate=False), bpy.context.scene)
    assert (placed.first_frame, placed.last_frame) == (1, 3)
    bpy.context.scene.frame_set(2)
    assert values(objects, mesh.expression_names)[0] == pytest.approx(0.2, abs=1e-5)


@pytest.mark.parametrize("centred", [True, False])
def test_the_head_turns_as_the_face_did(bpy, head, centred: bool) -> None:
    """The head bone's whole turn against the take's, in head axes; the chest stays."""
    from blender_addon.scene.drive import Placing, apply_take
    from blender_addon.scene.identity import first

    mesh, _, uuid = head
    rig = first("objects", uuid, "rig")
    scene = bpy.context.scene
    apply_take(uuid, take_of(mesh.expression_names), Placing(match_rate=False, centred=centred), scene)
    for frame, yaw in ((1, 0.0), (2, 10.0), (3, 20.0)):
        scene.frame_set(frame)
        bone = rig.pose.bones["head"]
        turn = np.array(bone.matrix.to_3x3()) @ np.linalg.inv(np.array(bone.bone.matrix_local.to_3x3()))
        to_scene = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
        got = Rotation.from_matrix(to_scene.T @ turn @ to_scene).as_euler("YXZ", degrees=True)
        np.testing.assert_allclose(got, [yaw - 10.0 * centred, 0, 0], atol=0.05)
        chest = rig.pose.bones["chest"]
        np.testing.assert_allclose(np.array(chest.matrix), np.array(chest.bone.matrix_local), atol=1e-6)


def test_a_second_take_replaces_the_first_and_clearing_removes_both(bpy, head) -> None:
    from blender_addon.scene.drive import Placing, apply_take, clear_take

    mesh, objects, uuid = head
    scene = bpy.context.scene
    apply_take(uuid, take_of(mesh.expression_names, (0.0,) * 9), Placing(), scene)
    apply_take(uuid, take_of(mesh.expression_names), Placing(match_rate=False), scene)
    scene.frame_set(200)
    assert values(objects, mesh.expression_names)[0] == pytest.approx(0.4, abs=1e-5)
    assert clear_take(uuid)
    scene.frame_set(2)
    assert values(objects, mesh.expression_names)[0] == pytest.approx(0.4, abs=1e-5)
    assert not clear_take(uuid)


def test_expressions_that_the_head_has_not_are_told(bpy, head) -> None:
    from blender_addon.scene.drive import Placing, apply_take

    mesh, _, uuid = head
    take = take_of((*mesh.expression_names, "earWiggle"))
    assert apply_take(uuid, take, Placing(), bpy.context.scene).ignored == ("earWiggle",)
    still = msgspec.structs.replace(take, frames=take.frames[:1])
    assert apply_take(uuid, still, Placing(), bpy.context.scene).expressions == len(mesh.expression_names)


def test_a_head_that_is_gone_is_refused(bpy) -> None:
    from blender_addon.scene.drive import Placing, apply_take

    with pytest.raises(LookupError, match="import it again"):
        apply_take("nobody", take_of(("jawOpen",)), Placing(), bpy.context.scene)
