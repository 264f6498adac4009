"""Where the extension keeps its files."""

from __future__ import annotations

from pathlib import Path

import bpy

ROOT_PACKAGE = __package__ or "blender_addon"


def user_folder(name: str) -> Path:
    """The folder ``name`` of the extension's own storage, made when it is missing. Raises: OSError.

    Run from a checkout (not as an installed extension) it lies in Blender's data folder instead, as
    Blender gives only extensions a storage of their own.
    """
    if ROOT_PACKAGE.startswith("bl_ext."):
        folder = Path(bpy.utils.extension_path_user(ROOT_PACKAGE, path=name, create=True))
    else:
        folder = Path(bpy.utils.user_resource("DATAFILES", path=f"likeness/{name}", create=True))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def extension_folder() -> Path:
    """Where the extension itself is installed."""
    return Path(__file__).resolve().parent


def session_folder(name: str) -> Path:
    """A folder that Blender deletes when it quits: pictures of a photo must not stay behind."""
    folder = Path(bpy.app.tempdir) / "likeness" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
