"""Blender's bundled procedural hair nodes on strands: more of them, locks, and hairs that stray."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from backend.errors import Missing
from blender_addon.scene.nodes import add_node_modifier

_FILE = "procedural_hair_node_assets.blend"
DUPLICATE, CLUMP, NOISE = "Duplicate Hair Curves", "Clump Hair Curves", "Hair Curves Noise"
_BESIDE_M = 0.0012  # that a strand's double lies away


@dataclass(frozen=True)
class Grooming:
    """What the nodes do to strands that are combed already."""

    doubles: int = 1  # strands put beside each one
    lock_m: float = 0.004  # between the locks that tips draw together to
    lock: float = 0.3  # share of the way
    stray_m: float = 0.0012
    stray_waves_per_m: float = 25.0


def groom(obj: Any, grooming: Grooming, seed: int) -> None:
    """Put the nodes on the curves ``obj``. Raises: Missing when this Blender lacks them."""
    own = seed % 1000
    if grooming.doubles:
        _add(obj, DUPLICATE, {"Amount": grooming.doubles, "Radius": _BESIDE_M, "Seed": own})
    if grooming.lock > 0:
        values = {"Existing Guide Map": False, "Guide Distance": grooming.lock_m, "Factor": grooming.lock}
        _add(obj, CLUMP, {**values, "Shape": 0.35, "Tip Spread": 0.0008, "Seed": own + 1})
    if grooming.stray_m > 0:
        values = {"Cumulative Offset": False, "Distance": grooming.stray_m, "Offset per Curve": 1.0}
        _add(obj, NOISE, {**values, "Scale": grooming.stray_waves_per_m, "Shape": 0.5, "Seed": own + 2})


def _add(obj: Any, name: str, values: dict[str, Any]) -> None:
    group = bpy.data.node_groups.get(name) or _appended(name)
    add_node_modifier(obj, name, group, values)


def _appended(name: str) -> Any:
    folder = Path(bpy.utils.system_resource("DATAFILES")) / "assets"
    # Blender 4 keeps them in geometry_nodes, Blender 5 in nodes.
    found = sorted(folder.glob(f"*/{_FILE}"))
    if not found:
        raise Missing(f"this Blender has no {_FILE}; install the bpy that the extra 'blend' names")
    with bpy.data.libraries.load(str(found[0]), link=False) as (_, wanted):
        wanted.node_groups = [DUPLICATE, CLUMP, NOISE]
    return bpy.data.node_groups[name]
