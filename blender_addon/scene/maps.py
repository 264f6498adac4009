"""The maps' pictures: which file stands for a map now, and how it gets into the .blend."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..bundle import map_path, png_size, proxy_path
from .identity import first, tag, tagged

PROXY, FULL = "proxy", "full"
MAP_KEY = "likeness_map"
QUALITY_KEY = "likeness_quality"
FILE_KEY = "likeness_file"  # digest of the file that the picture shows
PREFETCH_LARGEST = 2048  # texels a side; larger ones would stall for longer than a step may take


@dataclass(frozen=True)
class Storage:
    """How pictures are kept."""

    pack: bool  # inside the .blend
    folder: Path | None  # else copied here; None: shown from where they lie


def map_file(directory: Path, key: str, *, proxies: bool) -> tuple[Path, str] | None:
    """The file for the map ``key`` and its quality; None when the folder has none yet."""
    full = map_path(directory, key)
    proxy = proxy_path(directory, key)
    if proxies and proxy.is_file():
        return proxy, PROXY
    return (full, FULL) if full.is_file() else None


def load_map(uuid: str, name: str, path: Path, key: str, quality: str, storage: Storage) -> tuple[Any, bool]:
    """The picture of the avatar ``uuid`` for a map, and whether it changed.

    Nothing is decoded here. Raises: BundleError when the file is damaged, OSError when it cannot be read
    or copied.
    """
    png_size(path)
    data = path.read_bytes()
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    image = map_image(uuid, key, quality)
    if image is not None and image.get(FILE_KEY) == digest:
        return image, False
    if image is None:
        suffix = "" if quality == FULL else f" {quality}"
        image = bpy.data.images.new(f"{name} {key}{suffix}", 1, 1)
        image.source = "FILE"
        image.colorspace_settings.name = "sRGB" if key == "albedo" else "Non-Color"
        image.alpha_mode = "CHANNEL_PACKED" if key == "albedo" else "NONE"
        tag(image, uuid, "map")
        image[MAP_KEY], image[QUALITY_KEY] = key, quality
    inside = "maps" if quality == FULL else "proxies"
    if storage.pack:
        image.filepath_raw = f"//{inside}/{path.name}"  # where it would be unpacked to
        image.pack(data=data, data_len=len(data))
    else:
        if storage.folder is not None:
            path = _copied(path, storage.folder / _file_name(name) / inside)
        if image.packed_file is not None:
            image.unpack(method="REMOVE")
        image.filepath_raw = _blender_path(path)
    image.buffers_free()
    image.gl_free()
    image[FILE_KEY] = digest
    return image, True


def map_image(uuid: str, key: str, quality: str) -> Any | None:
    """The picture of a map in the open file, None when it is not there."""
    for image in tagged("images", uuid, "map"):
        if image.get(MAP_KEY) == key and image.get(QUALITY_KEY) == quality:
            return image
    return None


def prefetch(image: Any) -> None:
    """Decode a picture now rather than when the viewport first draws it."""
    image.size[0]  # reading the size loads the file


def skin_material(uuid: str) -> Any | None:
    """The avatar's skin, None when it is gone."""
    return first("materials", uuid, "skin")


def _copied(path: Path, folder: Path) -> Path:
    """``path`` copied into ``folder``; whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.copyfile(path, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _blender_path(path: Path) -> str:
    """Relative to the .blend where that is possible, so that both can be moved together."""
    text = str(path.absolute())
    if not bpy.data.filepath:
        return text
    home = os.path.dirname(bpy.data.filepath)
    if os.path.splitdrive(text)[0] != os.path.splitdrive(home)[0]:
        return text
    return str(bpy.path.relpath(text)) if Path(text).is_relative_to(home) else text


def _file_name(name: str) -> str:
    """``name`` without what some file system refuses."""
    return re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", name).strip(". ") or "avatar"
