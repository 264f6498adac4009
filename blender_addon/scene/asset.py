"""The head in the asset browser: marked, with a picture, tags and its place in the catalogue."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import imbuf
import numpy as np
from numpy.typing import NDArray

from ..bundle import Manifest
from .building import found

CATALOGUE_ID = "0d4f7a52-5f0c-4b5e-9d55-8f2f6c1f2a3b"  # of "Likeness/Heads", the same in every library
CATALOGUE_PATH = "Likeness/Heads"
CATALOGUE_FILE = "blender_assets.cats.txt"
PREVIEW_SIZE = 256
# The front portrait in the sheet ``preview.png``: left, top and side over the sheet's width.
PORTRAIT = (0.4115, 0.055, 0.1755)


def asset_steps(uuid: str, directory: Path, manifest: Manifest) -> Iterator[str]:
    """Mark the head as an asset, then give it its picture when the folder has a preview.

    What is marked already keeps the artist's texts and picture. Raises: Gone.
    """
    if found(uuid).collection.asset_data is not None:
        return
    mark_asset(found(uuid).collection, manifest)
    yield "asset"
    sheet = directory / "preview.png"
    if sheet.is_file():
        set_preview(found(uuid).collection, portrait_of_sheet(sheet))
        yield "asset preview"


def mark_asset(collection: Any, manifest: Manifest) -> None:
    """Mark ``collection`` with author, licence, description and tags."""
    collection.asset_mark()
    data = collection.asset_data
    data.author = manifest.created_by
    data.description = (
        f"Head from the photo '{manifest.photo.name}' by engine {manifest.engine}, head model "
        f"{manifest.head}, seed {manifest.seed}"
    )
    data.license = "; ".join(sorted({weights.licence for weights in manifest.weights}))
    data.copyright = f"Likeness of the person in '{manifest.photo.name}': ask before you use it"
    for word in ("likeness", "head", "face", "rigged", "relightable", manifest.photo.name):
        data.tags.new(word, skip_if_exists=True)
    data.catalog_id = CATALOGUE_ID


def set_preview(collection: Any, picture: NDArray[np.float32]) -> None:
    """Give ``collection`` the picture ``(n, n, 4)`` in [0, 1], top row first."""
    preview = collection.preview_ensure()
    preview.image_size = picture.shape[1], picture.shape[0]
    preview.image_pixels_float.foreach_set(np.ascontiguousarray(picture[::-1], np.float32).ravel())


def portrait_of_sheet(path: Path, size: int = PREVIEW_SIZE) -> NDArray[np.float32]:
    """The front portrait of the sheet at ``path`` as ``(size, size, 4)``, top row first."""
    sheet = imbuf.load(str(path))
    width, height = sheet.size
    side = min(round(PORTRAIT[2] * width), width, height)
    left = min(round(PORTRAIT[0] * width), width - side)
    low = max(height - round(PORTRAIT[1] * width) - side, 0)  # rows count from below
    sheet.crop((left, low), (left + side - 1, low + side - 1))
    sheet.resize((size, size), method="BILINEAR")
    # Blender hands out pixels of its pictures alone, and cuts and shrinks those far slower.
    with tempfile.TemporaryDirectory(prefix="likeness-") as folder:
        sheet.filepath = str(Path(folder) / "portrait.png")
        imbuf.write(sheet)
        image = bpy.data.images.load(sheet.filepath, check_existing=False)
        try:
            pixels = np.empty(size * size * 4, np.float32)
            image.pixels.foreach_get(pixels)
        finally:
            bpy.data.images.remove(image)
    return pixels.reshape(size, size, 4)[::-1]


def write_catalogue(blend: Path) -> Path | None:
    """Enter the catalogue in the asset library that ``blend`` lies in; the file, None outside of libraries.

    Blender keeps catalogues in a text file at the library's root, so the entry can only be made once the
    .blend is saved there. Raises: OSError.
    """
    for library in bpy.context.preferences.filepaths.asset_libraries:
        root = Path(bpy.path.abspath(library.path))
        if library.path and blend.absolute().is_relative_to(root.absolute()):
            return _enter(root / CATALOGUE_FILE)
    return None


def _enter(file: Path) -> Path:
    text = file.read_text(encoding="utf-8") if file.is_file() else "VERSION 1\n"
    if CATALOGUE_ID in text:
        return file
    if not text.endswith("\n"):
        text += "\n"
    partial = file.with_name(f".{file.name}.partial")
    try:
        simple = CATALOGUE_PATH.replace("/", "-")
        partial.write_text(f"{text}{CATALOGUE_ID}:{CATALOGUE_PATH}:{simple}\n", encoding="utf-8")
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
    return file
