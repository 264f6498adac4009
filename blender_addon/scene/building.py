"""The head's objects, made or brought up to date step by step; every step finds its data by UUID again."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..bundle import Manifest, Mesh
from . import anatomy, head_mesh, rig
from .eyes import build_eye, eye_chart
from .identity import PART_KEY, ROLE_KEY, AvatarObjects, find, first, tag
from .material import build_plain, build_skin
from .provenance import write_provenance

EYES = ("eye_left", "eye_right")
# Cards that game engines lay over the eye to fake contact shade; a ray tracer has the real thing.
HELPER_PARTS = ("eye_occlusion", "eye_blend")
# Built, but hidden until the artist shows them: the albedo has the photographed brows already.
OPTIONAL_PARTS = ("brows",)
# Catmull–Clark levels in viewport and render; it would round small stiff parts such as teeth away. The
# viewport does without: 15 000 faces are smooth as they are, and every step of the import draws them anew.
SUBDIVISION = {
    "skin": (0, 2),
    "eye_left": (0, 1),
    "eye_right": (0, 1),
    "cornea_left": (1, 2),
    "cornea_right": (1, 2),
    "tear_line": (0, 1),
    "lashes": (1, 2),
}
KEYS_PER_STEP = 13
HEAD_SPACING_M = 0.45  # shoulders do not touch
MESH_KEY = "likeness_mesh"  # digest of the mesh that the objects show, once they show all of it


class Gone(Exception):
    """The avatar was taken out of the file while it was being built."""


@dataclass(frozen=True)
class Head:
    """What the objects are built from, and what is worked out from it once."""

    name: str
    manifest: Manifest
    mesh: Mesh

    @cached_property
    def parts(self) -> tuple[head_mesh.PartFaces, ...]:
        """The parts that are built, the leader of the shape keys first."""
        names = sorted(
            (part for part in self.mesh.part_names if part not in HELPER_PARTS),
            key=lambda part: part != head_mesh.HEAD_PART,
        )
        faces = (head_mesh.part_faces(self.mesh, part) for part in names)
        return tuple(part for part in faces if len(part.face_start))

    @cached_property
    def joints(self) -> anatomy.Joints:
        return anatomy.find_joints(self.mesh)

    @cached_property
    def turns(self) -> anatomy.Turns:
        return anatomy.find_turns(self.mesh, self.joints)

    @cached_property
    def bone_levels(self) -> NDArray[np.int32]:
        return anatomy.bone_levels(self.mesh, self.joints)

    @cached_property
    def digest(self) -> str:
        """Of all that shows in the objects; told from the next fit, not proof against forgery."""
        mesh = self.mesh
        arrays = (
            mesh.vertices_neutral_head, mesh.quads, mesh.quad_uvs, mesh.uvs, mesh.expressions.vertex,
            mesh.expressions.offset, mesh.expression_weights, mesh.eye_centres_head, *mesh.regions.values(),
            mesh.correctives.factors, mesh.correctives.offsets.vertex, mesh.correctives.offsets.offset,
        )  # fmt: skip
        return "-".join(f"{zlib.crc32(np.ascontiguousarray(array).data):08x}" for array in arrays)


def found(uuid: str) -> AvatarObjects:
    """The avatar as it is now. Raises: Gone."""
    objects = find(uuid)
    if objects is None:
        raise Gone(uuid)
    return objects


def head_steps(head: Head, uuid: str, parent: Any) -> Iterator[str]:
    """Make or update the head's objects below the collection ``parent``; ``parent`` is used at once only.

    Raises: Gone when undo, file load or the artist took the head away between two steps.
    """
    objects = find(uuid)
    if objects is None:
        objects = _new_collection(head.name, uuid, parent)
    for owner in (objects.collection, objects.root):
        write_provenance(owner, head.manifest)
    yield "collection"
    if objects_are_current(uuid, head):
        return
    _ = head.parts, head.joints
    yield "parts"
    for faces in head.parts:
        _build_part(head, faces, uuid)
        yield f"mesh of {faces.name}"
    for faces in head.parts:
        yield from _key_steps(head, faces, uuid)
    yield from _rig_steps(head, uuid)
    found(uuid).collection[MESH_KEY] = head.digest


def objects_are_current(uuid: str, head: Head) -> bool:
    """Whether every part shows ``head`` already."""
    # By the digest alone: a part that the artist deleted since stays deleted.
    return bool(found(uuid).collection.get(MESH_KEY) == head.digest)


def _new_collection(name: str, uuid: str, parent: Any) -> AvatarObjects:
    collection = bpy.data.collections.new(name)
    parent.children.link(collection)
    root = bpy.data.objects.new(name, None)
    root.empty_display_size = 0.05
    root.location.x = _free_place()
    collection.objects.link(root)
    tag(collection, uuid, "collection")
    tag(root, uuid, "root")
    return AvatarObjects(collection, root)


def _free_place() -> float:
    """Scene x in metres for a new head: the origin, else beside the heads that are there."""
    taken = [o.location.x for o in bpy.data.objects if o.library is None and o.get(ROLE_KEY) == "root"]
    return max(taken) + HEAD_SPACING_M if taken else 0.0


def _build_part(head: Head, faces: head_mesh.PartFaces, uuid: str) -> None:
    objects = found(uuid)
    objects.collection.pop(MESH_KEY, None)
    name = f"{head.name} {faces.name}"
    obj = objects.parts.get(faces.name)
    if obj is not None and not head_mesh.update_part(obj, head.mesh, faces):
        bpy.data.objects.remove(obj)
        obj = None
    if obj is None:
        obj = head_mesh.build_part(head.mesh, faces, name)
        for block in (obj, obj.data):
            tag(block, uuid, "part")
        obj[PART_KEY] = faces.name
        obj.parent = objects.root
        objects.collection.objects.link(obj)
        obj.data.materials.append(_part_material(head, faces.name, name, uuid))
        obj.hide_viewport = obj.hide_render = faces.name in OPTIONAL_PARTS
        if faces.name in SUBDIVISION:
            head_mesh.add_subdivision(obj, *SUBDIVISION[faces.name])
    if faces.name == head_mesh.HEAD_PART:
        head_mesh.set_mask(
            obj, head_mesh.BLUSH_MASK, anatomy.blush_mask(head.mesh, head.joints)[faces.vertex]
        )
        lips = head.mesh.regions.get("lips")
        if lips is not None:  # else the lip slider has nowhere to act
            head_mesh.set_mask(obj, head_mesh.LIPS_MASK, lips[faces.vertex].astype(np.float32) / 255.0)


def _part_material(head: Head, part: str, name: str, uuid: str) -> Any:
    """The material of ``part``: skin, procedural eye, or a plain one."""
    role = "skin" if part == head_mesh.HEAD_PART else f"material {part}"
    material = first("materials", uuid, role)
    if material is not None:
        return material
    if part == head_mesh.HEAD_PART:
        material = build_skin(name)
    elif part in EYES:
        chart = eye_chart(head.mesh, part, head.mesh.eye_centres_head[EYES.index(part)])
        material = build_eye(name, chart, head.manifest.eyes.iris_srgb)
    else:
        material = build_plain(part, name)
    tag(material, uuid, role)
    return material


def _key_steps(head: Head, faces: head_mesh.PartFaces, uuid: str) -> Iterator[str]:
    """All expressions on the skin, on the other parts those that move them; copies for the bones."""
    motion = head_mesh.part_motion(head.mesh, faces)
    moving = motion.moving
    is_leader = faces.name == head_mesh.HEAD_PART
    own = head.mesh.expression_names if is_leader else moving
    # Eyeballs turn with their bones; a key as well would turn them twice.
    turns = faces.name in anatomy.EYE_PARTS
    for_bones = () if turns else tuple(e for e in rig.BONE_EXPRESSIONS if e in moving)
    if is_leader:  # what leads must have every key that some part follows
        for_bones = tuple(e for e in rig.BONE_EXPRESSIONS if e in head.mesh.expression_names)
    for names, are_copies in ((own, False), (for_bones, True)):
        for chunk in _chunks(names, KEYS_PER_STEP if is_leader else len(names)):
            obj = found(uuid).parts.get(faces.name)
            if obj is None:
                raise Gone(uuid)
            head_mesh.set_shape_keys(obj, motion, chunk, for_bones=are_copies)
            if is_leader:
                yield f"shape keys of {faces.name}"
    corrected = head_mesh.part_correctives(head.mesh, faces)
    for chunk in _chunks(corrected.names if is_leader else corrected.moving, KEYS_PER_STEP):
        obj = found(uuid).parts.get(faces.name)
        if obj is None:
            raise Gone(uuid)
        head_mesh.set_shape_keys(obj, corrected, chunk)
        yield f"correctives of {faces.name}"
    if is_leader and len(corrected.names):
        head_mesh.drive_correctives(found(uuid).parts[faces.name], head.mesh, corrected.moving)
    if own and not is_leader:
        parts = found(uuid).parts
        if head_mesh.HEAD_PART not in parts or faces.name not in parts:
            raise Gone(uuid)
        head_mesh.follow_shape_keys(parts[faces.name], parts[head_mesh.HEAD_PART])
        yield f"shape keys of {faces.name}"


def _rig_steps(head: Head, uuid: str) -> Iterator[str]:
    _ = head.bone_levels, head.turns
    yield "bone weights"
    objects = found(uuid)
    armature = first("objects", uuid, "rig")
    if armature is None:
        armature = rig.build_rig(f"{head.name} rig", head.joints)
        tag(armature, uuid, "rig")
        tag(armature.data, uuid, "rig")
        armature.parent = objects.root
        objects.collection.objects.link(armature)
    else:
        rig.place_bones(armature, head.joints)
    yield "bones"
    for faces in head.parts:
        obj, armature = found(uuid).parts.get(faces.name), first("objects", uuid, "rig")
        if obj is None or armature is None:
            raise Gone(uuid)
        rig.bind(obj, armature, head.bone_levels[faces.vertex])
        if faces.name == head_mesh.HEAD_PART:
            rig.drive_expressions(obj, armature, head.turns)
        yield f"weights of {faces.name}"


def _chunks(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), max(size, 1)):
        yield names[start : start + size]
