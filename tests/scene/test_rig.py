"""Bones: where they lie, that weights sum to one, and that a bone shows what its expression shows."""

from __future__ import annotations

from math import radians

import numpy as np
import pytest

pytestmark = pytest.mark.blend


@pytest.fixture(scope="module")
def open_head(tmp_path_factory):
    """The shipped mean head as an avatar: real anatomy, all 52 expressions."""
    pytest.importorskip("safetensors")
    from synthetic_avatar import make_reconstruction

    from backend.export.bundle_writer import write_bundle
    from backend.head.registry import load_head
    from blender_addon.bundle import read_bundle

    made = make_reconstruction(load_head("open"), expression={}, name="mean")
    return read_bundle(write_bundle(made, tmp_path_factory.mktemp("open") / "mean"))


@pytest.fixture
def objects(bpy, open_head):
    from blender_addon.scene.scene import build_avatar

    return build_avatar(open_head, bpy.context.scene.collection)


def _rig(bpy):
    return next(o for o in bpy.data.objects if o.type == "ARMATURE")


def _shown(bpy, obj):
    """Where the vertices are, without subdivision."""
    for modifier in obj.modifiers:
        modifier.show_viewport = modifier.type == "ARMATURE"
    bpy.context.view_layer.update()
    evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
    points = np.empty(3 * len(evaluated.vertices), np.float32)
    evaluated.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)


def _set_key(objects, name, value):
    keys = objects.parts["skin"].data.shape_keys
    keys.key_blocks[name].value = value
    keys.update_tag()


def test_joints_lie_where_anatomy_has_them(open_head):
    from blender_addon.scene.anatomy import find_joints, find_turns

    joints = find_joints(open_head.mesh)
    eyes = np.mean(joints.eyes, axis=0)
    width = np.linalg.norm(joints.eyes[0] - joints.eyes[1])
    # Bony proportions: the hinge is under and behind the eyes, the chin twice as far below, the skull's
    # base behind the hinge, the neck below that.
    assert 0.4 < (eyes - joints.jaw_hinge)[1] / width < 1.0
    assert 0.7 < (eyes - joints.jaw_hinge)[2] / width < 1.4
    assert 1.2 < (eyes - joints.chin)[1] / width < 2.1
    assert joints.chin[2] > eyes[2]
    assert joints.skull_base[2] < joints.jaw_hinge[2]
    assert joints.crown[1] > eyes[1] > joints.skull_base[1] > joints.neck[1] > joints.chest[1]
    turns = find_turns(open_head.mesh, joints)
    assert 20 < np.degrees(turns.jaw_open) < 35
    assert np.degrees([turns.eye_up, turns.eye_down, turns.eye_in, turns.eye_out]) == pytest.approx(
        [25, 28, 28, 28], abs=2.5
    )  # the head's model card


def test_a_head_without_jaw_motion_has_a_usual_jaw(avatar):
    from blender_addon.scene.anatomy import find_joints, find_turns

    joints = find_joints(avatar.mesh)
    assert joints.jaw_hinge[2] < joints.eyes[0][2]
    assert joints.jaw_hinge[1] < joints.eyes[0][1]
    assert np.degrees(find_turns(avatar.mesh, joints).jaw_open) == pytest.approx(26, abs=0.1)


def test_weights_sum_to_one_and_fade(bpy, objects):
    for obj in objects.parts.values():
        names = [group.name for group in obj.vertex_groups]
        for vertex in obj.data.vertices:
            assert sum(g.weight for g in vertex.groups) == pytest.approx(1.0, abs=1e-5)
        assert obj.modifiers[0].type == "ARMATURE"
        assert set(names) <= set(_rig(bpy).data.bones.keys())
    skin = objects.parts["skin"]
    weights = np.zeros((len(skin.data.vertices), len(skin.vertex_groups)))
    for v, vertex in enumerate(skin.data.vertices):
        for g in vertex.groups:
            weights[v, g.group] = g.weight
    edges = np.array([e.vertices for e in skin.data.edges])
    places = np.array([v.co for v in skin.data.vertices])
    length = np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1)
    step = np.abs(weights[edges[:, 0]] - weights[edges[:, 1]]).max(axis=1)
    assert (step / length).max() < 60  # per metre: no less than 1.7 cm from one bone to the next
    assert {g.name for g in objects.parts["teeth"].vertex_groups} == {"head"}


@pytest.mark.parametrize(
    ("bone", "channel", "turn", "expression"),
    [
        ("jaw", 0, "jaw_open", "jawOpen"),
        ("jaw", 2, "jaw_aside", "jawRight"),
        ("eye.L", 0, "eye_up", "eyeLookUpLeft"),
        ("eye.R", 2, "eye_in", "eyeLookInRight"),
    ],
)
def test_a_bone_shows_what_its_expression_shows(bpy, objects, open_head, bone, channel, turn, expression):
    from blender_addon.scene.anatomy import find_joints, find_turns

    angle = getattr(find_turns(open_head.mesh, find_joints(open_head.mesh)), turn)
    parts = [objects.parts[p] for p in ("skin", "teeth", "tongue", "gums", "mouth")]
    rest = [_shown(bpy, part) for part in parts]
    _set_key(objects, expression, 1.0)
    by_key = [_shown(bpy, part) for part in parts]
    _set_key(objects, expression, 0.0)
    rotation = [0.0, 0.0, 0.0]
    rotation[channel] = angle
    _rig(bpy).pose.bones[bone].rotation_euler = rotation
    by_bone = [_shown(bpy, part) for part in parts]
    assert np.abs(by_key[0] - rest[0]).max() > 1e-3
    for part in range(len(parts)):
        np.testing.assert_allclose(by_bone[part], by_key[part], atol=1e-5)
    driver = objects.parts["skin"].data.shape_keys.animation_data.drivers.find(
        f'key_blocks["bone {expression}"].value'
    )
    assert driver.driver.is_simple_expression  # runs where scripts are not trusted


def test_eye_bones_turn_the_eyeballs_as_the_look_does(bpy, objects, open_head):
    eye = objects.parts["eye_left"]
    rest = _shown(bpy, eye)
    _set_key(objects, "eyeLookUpLeft", 1.0)
    by_key = _shown(bpy, eye) - rest
    _set_key(objects, "eyeLookUpLeft", 0.0)
    _rig(bpy).pose.bones["eye.L"].rotation_euler = (radians(25), 0, 0)
    by_bone = _shown(bpy, eye) - rest
    # the bone turns on a circle, the key goes straight: near, not equal
    assert np.abs(by_bone - by_key).max() < 0.15 * np.linalg.norm(by_key, axis=1).max()
    front = np.argmin(rest[:, 1])
    assert by_bone[front, 2] > 4e-3  # the pupil goes up


def test_an_eye_that_looks_up_and_aside_stays_round(bpy, objects):
    eye = objects.parts["eye_left"]
    rest = _shown(bpy, eye)
    for name in ("eyeLookUpLeft", "eyeLookOutLeft"):
        _set_key(objects, name, 1.0)
    by_keys = _shown(bpy, eye)
    for name in ("eyeLookUpLeft", "eyeLookOutLeft"):
        _set_key(objects, name, 0.0)
    _rig(bpy).pose.bones["eye.L"].rotation_euler = (radians(25), 0, radians(28))
    by_bone = _shown(bpy, eye)
    size = np.linalg.norm(rest - rest.mean(0), axis=1)
    for shown in (by_keys, by_bone):  # the bone turns it by itself: no corrective beside it
        assert np.linalg.norm(shown - rest, axis=1).max() > 5e-3
        np.testing.assert_allclose(np.linalg.norm(shown - shown.mean(0), axis=1), size, atol=2e-4)


def test_the_head_turns_and_the_bust_stays(bpy, objects):
    skin = objects.parts["skin"]
    rest = _shown(bpy, skin)
    _rig(bpy).pose.bones["head"].rotation_euler = (0, radians(30), 0)
    moved = np.linalg.norm(_shown(bpy, skin) - rest, axis=1)
    height = rest[:, 2]
    assert moved[height < np.quantile(height, 0.02)].max() < 1e-6
    assert moved[np.argmin(rest[:, 1])] > 0.03  # the nose


def test_everything_still_follows_after_reopening(bpy, objects, tmp_path):
    path = tmp_path / "rigged.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    from blender_addon.scene.identity import find

    collection = next(c for c in bpy.data.collections if "likeness_uuid" in c)
    again = find(collection["likeness_uuid"])
    _rig(bpy).pose.bones["jaw"].rotation_euler = (radians(20), 0, 0)
    for part in ("skin", "teeth"):
        mesh = again.parts[part]
        before = np.array([v.co for v in mesh.data.vertices])
        assert np.abs(_shown(bpy, mesh) - before).max() > 0.01
    _rig(bpy).pose.bones["jaw"].rotation_euler = (0, 0, 0)
    _set_key(again, "tongueOut", 1.0)
    assert (
        np.abs(
            _shown(bpy, again.parts["tongue"]) - np.array([v.co for v in again.parts["tongue"].data.vertices])
        ).max()
        > 0.005
    )
