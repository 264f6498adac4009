"""Joints, turns and bone weights of a head, read from its own shape and motion; no bpy.

The jaw's hinge is where the lower teeth turn in ``jawOpen``; an eye's range is how far its eyeball turns
in ``eyeLook…``. So a bone's turn can be told in the weights of the expressions that show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bundle import Mesh

F64 = NDArray[np.float64]

CHEST, NECK, HEAD, JAW, EYE_LEFT, EYE_RIGHT = "chest", "neck", "head", "jaw", "eye.L", "eye.R"
BONES = (CHEST, NECK, HEAD, JAW, EYE_LEFT, EYE_RIGHT)
EYE_PARTS = {  # what turns with an eye's bone
    "eye_left": EYE_LEFT,
    "eye_right": EYE_RIGHT,
    "cornea_left": EYE_LEFT,
    "cornea_right": EYE_RIGHT,
}

LEVELS = 1024  # weights are whole multiples of 1/LEVELS, so that every vertex's sum to 1 exactly

# Where joints lie from the middle between the eyes on the mean head, in distances between the eyes; used
# where a head has no motion to read them from.
_HINGE_FROM_EYES = np.array([0.0, -0.67, -1.00])
_CHIN_FROM_EYES = np.array([0.0, -1.62, 0.48])
_SKULL_BASE_FROM_HINGE = np.array([0.0, -0.22, -0.42])  # atlas: below and behind the hinge
_USUAL_OPENING_RADIANS = float(np.radians(26.0))
_USUAL_LOOK_RADIANS = float(np.radians(27.0))
_USUAL_YAW_RADIANS = float(np.radians(5.0))
_PLAUSIBLE_RADIANS = (float(np.radians(3.0)), float(np.radians(60.0)))


@dataclass(frozen=True)
class Joints:
    """Where the bones of a head begin and end: head space, metres."""

    chest: F64  # (3,) bottom of the bust
    neck: F64  # (3,) where the neck leaves the bust
    skull_base: F64  # (3,) where the head turns on the neck
    crown: F64  # (3,) top of the head above ``skull_base``
    jaw_hinge: F64  # (3,) between both jaw joints
    chin: F64  # (3,)
    eyes: tuple[F64, F64]  # (3,) left, right: centres of the eyeballs
    eye_length: float  # from an eyeball's centre to beyond the cornea


@dataclass(frozen=True)
class Turns:
    """The bones' motions that equal an expression at weight 1; radians and metres, all positive."""

    jaw_open: float  # about the axis through both jaw joints
    jaw_aside: float  # about the vertical: ``jawLeft``, ``jawRight``
    jaw_forward_m: float
    eye_up: float
    eye_down: float
    eye_in: float
    eye_out: float


def find_joints(mesh: Mesh) -> Joints:
    """The joints of ``mesh`` at its neutral expression."""
    vertices = mesh.vertices_neutral_head.astype(np.float64)
    left, right = mesh.eye_centres_head.astype(np.float64)
    middle, unit = (left + right) / 2, float(np.linalg.norm(left - right))
    skin = vertices[_part_vertices(mesh, "skin")]
    opening = _offsets(mesh, "jawOpen")

    hinge = _jaw_motion(mesh)[0]
    moved = opening[_part_vertices(mesh, "skin")]
    length = np.linalg.norm(moved, axis=1)
    if length.max(initial=0.0) > 0.05 * unit:
        chin = skin[int(np.argmax(length))].copy()
    else:
        chin = middle + unit * _CHIN_FROM_EYES
    chin[0] = hinge[0]
    skull_base = hinge + unit * _SKULL_BASE_FROM_HINGE
    bottom = float(skin[:, 1].min())
    # The neck leaves the bust a little above half way from the skull's base to the bust's lower edge.
    neck_y = skull_base[1] + 0.55 * (bottom - skull_base[1])
    near = skin[np.abs(skin[:, 1] - neck_y) < 0.25 * unit]
    narrow = near[np.abs(near[:, 0] - hinge[0]) < unit] if len(near) else near
    front, back = (narrow[:, 2].max(), narrow[:, 2].min()) if len(narrow) else (unit, -unit)
    neck = np.array([hinge[0], neck_y, back + 0.4 * (front - back)])
    return Joints(
        chest=np.array([hinge[0], bottom, neck[2]]),
        neck=neck,
        skull_base=skull_base,
        crown=np.array([hinge[0], float(skin[:, 1].max()), skull_base[2]]),
        jaw_hinge=hinge,
        chin=chin,
        eyes=(left, right),
        eye_length=0.6 * unit,
    )


def find_turns(mesh: Mesh, joints: Joints) -> Turns:
    """How far bones turn in the expressions of ``mesh``."""
    arm = float(np.linalg.norm(joints.chin - joints.jaw_hinge))
    chin = _part_vertices(mesh, "skin")
    vertices = mesh.vertices_neutral_head.astype(np.float64)
    near = chin[np.argsort(np.linalg.norm(vertices[chin] - joints.chin, axis=1))[:20]]
    aside = float(np.abs(_offsets(mesh, "jawLeft")[near, 0]).mean()) / arm
    forward = float(np.linalg.norm(_offsets(mesh, "jawForward")[near], axis=1).mean())
    return Turns(
        jaw_open=_jaw_motion(mesh)[1],
        jaw_aside=aside if aside > 0.01 else _USUAL_YAW_RADIANS,
        jaw_forward_m=forward if forward > 1e-3 else 0.005,
        **{f"eye_{look.lower()}": _eye_turn(mesh, joints, look) for look in ("Up", "Down", "In", "Out")},
    )


def bone_levels(mesh: Mesh, joints: Joints) -> NDArray[np.int32]:
    """Weights ``(V, len(BONES))`` in multiples of 1/LEVELS; every row sums to LEVELS.

    Eyeballs go with their bones, the skin fades from head through neck to chest, all within goes with
    the head. The jaw moves no vertex by itself: it acts through the expressions.
    """
    vertices = mesh.vertices_neutral_head.astype(np.float64)
    levels = np.zeros((len(vertices), len(BONES)), np.int32)
    skin = _part_vertices(mesh, "skin")
    chest, neck = _trunk(vertices[skin], joints)
    levels[skin, BONES.index(CHEST)] = np.rint(chest * LEVELS)
    levels[skin, BONES.index(NECK)] = np.rint(neck * (LEVELS - levels[skin, BONES.index(CHEST)]))
    levels[:, BONES.index(HEAD)] = LEVELS - levels.sum(axis=1)
    for part, bone in EYE_PARTS.items():
        rows = _part_vertices(mesh, part)
        levels[rows] = 0
        levels[rows, BONES.index(bone)] = LEVELS
    return levels


def _jaw_motion(mesh: Mesh) -> tuple[F64, float]:
    """The jaw's hinge ``(3,)`` and its turn about +X in ``jawOpen``: the motion of the lower teeth."""
    vertices = mesh.vertices_neutral_head.astype(np.float64)
    left, right = mesh.eye_centres_head.astype(np.float64)
    middle, unit = (left + right) / 2, float(np.linalg.norm(left - right))
    usual = middle + unit * _HINGE_FROM_EYES
    opening = _offsets(mesh, "jawOpen")
    teeth = next((part for part in mesh.part_names if "teeth" in part), None)
    rows = _part_vertices(mesh, teeth) if teeth is not None else np.zeros(0, np.int64)
    rows = rows[np.linalg.norm(opening[rows], axis=1) > 0.02 * unit]
    if len(rows) < 8:
        return usual, _USUAL_OPENING_RADIANS
    turn, shift = _rigid(vertices[rows], vertices[rows] + opening[rows])
    angle = float(np.arctan2(turn[2, 1] - turn[1, 2], turn[1, 1] + turn[2, 2]))
    if not _PLAUSIBLE_RADIANS[0] < angle < _PLAUSIBLE_RADIANS[1]:
        return usual, _USUAL_OPENING_RADIANS  # teeth that slide rather than turn say nothing of the hinge
    # Points on the axis stay: (1 − R) p = t, in the plane across X.
    across = np.linalg.solve(np.eye(2) - turn[1:, 1:], shift[1:])
    hinge = np.array([middle[0], across[0], across[1]])
    if np.linalg.norm(hinge - usual) > 0.8 * unit:
        return usual, _USUAL_OPENING_RADIANS
    return hinge, angle


def _eye_turn(mesh: Mesh, joints: Joints, look: str) -> float:
    """How far the left eyeball turns in ``eyeLook<look>Left``."""
    rows = _part_vertices(mesh, "eye_left")
    offsets = _offsets(mesh, f"eyeLook{look}Left")[rows]
    if len(rows) < 8 or not offsets.any():
        return _USUAL_LOOK_RADIANS
    arm = mesh.vertices_neutral_head[rows].astype(np.float64) - joints.eyes[0]
    turn, _ = _rigid(arm, arm + offsets)
    angle = float(np.arccos(np.clip((np.trace(turn) - 1.0) / 2.0, -1.0, 1.0)))
    return angle if _PLAUSIBLE_RADIANS[0] < angle < _PLAUSIBLE_RADIANS[1] else _USUAL_LOOK_RADIANS


def _rigid(before: F64, after: F64) -> tuple[F64, F64]:
    """The rotation ``(3, 3)`` and shift ``(3,)`` that take ``before`` nearest to ``after`` (Kabsch)."""
    mean_before, mean_after = before.mean(axis=0), after.mean(axis=0)
    u, _, vt = np.linalg.svd((before - mean_before).T @ (after - mean_after))
    turn = vt.T @ np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    return turn, mean_after - turn @ mean_before


def _trunk(vertices: F64, joints: Joints) -> tuple[F64, F64]:
    """The shares of chest, and of neck in what chest leaves: soft across two planes."""
    unit = joints.eye_length / 0.6
    # From under the chin to the nape: above is head, below becomes neck.
    front = joints.chin + unit * np.array([0.0, -0.22, -0.30])
    back = joints.skull_base + unit * np.array([0.0, 0.05, -0.9])
    along = (front - back)[1:] / np.linalg.norm((front - back)[1:])
    above = (vertices[:, 1:] - back[1:]) @ np.array([along[1], -along[0]])
    neck = _smoothstep(0.0, 1.1 * unit, -above)
    height = vertices[:, 1] - joints.neck[1]
    chest = _smoothstep(0.55 * unit, -0.45 * unit, height)
    return chest, neck


def _smoothstep(start: float, end: float, value: F64) -> F64:
    t = np.clip((value - start) / (end - start), 0.0, 1.0)
    smooth: F64 = t * t * (3.0 - 2.0 * t)
    return smooth


def _offsets(mesh: Mesh, expression: str) -> F64:
    """Dense offsets ``(V, 3)`` of an expression at weight 1; zero where the head lacks it."""
    offsets = np.zeros((len(mesh.vertices_neutral_head), 3))
    if expression in mesh.expression_names:
        rows, offset = mesh.expressions.rows(mesh.expression_names.index(expression))
        offsets[rows] = offset
    return offsets


def _part_vertices(mesh: Mesh, part: str) -> NDArray[np.int64]:
    if part not in mesh.part_names:
        return np.zeros(0, np.int64)
    quads = mesh.quads[mesh.quad_part == mesh.part_names.index(part)]
    is_own = np.zeros(len(mesh.vertices_neutral_head), bool)
    is_own[quads[quads >= 0]] = True
    return np.flatnonzero(is_own)


def blush_mask(mesh: Mesh, joints: Joints) -> NDArray[np.float32]:
    """Where blush is put: soft spots ``(V,)`` in [0, 1] on the cheekbones, drawn out towards the ears."""
    vertices = mesh.vertices_neutral_head.astype(np.float64)
    unit = joints.eye_length / 0.6
    mask = np.zeros(len(vertices))
    for side, eye in zip((1.0, -1.0), joints.eyes, strict=True):
        arm = vertices - eye - unit * np.array([side * 0.30, -0.62, 0.0])
        along = np.array([side * 0.55, 0.30, -0.78])
        along /= np.linalg.norm(along)
        length = arm @ along
        across = np.linalg.norm(arm - length[:, None] * along, axis=1)
        mask = np.maximum(
            mask, np.exp(-0.5 * ((length / (0.42 * unit)) ** 2 + (across / (0.22 * unit)) ** 2))
        )
    return (0.65 * mask).astype(np.float32)  # powder lets skin through at its densest
