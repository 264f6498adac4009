"""An avatar folder into the open file, in steps short enough for Blender's main thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..bundle import read_bundle
from .identity import PART_KEY, find, remove, tag
from .scene import build_avatar

__all__ = ["ImportOptions", "find", "import_steps", "remove"]


@dataclass(frozen=True)
class ImportOptions:
    """How an avatar comes into the file."""

    proxies: bool = True  # maps at 1K first, where the folder has them
    pack: bool = True  # maps travel inside the .blend
    maps_folder: Path | None = (
        None  # without ``pack``: where maps are copied; None leaves them where they are
    )
    set_camera: bool = True  # the photograph's camera becomes the scene's
    set_world: bool = True  # the estimated light becomes the scene's world
    mark_asset: bool = True  # show the head in the asset browser


def import_steps(directory: Path, options: ImportOptions, *, collection_uuid: str) -> Iterator[str]:
    """Build or update the head ``collection_uuid`` from what ``directory`` holds now; yields what was done.

    Call in object mode, not while rendering; between two steps undo and file load may happen.
    Raises: BundleError.
    """
    avatar = read_bundle(directory)
    yield "read"
    remove(collection_uuid)
    objects = build_avatar(avatar, bpy.context.scene.collection)
    tag(objects.collection, collection_uuid, "collection")
    tag(objects.root, collection_uuid, "root")
    for part, obj in objects.parts.items():
        tag(obj, collection_uuid, "part")
        tag(obj.data, collection_uuid, "part")
        obj[PART_KEY] = part
        for slot in obj.material_slots:
            tag(slot.material, collection_uuid, "material")
    yield "mesh"
