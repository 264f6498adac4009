"""The armature: chest, neck, head, jaw and eyes.

What moves what: neck and head bend the skin, eye bones turn the eyeballs (vertex groups). The jaw bone and
the lids act through shape keys of their own (``head_mesh.bone_key``), copies of ``jawOpen``, ``eyeLook…``
that the bones drive: a bone shows exactly what the expression shows, and the 52 expression keys stay free
for sliders and face capture. Bone and key add up, as two controls of one muscle do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

from . import anatomy
from .anatomy import Joints, Turns
from .head_mesh import bone_key
from .space import to_scene

MODIFIER = "Rig"
JAW_EXPRESSIONS = ("jawOpen", "jawLeft", "jawRight", "jawForward")
LOOKS = ("Up", "Down", "In", "Out")
EYE_SIDES = {"Left": anatomy.EYE_LEFT, "Right": anatomy.EYE_RIGHT}
LOOK_EXPRESSIONS = tuple(f"eyeLook{look}{side}" for side in EYE_SIDES for look in LOOKS)
BONE_EXPRESSIONS = (*JAW_EXPRESSIONS, *LOOK_EXPRESSIONS)


def build_rig(name: str, joints: Joints) -> Any:
    """An armature object at rest over the neutral head, linked to no collection yet."""
    armature = bpy.data.armatures.new(name)
    rig = bpy.data.objects.new(name, armature)
    place_bones(rig, joints)
    armature.display_type = "STICK"
    rig.show_in_front = True
    rig.hide_viewport = True  # bones across the face hide the likeness; the panel shows them
    for bone in rig.pose.bones:
        bone.rotation_mode = "XYZ"  # one turn per direction: what artists scrub and drivers read
        bone.lock_location = (bone.name != anatomy.CHEST,) * 3
        bone.lock_scale = (True, True, True)
    jaw = rig.pose.bones[anatomy.JAW]
    jaw.lock_location, jaw.lock_rotation = (True, False, True), (False, True, False)
    for side in EYE_SIDES.values():
        rig.pose.bones[side].lock_rotation = (False, True, False)
    return rig


def place_bones(rig: Any, joints: Joints) -> None:
    """Make the bones of ``rig``, or move them to ``joints``.

    Bones can be made in edit mode alone. It is entered in a scene of its own, so that the artist's active
    object and selection stay as they are.
    """
    aside = bpy.data.scenes.new("Likeness rig")
    is_hidden, rig.hide_viewport = rig.hide_viewport, False  # hidden objects have no edit mode
    try:
        aside.collection.objects.link(rig)
        layer = aside.view_layers[0]
        layer.objects.active = rig
        with bpy.context.temp_override(scene=aside, view_layer=layer, active_object=rig, object=rig):
            bpy.ops.object.mode_set(mode="EDIT")
            try:
                _edit_bones(rig.data, joints)
            finally:
                bpy.ops.object.mode_set(mode="OBJECT")
    finally:
        rig.hide_viewport = is_hidden
        bpy.data.scenes.remove(aside)


def bind(obj: Any, rig: Any, levels: NDArray[np.int32]) -> None:
    """Weight ``obj`` to the bones by ``levels`` ``(v, len(BONES))``, with modifier and parent for it.

    Exporters find a skinned mesh below its armature. The rig rests on its own parent, so nothing moves.
    """
    if obj.parent == rig.parent:
        obj.parent = rig
    for column, bone in enumerate(anatomy.BONES):
        group = obj.vertex_groups.get(bone)
        own = levels[:, column]
        if not own.any():
            if group is not None:
                obj.vertex_groups.remove(group)
            continue
        if group is None:
            group = obj.vertex_groups.new(name=bone)
        else:
            group.remove(range(len(own)))
        # One call per weight rather than per vertex.
        rows = np.flatnonzero(own)
        rows = rows[np.argsort(own[rows], kind="stable")]
        weights, starts = np.unique(own[rows], return_index=True)
        for weight, members in zip(weights, np.split(rows, starts[1:]), strict=True):
            group.add(members.tolist(), float(weight) / anatomy.LEVELS, "REPLACE")
    modifier = obj.modifiers.get(MODIFIER)
    if modifier is None:
        modifier = obj.modifiers.new(MODIFIER, "ARMATURE")
        obj.modifiers.move(len(obj.modifiers) - 1, 0)  # before the subdivision: fewer points to move
    modifier.object = rig


def drive_expressions(leader: Any, rig: Any, turns: Turns) -> None:
    """Let the bones of ``rig`` drive the leader's bone keys; full turn is full weight."""
    jaw, plans = anatomy.JAW, []
    plans.append(("jawOpen", jaw, "ROT_X", 1.0 / turns.jaw_open))
    plans.append(("jawLeft", jaw, "ROT_Z", -1.0 / turns.jaw_aside))  # its Z points down
    plans.append(("jawRight", jaw, "ROT_Z", 1.0 / turns.jaw_aside))
    plans.append(("jawForward", jaw, "LOC_Y", 1.0 / turns.jaw_forward_m))
    for side, bone in EYE_SIDES.items():
        out = 1.0 if side == "Left" else -1.0  # Z points up: a positive turn looks to the subject's left
        plans.append((f"eyeLookUp{side}", bone, "ROT_X", 1.0 / turns.eye_up))
        plans.append((f"eyeLookDown{side}", bone, "ROT_X", -1.0 / turns.eye_down))
        plans.append((f"eyeLookOut{side}", bone, "ROT_Z", out / turns.eye_out))
        plans.append((f"eyeLookIn{side}", bone, "ROT_Z", -out / turns.eye_in))
    keys = leader.data.shape_keys.key_blocks
    for expression, bone, channel, gain in plans:
        if bone_key(expression) in keys:
            _drive(keys[bone_key(expression)], rig, bone, channel, gain)


def _drive(key: Any, rig: Any, bone: str, channel: str, gain: float) -> None:
    key.driver_remove("value")
    driver = key.driver_add("value").driver
    driver.type = "SCRIPTED"
    variable = driver.variables.new()
    variable.name = "turn"
    variable.type = "TRANSFORMS"
    target = variable.targets[0]
    target.id = rig
    target.bone_target = bone
    target.transform_type = channel
    target.transform_space = "LOCAL_SPACE"
    # Simple enough for Blender's own evaluator: it runs where Python scripts are not trusted.
    driver.expression = f"min(max(turn * {gain:.6f}, 0), 1)"


def _edit_bones(armature: Any, joints: Joints) -> None:
    up, forward = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    jaw = joints.chin - joints.jaw_hinge
    # Bone, parent, head and tail (head space), where its Z points, whether it moves vertices.
    plan: Sequence[tuple[str, str | None, NDArray[np.float64], NDArray[np.float64], Any, bool]] = (
        (anatomy.CHEST, None, joints.chest, joints.neck, forward, True),
        (anatomy.NECK, anatomy.CHEST, joints.neck, joints.skull_base, forward, True),
        (anatomy.HEAD, anatomy.NECK, joints.skull_base, joints.crown, forward, True),
        (anatomy.JAW, anatomy.HEAD, joints.jaw_hinge, joints.chin, np.cross([1.0, 0.0, 0.0], jaw), False),
        *(
            (bone, anatomy.HEAD, eye, eye + joints.eye_length * forward, up, True)
            for bone, eye in zip(EYE_SIDES.values(), joints.eyes, strict=True)
        ),
    )
    bones = armature.edit_bones
    for name, parent, start, end, z_axis, deforms in plan:
        bone = bones.get(name) or bones.new(name)
        bone.head, bone.tail = to_scene(start).tolist(), to_scene(end).tolist()
        bone.align_roll(Vector(to_scene(np.asarray(z_axis)).tolist()))
        bone.parent = bones[parent] if parent else None
        bone.use_connect = False
        bone.use_deform = deforms
