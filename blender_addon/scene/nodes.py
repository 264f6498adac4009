"""Small helpers for shader node trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

COLUMN = 280.0


def new_material(name: str) -> tuple[Any, Any, Any]:
    """A node material: the material, its tree and its Principled shader, linked to the output."""
    material = bpy.data.materials.new(name)
    tree = empty_tree(material)
    output = add(tree, "ShaderNodeOutputMaterial", (COLUMN, 0.0))
    principled = add(tree, "ShaderNodeBsdfPrincipled", (0.0, 0.0))
    tree.links.new(principled.outputs["BSDF"], output.inputs["Surface"])
    return material, tree, principled


def empty_tree(block: Any) -> Any:
    """The node tree of a new material or world, without nodes."""
    if block.node_tree is None:  # before Blender 5.0 there is none until it is asked for
        block.use_nodes = True
    block.node_tree.nodes.clear()
    return block.node_tree


def add(tree: Any, kind: str, location: tuple[float, float], label: str = "") -> Any:
    """A node of type ``kind`` (its identifier) at ``location``."""
    node = tree.nodes.new(kind)
    node.location = location
    if label:
        node.label = node.name = label
    return node


def set_inputs(node: Any, values: Mapping[str, Any]) -> None:
    """Set the default values of sockets by their names; a three-tuple for a colour gets alpha 1."""
    for name, value in values.items():
        socket = node.inputs[name]
        socket.default_value = (*value, 1.0) if socket.type == "RGBA" and len(value) == 3 else value


def add_node_modifier(thing: Any, name: str, group: Any, values: Mapping[str, Any]) -> Any:
    """A geometry nodes modifier of the object ``thing`` with its ``group``'s inputs, by their names."""
    modifier = thing.modifiers.new(name, "NODES")
    modifier.node_group = group
    sockets = {
        item.name: item.identifier
        for item in group.interface.items_tree
        if item.item_type == "SOCKET" and item.in_out == "INPUT"
    }
    # Since Blender 5.2 inputs are properties of their own; before, they are the modifier's custom properties.
    inputs = modifier.properties.inputs if hasattr(modifier, "properties") else None
    for key, value in values.items():
        if inputs is None:
            modifier[sockets[key]] = value
        else:
            getattr(inputs, sockets[key]).value = value
    return modifier


def math(tree: Any, operation: str, location: tuple[float, float], *operands: Any) -> Any:
    """A Math node; operands are sockets or numbers. Returns its output socket."""
    node = add(tree, "ShaderNodeMath", location)
    node.operation = operation
    for socket, operand in zip(node.inputs, operands, strict=False):
        if isinstance(operand, int | float):
            socket.default_value = float(operand)
        else:
            tree.links.new(operand, socket)
    return node.outputs[0]


def image_from_bytes(name: str, data: bytes, *, is_colour: bool) -> Any:
    """A picture packed from the PNG or JPEG file ``data``."""
    image = bpy.data.images.new(name, 1, 1)
    image.source = "FILE"
    suffix = "png" if data.startswith(b"\x89PNG") else "jpg"
    image.filepath_raw = f"//{name}.{suffix}"
    image.pack(data=data, data_len=len(data))
    image.colorspace_settings.name = "sRGB" if is_colour else "Non-Color"
    image.alpha_mode = "CHANNEL_PACKED"
    return image
