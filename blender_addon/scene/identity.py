"""Which data-blocks belong to which avatar: custom properties, so that no pointer is ever kept.

Blender's undo and file load invalidate Python's references; a UUID on every data-block survives both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import bpy

UUID_KEY = "likeness_uuid"
ROLE_KEY = "likeness_role"  # "collection", "root", "part", "rig", "camera", "skin", "map", …
PART_KEY = "likeness_part"  # of a mesh object: the part of the head that it is

# Where an avatar's data-blocks can lie, users before what they use.
KINDS = (
    "collections",
    "objects",
    "meshes",
    "armatures",
    "cameras",
    "lights",
    "materials",
    "images",
    "worlds",
)


@dataclass(frozen=True)
class AvatarObjects:
    """The Blender objects of one avatar; valid until the next undo or file load only."""

    collection: Any
    root: Any  # an empty; everything that is the head hangs from it
    parts: dict[str, Any] = field(default_factory=dict)  # mesh objects by part name


def tag(block: Any, uuid: str, role: str) -> None:
    """Say that ``block`` is the ``role`` of the avatar ``uuid``."""
    block[UUID_KEY] = uuid
    block[ROLE_KEY] = role


def tagged(kind: str, uuid: str, role: str | None = None) -> Iterator[Any]:
    """Data-blocks of ``bpy.data.<kind>`` that belong to ``uuid``; linked library data is left out."""
    for block in getattr(bpy.data, kind):
        if block.library is None and block.get(UUID_KEY) == uuid and role in (None, block.get(ROLE_KEY)):
            yield block


def first(kind: str, uuid: str, role: str) -> Any | None:
    """The data-block of that kind and role, None when there is none."""
    return next(tagged(kind, uuid, role), None)


def find(uuid: str) -> AvatarObjects | None:
    """The avatar's objects as they are now; None when its collection or its root is gone."""
    collection = first("collections", uuid, "collection")
    root = first("objects", uuid, "root")
    if collection is None or root is None:
        return None
    parts = {str(obj[PART_KEY]): obj for obj in tagged("objects", uuid, "part") if PART_KEY in obj}
    return AvatarObjects(collection, root, parts)


def remove(uuid: str) -> None:
    """Delete everything of the avatar; what other data still uses stays and loses the mark."""
    for kind in KINDS:
        for block in list(tagged(kind, uuid)):
            if kind in ("collections", "objects") or block.users - block.use_fake_user <= 0:
                getattr(bpy.data, kind).remove(block)
            else:
                del block[UUID_KEY]
