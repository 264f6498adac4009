"""Keyframes of a face on a head: shape keys and turns of neck and head, which mesh and splats follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Euler, Matrix, Quaternion
from numpy.typing import NDArray

from ..drive_file import DriveFile, Frame
from . import anatomy, head_mesh, identity
from .space import to_scene

NECK_SHARE = 0.4  # of the head's turn
ORDER = "XYZ"  # of the rig's bones


@dataclass(frozen=True)
class Placing:
    """How a take goes onto the timeline."""

    start_frame: int = 1
    match_rate: bool = True  # the take keeps its speed at the scene's frame rate; else one frame each
    centred: bool = True  # the head's usual pose becomes straight ahead
    head_turns: bool = True


@dataclass(frozen=True)
class Placed:
    """What was keyed."""

    first_frame: int
    last_frame: int
    expressions: int
    ignored: tuple[str, ...]  # expressions of the take that the head has not


def apply_take(uuid: str, take: DriveFile, placing: Placing, scene: Any) -> Placed:
    """Key the head ``uuid`` with ``take``; earlier keys of what it moves are replaced.

    Raises: LookupError where the head is not whole.
    """
    objects = identity.find(uuid)
    skin = objects.parts.get(head_mesh.HEAD_PART) if objects is not None else None
    if skin is None or skin.data.shape_keys is None:
        raise LookupError("this head has no expressions; import it again")
    at = frames_of(take, placing, scene)
    keys = skin.data.shape_keys
    known = [name for name in take.expression_names if name in keys.key_blocks]
    action = _action(keys, f"{skin.name} take")
    weights = take.weights()
    for column, name in enumerate(take.expression_names):
        if name in keys.key_blocks:
            _key(action, keys, f'key_blocks["{name}"].value', 0, at, weights[:, column])
    if placing.head_turns:
        rig = identity.first("objects", uuid, "rig")
        if rig is not None:
            _key_turns(rig, take.frames, placing, at)
    return Placed(
        first_frame=math.floor(at[0]),
        last_frame=math.ceil(at[-1]),
        expressions=len(known),
        ignored=tuple(name for name in take.expression_names if name not in keys.key_blocks),
    )


def clear_take(uuid: str) -> bool:
    """Take the keys off again; whether there were any."""
    objects = identity.find(uuid)
    skin = objects.parts.get(head_mesh.HEAD_PART) if objects is not None else None
    rig = identity.first("objects", uuid, "rig")
    cleared = False
    for block in (skin.data.shape_keys if skin is not None else None, rig):
        if block is not None and block.animation_data is not None and block.animation_data.action is not None:
            block.animation_data.action = None
            cleared = True
    return cleared


def frames_of(take: DriveFile, placing: Placing, scene: Any) -> NDArray[np.float64]:
    """The (fractional) frame of every moment, ``(F,)``."""
    times = take.times()
    if not placing.match_rate:
        return placing.start_frame + np.arange(len(times), dtype=np.float64)
    rate = scene.render.fps / scene.render.fps_base
    return np.asarray(placing.start_frame + (times - times[0]) * rate)


def _key_turns(rig: Any, frames: tuple[Frame, ...], placing: Placing, at: NDArray[np.float64]) -> None:
    turns = [Quaternion(frame.rotation) for frame in frames]
    if placing.centred:
        usual = _middle(turns)
        turns = [usual.inverted() @ turn for turn in turns]
    action = _action(rig, f"{rig.name} take")
    for bone_name, share in ((anatomy.NECK, NECK_SHARE), (anatomy.HEAD, 1.0 - NECK_SHARE)):
        bone = rig.pose.bones.get(bone_name)
        if bone is None:
            continue
        rest = bone.bone.matrix_local.to_quaternion()
        values, before = np.empty((len(turns), 3)), Euler((0.0, 0.0, 0.0), ORDER)
        for k, turn in enumerate(turns):
            part = Quaternion().slerp(_in_scene(turn), share)
            before = (rest.inverted() @ part @ rest).to_euler(ORDER, before)
            values[k] = before
        bone.rotation_mode = ORDER
        path = f'pose.bones["{bone_name}"].rotation_euler'
        for channel in range(3):
            _key(action, rig, path, channel, at, values[:, channel])


def _in_scene(turn: Quaternion) -> Quaternion:
    """A turn in head axes (+y up, +z ahead) in those of the scene."""
    axes = Matrix(to_scene(np.eye(3)).T.tolist())
    return (axes @ turn.to_matrix() @ axes.transposed()).to_quaternion()


def _middle(turns: list[Quaternion]) -> Quaternion:
    """The turn about which the others lie: the median of their yaw, pitch and roll."""
    angles = np.array([turn.to_euler("YXZ") for turn in turns])
    return Euler(tuple(np.median(angles, axis=0)), "YXZ").to_quaternion()


def _action(block: Any, name: str) -> Any:
    data = block.animation_data or block.animation_data_create()
    if data.action is None:
        data.action = bpy.data.actions.new(name)
    return data.action


def _key(
    action: Any, block: Any, path: str, index: int, at: NDArray[np.float64], values: NDArray[np.float64]
) -> None:
    """One curve of linear keys, made anew."""
    curve = _fresh_curve(action, block, path, index)
    curve.keyframe_points.add(len(at))
    pairs = np.stack([at, values], 1).astype(np.float32).ravel()
    curve.keyframe_points.foreach_set("co", pairs)
    curve.keyframe_points.foreach_set("interpolation", np.ones(len(at), np.int32))  # LINEAR
    curve.update()


def _fresh_curve(action: Any, block: Any, path: str, index: int) -> Any:
    """An empty curve; Blender 4.4 and later keep curves in a slot of the action."""
    if hasattr(action, "slots"):
        data = block.animation_data
        if data.action_slot is None:
            data.action_slot = action.slots.new(id_type=block.id_type, name=block.name)
        curves = _channelbag(action, data.action_slot).fcurves
    else:
        curves = action.fcurves
    old = curves.find(path, index=index)
    if old is not None:
        curves.remove(old)
    return curves.new(path, index=index)


def _channelbag(action: Any, slot: Any) -> Any:
    layer = action.layers[0] if len(action.layers) else action.layers.new("Take")
    strip = layer.strips[0] if len(layer.strips) else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(slot, ensure=True)
