"""Other light on the head: panoramas and studio set-ups; and back to the photograph's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .identity import ROLE_KEY, find, first, tag, tagged
from .light import THREE_POINT, Lamp, build_studio, hide_from_camera, world_from_hdri
from .nodes import empty_tree
from .space import to_head

HDRI_WORLD, STUDIO_WORLD = "hdri world", "studio world"
STUDIO_AMBIENT = 0.01  # linear radiance: a dark room is not black
STUDIO_BACKDROP = 0.03
SUFFIXES = (".exr", ".hdr")

_WARM, _COOL = (1.0, 0.86, 0.72), (0.72, 0.84, 1.0)
PRESETS: dict[str, tuple[Lamp, ...]] = {
    "three_point": THREE_POINT,
    "rembrandt": (
        Lamp("Key", 48.0, 42.0, 16.0, 1.6, _WARM),
        Lamp("Fill", -60.0, 0.0, 1.2, 5.0),
    ),
    "split": (Lamp("Key", 92.0, 8.0, 18.0, 1.8), Lamp("Fill", -70.0, 0.0, 0.5, 5.0, _COOL)),
    "rim": (
        Lamp("Rim left", 140.0, 25.0, 22.0, 1.8, _COOL),
        Lamp("Rim right", -140.0, 25.0, 22.0, 1.8, _WARM),
        Lamp("Fill", 0.0, 10.0, 1.6, 5.0),
    ),
    "soft": (
        Lamp("Above", 0.0, 50.0, 12.0, 8.0),
        Lamp("Below", 0.0, -40.0, 4.0, 6.0),
        Lamp("Side", 75.0, 5.0, 3.0, 6.0),
    ),
}


def bundled_hdris() -> list[Path]:
    """The panoramas that come with Blender."""
    folder = bpy.utils.system_resource("DATAFILES", path="studiolights/world")
    return hdris_in(Path(folder)) if folder else []


def hdris_in(folder: Path) -> list[Path]:
    """The panoramas in ``folder``, by name. Raises: OSError when it cannot be read."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def relight_hdri(
    scene: Any, path: Path, rotation_degrees: float, strength: float, *, background: bool = False
) -> None:
    """Light ``scene`` with the panorama at ``path`` alone: studio lights of ours go off.

    ``background`` shows it to the camera too, else even grey. Cheap when only turn or strength change.
    Raises: RuntimeError when Blender cannot read the file.
    """
    world = _own_world(HDRI_WORLD)
    if world is None or world.get("likeness_path") != str(path) or world.get("likeness_shown") != background:
        made = world_from_hdri(f"{path.stem} (Likeness)", str(path), pack=False)
        if not background:
            hide_from_camera(made.node_tree)
        made[ROLE_KEY] = HDRI_WORLD
        made["likeness_path"], made["likeness_shown"] = str(path), background
        if world is not None:
            world.user_remap(made)
            bpy.data.worlds.remove(world)
        world = made
    nodes = {node.bl_idname: node for node in world.node_tree.nodes}
    nodes["ShaderNodeMapping"].inputs["Rotation"].default_value[2] = float(np.radians(rotation_degrees))
    lit = nodes["ShaderNodeTexEnvironment"].outputs["Color"].links[0].to_node
    lit.inputs["Strength"].default_value = strength
    for collection in scene.collection.children_recursive:
        if collection.get(ROLE_KEY) == "lights":
            _switch(collection, on=False)
    scene.world = world


def relight_preset(scene: Any, uuid: str, name: str) -> None:
    """Light the head with the studio set-up ``name`` (of PRESETS) in a dark room.

    Raises: KeyError; LookupError when the head is not in the file.
    """
    plan = PRESETS[name]
    objects = find(uuid)
    skin = None if objects is None else objects.parts.get("skin")
    if objects is None or skin is None:
        raise LookupError("the head is no longer in this file; import it again")
    remove_lights(uuid)
    lights = bpy.data.collections.new(f"{objects.collection.name} lights")
    tag(lights, uuid, "lights")
    lights["likeness_preset"] = name
    scene.collection.children.link(lights)
    corners = to_head(np.array(skin.bound_box))
    low, high = corners.min(axis=0), corners.max(axis=0)
    # The bust is wider than the head: height and depth tell the head's size.
    radius = 0.5 * float(np.hypot(high[1] - low[1], high[2] - low[2]))
    face = (low + high) / 2
    face[1] = high[1] - 0.42 * (high[1] - low[1])
    for lamp in build_studio(face, radius, plan):
        tag(lamp, uuid, "light")
        tag(lamp.data, uuid, "light")
        lamp.parent = objects.root
        lights.objects.link(lamp)
    scene.world = _studio_world()


def photo_light(scene: Any, uuid: str) -> None:
    """Back to the light estimated from the photograph. Raises: LookupError when it is not in the file."""
    world = first("worlds", uuid, "light")
    if world is None:
        raise LookupError("the estimated light is no longer in this file; import the head again")
    remove_lights(uuid)
    scene.world = world


def remove_lights(uuid: str) -> None:
    """Take away the studio lights of the head."""
    for lamp in list(tagged("objects", uuid, "light")):
        data = lamp.data
        bpy.data.objects.remove(lamp)
        if data is not None and data.users == 0:
            bpy.data.lights.remove(data)
    for collection in list(tagged("collections", uuid, "lights")):
        bpy.data.collections.remove(collection)


def _switch(collection: Any, *, on: bool) -> None:
    collection.hide_render = collection.hide_viewport = not on


def _own_world(role: str) -> Any | None:
    worlds = (w for w in bpy.data.worlds if w.library is None and w.get(ROLE_KEY) == role)
    return next(worlds, None)


def _studio_world() -> Any:
    world = _own_world(STUDIO_WORLD)
    if world is not None:
        return world
    world = bpy.data.worlds.new("Studio (Likeness)")
    world[ROLE_KEY] = STUDIO_WORLD
    tree = empty_tree(world)
    output = tree.nodes.new("ShaderNodeOutputWorld")
    lit = tree.nodes.new("ShaderNodeBackground")
    lit.inputs["Color"].default_value = (STUDIO_AMBIENT,) * 3 + (1.0,)
    tree.links.new(lit.outputs["Background"], output.inputs["Surface"])
    hide_from_camera(tree, STUDIO_BACKDROP)
    return world
