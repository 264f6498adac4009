"""Decoded frames of splats in Blender: geometry nodes read a sequence of pictures, without backend or add-on.

Where the scene's frame has a picture, its numbers take the place of what the binding to the mesh gave; frames
outside the range, and frames whose picture is missing, show the splats as the mesh moves them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from .. import splat_frames
from ..splat_frames import COEFFICIENTS, HARMONICS, LOGIT_UNIT, PLANES, POSITION, RANGES, SCALE, TURN, WIDTH
from . import splat_binding
from .identity import find, first, tag
from .node_sheet import Sheet
from .nodes import add_node_modifier
from .space import to_head
from .splat_material import CHANNELS, sh_attribute
from .splat_nodes import RAW_ROTATION, RAW_SHAPE

GROUP_NAME = "Likeness Splat Frames"
MODIFIER_NAME = "Decoded frames"
ROLE = "splat frames"  # of the picture
RANGE_KEY = "likeness_frames"  # of the picture: first and last frame


def posed_vertices(
    uuid: str, parts: dict[str, NDArray[np.int64]], neutral: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The head's vertices ``(V, 3)`` at the scene's frame as Blender deforms them, head space, metres.

    ``parts`` are the rows that each part's object has; parts that are gone keep ``neutral``. Raises:
    LookupError when the head is gone, or something takes vertices off it.
    """
    objects = find(uuid)
    if objects is None:
        raise LookupError("the head is gone; import it again")
    graph = bpy.context.evaluated_depsgraph_get()
    to_root = np.linalg.inv(np.array(objects.root.evaluated_get(graph).matrix_world))
    out = neutral.copy()
    for name, rows in parts.items():
        obj = objects.parts.get(name)
        if obj is None or not len(rows):
            continue
        shown = obj.evaluated_get(graph)
        data = shown.to_mesh()
        places = np.empty(3 * len(data.vertices), np.float32)
        data.vertices.foreach_get("co", places)
        shown.to_mesh_clear()
        if len(places) < 3 * len(rows):
            raise LookupError(f"'{obj.name}' has fewer vertices than the head; remove what takes them off")
        matrix = to_root @ np.array(shown.matrix_world)
        # Subdivision keeps the cage's vertices first.
        own = places.reshape(-1, 3)[: len(rows)] @ matrix[:3, :3].T + matrix[:3, 3]
        out[rows] = to_head(own)
    return out


def attach_frames(uuid: str, folder: Path, first_frame: int, last_frame: int) -> None:
    """Let the head's splats show the pictures in ``folder``.

    Raises: LookupError (no splats any more), RuntimeError (no picture).
    """
    thing = first("objects", uuid, splat_binding.ROLE)
    if thing is None:
        raise LookupError("the head has no splats any more; import it again")
    detach_frames(uuid)
    picture = folder / splat_frames.frame_name(first_frame)
    image = bpy.data.images.load(str(picture))
    image.name = f"{thing.name} frames"
    image.source = "SEQUENCE"
    image.colorspace_settings.name = "Non-Color"
    if bpy.data.filepath:
        image.filepath = bpy.path.relpath(str(picture))
    tag(image, uuid, ROLE)
    image[RANGE_KEY] = (first_frame, last_frame)
    inputs = {"Frames": image, "First": first_frame, "Last": last_frame}
    add_node_modifier(thing, MODIFIER_NAME, frames_group(), inputs)
    thing.modifiers.move(len(thing.modifiers) - 1, len(thing.modifiers) - 2)  # before what draws
    thing.update_tag()


def detach_frames(uuid: str) -> bool:
    """Back to the splats as the mesh moves them; whether there were frames. The files stay."""
    thing = first("objects", uuid, splat_binding.ROLE)
    image = first("images", uuid, ROLE)
    if image is not None:
        bpy.data.images.remove(image)
    if thing is None or thing.modifiers.get(MODIFIER_NAME) is None:
        return False
    thing.modifiers.remove(thing.modifiers[MODIFIER_NAME])
    return True


def frames_range(uuid: str) -> tuple[int, int] | None:
    """First and last decoded frame of the head's splats; None where they have none."""
    thing = first("objects", uuid, splat_binding.ROLE)
    image = first("images", uuid, ROLE)
    if thing is None or image is None or thing.modifiers.get(MODIFIER_NAME) is None:
        return None
    return int(image[RANGE_KEY][0]), int(image[RANGE_KEY][1])


def frames_group() -> Any:
    """The geometry node group with inputs Frames (an image sequence), First and Last."""
    existing = bpy.data.node_groups.get(GROUP_NAME)
    if existing is not None:
        return existing
    tree = bpy.data.node_groups.new(GROUP_NAME, "GeometryNodeTree")
    tree.is_modifier = True
    interface = tree.interface
    interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    interface.new_socket("Frames", in_out="INPUT", socket_type="NodeSocketImage")
    for name in ("First", "Last"):
        interface.new_socket(name, in_out="INPUT", socket_type="NodeSocketInt")
    _fill(Sheet(tree))
    return tree


def _fill(sheet: Sheet) -> None:
    given = sheet.node("NodeGroupInput").outputs
    frame = sheet.math("ROUND", sheet.node("GeometryNodeInputSceneTime").outputs["Frame"])
    info = sheet.node("GeometryNodeImageInfo")
    sheet.feed(info.inputs["Image"], given["Frames"])
    sheet.feed(info.inputs["Frame"], frame)
    height = sheet.math("MAXIMUM", info.outputs["Height"], float(PLANES))
    index = sheet.node("GeometryNodeInputIndex").outputs[0]
    line = sheet.math("FLOOR", sheet.math("DIVIDE", sheet.math("ADD", index, 0.5), float(WIDTH)))
    column = sheet.math("SUBTRACT", index, sheet.math("MULTIPLY", line, float(WIDTH)))
    u = sheet.math("DIVIDE", sheet.math("ADD", column, 0.5), float(WIDTH))

    def plane(number: int) -> tuple[Any, Any]:
        """The plane's values, and whether there is a picture."""
        above = sheet.math("MULTIPLY", height, number / PLANES)
        down = sheet.math("ADD", sheet.math("ADD", line, above), 0.5)
        v = sheet.math("SUBTRACT", 1.0, sheet.math("DIVIDE", down, height))
        texel = sheet.node("GeometryNodeImageTexture", interpolation="Closest", extension="EXTEND")
        sheet.feed(texel.inputs["Image"], given["Frames"])
        sheet.feed(texel.inputs["Vector"], sheet.join(u, v, 0.0))
        sheet.feed(texel.inputs["Frame"], frame)
        low, high = RANGES[number]
        scaled = sheet.vector("SCALE", texel.outputs["Color"], high - low)
        return sheet.vector("ADD", scaled, (low, low, low)), texel.outputs["Alpha"]

    planes = [plane(number) for number in range(PLANES)]
    values = [value for value, _ in planes]
    since = sheet.math("GREATER_THAN", frame, sheet.math("SUBTRACT", given["First"], 0.5))
    until = sheet.math("LESS_THAN", frame, sheet.math("ADD", given["Last"], 0.5))
    shown = sheet.math("MULTIPLY", sheet.math("MULTIPLY", since, until), planes[POSITION][1])
    chosen = sheet.math("GREATER_THAN", shown, 0.5)  # without a picture alpha is 0

    w, logit, _ = sheet.split(values[splat_frames.TURN_AND_OPACITY])
    logit = sheet.math("MULTIPLY", logit, LOGIT_UNIT)
    packed = {
        RAW_ROTATION: (*sheet.split(values[TURN]), w),
        RAW_SHAPE: (*sheet.split(values[SCALE]), logit),
    }
    harmonics = [sheet.split(values[HARMONICS + k]) for k in range(COEFFICIENTS)]
    for c, channel in enumerate(CHANNELS):
        packed[sh_attribute(channel, 0)] = tuple(of_all[c] for of_all in harmonics)
    # Every field is worked out on the geometry that comes in, so the order of the writes does not matter.
    geometry = given["Geometry"]
    for name, four in packed.items():
        colour = sheet.node("FunctionNodeCombineColor")
        for socket, value in zip(colour.inputs, four, strict=True):
            sheet.feed(socket, value)
        store = sheet.node("GeometryNodeStoreNamedAttribute", data_type="FLOAT_COLOR", domain="POINT")
        sheet.feed(store.inputs["Geometry"], geometry)
        sheet.feed(store.inputs["Selection"], chosen)
        store.inputs["Name"].default_value = name
        sheet.feed(next(s for s in store.inputs if s.name == "Value" and s.enabled), colour.outputs[0])
        geometry = store.outputs["Geometry"]
    put = sheet.node("GeometryNodeSetPosition")
    sheet.feed(put.inputs["Geometry"], geometry)
    sheet.feed(put.inputs["Selection"], chosen)
    sheet.feed(put.inputs["Position"], values[POSITION])
    result = sheet.node("NodeGroupOutput")
    sheet.feed(result.inputs["Geometry"], put.outputs[0])
