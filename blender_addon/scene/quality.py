"""1K stand-ins while working, full maps on demand and at render.

Both pictures of a map are data-blocks of their own and only the material's nodes change hands, so that
a viewport that is drawing never sees a picture change under it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from ..bundle import map_path
from .identity import ROLE_KEY, UUID_KEY, first
from .maps import FULL, PROXY, QUALITY_KEY, Storage, load_map, map_file, map_image, skin_material
from .material import SKIN_MAPS, VISIBILITY, map_node, show_map

DIRECTORY_KEY = "likeness_directory"
PACK_KEY = "likeness_pack"
FOLDER_KEY = "likeness_maps_folder"
AT_RENDER_KEY = "likeness_full_for_render"  # on the material while a render borrows the full maps


class NoMaps(RuntimeError):
    """The avatar's folder, or its maps, cannot be found; the text is one line for the user."""


def remember_source(collection: Any, directory: Path, storage: Storage) -> None:
    """Where the full maps come from, and how pictures are kept, as properties of the avatar."""
    collection[DIRECTORY_KEY] = str(directory)
    collection[PACK_KEY] = storage.pack
    collection[FOLDER_KEY] = str(storage.folder) if storage.folder else ""


def has_full_maps(uuid: str) -> bool:
    """Whether the head shows stand-ins whose full maps can be had."""
    return any(_switchable(uuid))


def use_full_maps(uuid: str) -> int:
    """Show the full maps; how many changed. Raises: NoMaps, BundleError, OSError."""
    collection, material = _head(uuid)
    directory = Path(str(collection.get(DIRECTORY_KEY, "")))
    folder = str(collection.get(FOLDER_KEY, ""))
    storage = Storage(bool(collection.get(PACK_KEY, True)), Path(folder) if folder else None)
    return _show_full(uuid, collection.name, material, directory, storage)


def use_proxies(uuid: str) -> int:
    """Show the 1K stand-ins again; how many changed. Raises: NoMaps, BundleError, OSError."""
    collection, material = _head(uuid)
    directory = Path(str(collection.get(DIRECTORY_KEY, "")))
    changed = 0
    for key in (*SKIN_MAPS, VISIBILITY):
        node = map_node(material, key)
        if node is None or node.image is None or node.image.get(QUALITY_KEY) != FULL:
            continue
        image = map_image(uuid, key, PROXY)
        if image is None:
            file = map_file(directory, key, proxies=True)
            if file is None or file[1] != PROXY:
                continue  # a map that is small enough has no stand-in
            image, _ = load_map(uuid, collection.name, file[0], key, PROXY, Storage(True, None))
        show_map(material, key, image)
        changed += 1
    return changed


def full_maps_for_render(scene: Any, _depsgraph: Any = None) -> None:
    """For ``bpy.app.handlers.render_init``: heads of ``scene`` borrow their full maps.

    A head whose folder is gone renders with its stand-ins; a line on the console says so.
    """
    for collection in _avatars(scene):
        uuid = str(collection[UUID_KEY])
        material = skin_material(uuid)
        if material is None or not has_full_maps(uuid):
            continue
        try:
            # Shown from where they lie: nothing of the loan should stay in the .blend.
            directory = Path(str(collection.get(DIRECTORY_KEY, "")))
            _show_full(uuid, collection.name, material, directory, Storage(False, None))
        except (NoMaps, ValueError, OSError) as error:
            print(f"Likeness: '{collection.name}' is rendered with 1K maps: {error}")
        material[AT_RENDER_KEY] = True


def proxies_after_render(scene: Any, _depsgraph: Any = None) -> None:
    """For ``render_complete`` and ``render_cancel``: give the borrowed maps back."""
    for collection in _avatars(scene):
        uuid = str(collection[UUID_KEY])
        material = skin_material(uuid)
        if material is None or not material.get(AT_RENDER_KEY):
            continue
        del material[AT_RENDER_KEY]
        use_proxies(uuid)


def _head(uuid: str) -> tuple[Any, Any]:
    collection, material = first("collections", uuid, "collection"), skin_material(uuid)
    if collection is None or material is None:
        raise NoMaps("the avatar is no longer in this file; import it again")
    return collection, material


def _switchable(uuid: str) -> Iterator[str]:
    """The maps that are shown by a stand-in while the full file is there."""
    collection, material = first("collections", uuid, "collection"), skin_material(uuid)
    if collection is None or material is None:
        return
    directory = Path(str(collection.get(DIRECTORY_KEY, "")))
    for key in (*SKIN_MAPS, VISIBILITY):
        node = map_node(material, key)
        if node is None or node.image is None or node.image.get(QUALITY_KEY) != PROXY:
            continue
        if map_path(directory, key).is_file() or map_image(uuid, key, FULL) is not None:
            yield key


def _show_full(uuid: str, name: str, material: Any, directory: Path, storage: Storage) -> int:
    changed = 0
    for key in (*SKIN_MAPS, VISIBILITY):
        node = map_node(material, key)
        if node is None or node.image is None or node.image.get(QUALITY_KEY) != PROXY:
            continue
        path = map_path(directory, key)
        image = map_image(uuid, key, FULL)
        if path.is_file():
            image, _ = load_map(uuid, name, path, key, FULL, storage)
        if image is None:
            raise NoMaps(f"'{path}' is not there; bring the avatar's folder back or import it again")
        show_map(material, key, image)
        changed += 1
    return changed


def _avatars(scene: Any) -> Iterator[Any]:
    if not isinstance(scene, bpy.types.Scene):
        return
    for collection in scene.collection.children_recursive:
        if collection.library is None and collection.get(ROLE_KEY) == "collection" and UUID_KEY in collection:
            yield collection
