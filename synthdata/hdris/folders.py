"""Which folders of panoramas are meant."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from backend.errors import Missing

OF_BLENDER = "blender"


def panorama_folders(asked: Sequence[str]) -> tuple[Path, ...]:
    """The folders that ``asked`` names: paths, or `blender` for the eight that ship with Blender.

    Raises: Missing when Blender's module is not installed.
    """
    return tuple(blender_panoramas() if name == OF_BLENDER else Path(name) for name in asked)


def blender_panoramas() -> Path:
    """Where Blender's module keeps its panoramas (CC0, by Greg Zaal), found without loading it.

    Raises: Missing.
    """
    spec = importlib.util.find_spec("bpy")
    places = [] if spec is None else [Path(p) for p in spec.submodule_search_locations or ()]
    found = [world for place in places for world in place.glob("*/datafiles/studiolights/world")]
    if not found:
        raise Missing("Blender's module with its panoramas is not installed; pip install 'likeness[blend]'")
    return found[0]
