"""An avatar folder into the open file, in steps short enough for Blender's main thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ..bundle import Manifest, read_manifest, read_mesh
from . import asset, light
from .building import Gone, Head, found, head_steps
from .camera import build_camera, place_camera
from .identity import AvatarObjects, find, first, remove, tag
from .maps import Storage
from .quality import remember_source
from .splat_binding import bring_splats
from .surface import surface_steps

__all__ = ["AvatarObjects", "ImportOptions", "find", "import_steps", "remove"]


@dataclass(frozen=True)
class ImportOptions:
    """How an avatar comes into the file."""

    proxies: bool = True  # maps at 1K first, where the folder has them
    pack: bool = True  # maps travel inside the .blend
    maps_folder: Path | None = None  # without ``pack``: maps are copied here; None shows them where they lie
    set_camera: bool = True  # the photograph's camera and picture size become the scene's, once
    set_world: bool = True  # the estimated light becomes the scene's world, once
    mark_asset: bool = True  # show the head in the asset browser once it is whole


def import_steps(directory: Path, options: ImportOptions, *, collection_uuid: str) -> Iterator[str]:
    """Build or update the head ``collection_uuid`` from what ``directory`` holds now; yields what was done.

    Call again whenever the folder holds more: what is current already is left alone, the artist's poses,
    sliders and lights too. Call in object mode and not while rendering. Between two steps undo and file
    load may happen; when they take the head away the steps end. New heads go to the context's scene.
    Raises: BundleError, OSError.
    """
    manifest = read_manifest(directory)
    head = Head(manifest.photo.name, manifest, read_mesh(directory))
    yield "read"
    storage = Storage(options.pack, options.maps_folder)
    try:
        yield from head_steps(head, collection_uuid, bpy.context.scene.collection)
        remember_source(found(collection_uuid).collection, directory, storage)
        if _camera(manifest, collection_uuid, activate=options.set_camera):
            yield "camera"
        if _world(manifest, collection_uuid, activate=options.set_world):
            yield "light"
        yield from surface_steps(directory, head, collection_uuid, storage, proxies=options.proxies)
        if bring_splats(directory, head.mesh, manifest, collection_uuid):
            yield "splats"
        if options.mark_asset and not manifest.partial:
            yield from asset.asset_steps(collection_uuid, directory, manifest)
    except Gone:
        return


def _camera(manifest: Manifest, uuid: str, *, activate: bool) -> bool:
    """The photograph's camera; whether it was made now. It becomes the scene's when it is made only."""
    head = found(uuid)
    camera = first("objects", uuid, "camera")
    if camera is not None:
        place_camera(camera, manifest.camera)
        camera.matrix_world = head.root.matrix_world @ camera.matrix_world
        return False
    camera = build_camera(f"{manifest.photo.name} camera", manifest.camera)
    camera.matrix_world = head.root.matrix_basis @ camera.matrix_world  # new: not evaluated yet
    for block in (camera, camera.data):
        tag(block, uuid, "camera")
    head.collection.objects.link(camera)
    if activate:
        scene = bpy.context.scene
        scene.camera = camera
        # In another shape of picture the camera would cut the head off.
        scene.render.resolution_x, scene.render.resolution_y = (
            manifest.camera.width_px,
            manifest.camera.height_px,
        )
        scene.render.resolution_percentage = 100
    return True


def _world(manifest: Manifest, uuid: str, *, activate: bool) -> bool:
    """The estimated light as a world; whether it was made now."""
    is_new = first("worlds", uuid, "light") is None
    world = light.estimated_world(uuid, manifest.photo.name, np.array(manifest.light.radiance_sh))
    if is_new and activate:
        bpy.context.scene.world = world
    return is_new
