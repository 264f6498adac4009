"""Which skin was seen in the photograph and which was completed, shown as colours on the head."""

from __future__ import annotations

from typing import Any

from .maps import skin_material
from .material import VISIBILITY, map_node
from .nodes import COLUMN, add

SHADER, RAMP = "Likeness confidence", "Likeness confidence colours"
_SOURCE_KEY = "likeness_surface"  # node and socket that the overlay took the place of
# From completed (0) to seen (1), linear; readable without telling red from green.
COLOURS = (
    (0.0, (0.035, 0.022, 0.075)),
    (0.35, (0.07, 0.17, 0.30)),
    (0.7, (0.25, 0.55, 0.42)),
    (1.0, (0.95, 0.85, 0.35)),
)


class NoConfidence(LookupError):
    """The overlay cannot be shown; the text is one line for the user."""


def is_shown(uuid: str) -> bool:
    """Whether the overlay is on."""
    material = skin_material(uuid)
    return material is not None and SHADER in material.node_tree.nodes


def show_confidence(uuid: str, on: bool) -> None:
    """Switch the overlay on or off; off brings back the very link that it replaced. Raises: NoConfidence."""
    material = skin_material(uuid)
    if material is None:
        raise NoConfidence("the head is no longer in this file; import it again")
    if on == is_shown(uuid):
        return
    if on:
        _show(material)
    else:
        _hide(material)


def _show(material: Any) -> None:
    tree = material.node_tree
    picture, output = map_node(material, VISIBILITY), _output(tree)
    if picture is None or picture.image is None or output is None:
        raise NoConfidence("the visibility map is not in this file; import the head again")
    surface = output.inputs["Surface"]
    if surface.links:
        link = surface.links[0]
        material[_SOURCE_KEY] = [link.from_node.name, link.from_socket.identifier]
    ramp = add(tree, "ShaderNodeValToRGB", (-COLUMN, 500.0), RAMP)
    elements = ramp.color_ramp.elements
    while len(elements) > 1:
        elements.remove(elements[-1])
    elements[0].position, elements[0].color = COLOURS[0][0], (*COLOURS[0][1], 1.0)
    for position, colour in COLOURS[1:]:
        elements.new(position).color = (*colour, 1.0)
    shine = add(tree, "ShaderNodeEmission", (0.0, 500.0), SHADER)
    tree.links.new(picture.outputs["Color"], ramp.inputs["Fac"])
    tree.links.new(ramp.outputs["Color"], shine.inputs["Color"])
    tree.links.new(shine.outputs["Emission"], surface)


def _hide(material: Any) -> None:
    tree = material.node_tree
    for name in (SHADER, RAMP):
        if name in tree.nodes:
            tree.nodes.remove(tree.nodes[name])
    output = _output(tree)
    if output is None or _SOURCE_KEY not in material:
        return
    node, identifier = material[_SOURCE_KEY]
    del material[_SOURCE_KEY]
    source = tree.nodes.get(node)
    socket = next((s for s in source.outputs if s.identifier == identifier), None) if source else None
    if socket is not None:
        tree.links.new(socket, output.inputs["Surface"])


def _output(tree: Any) -> Any | None:
    outputs = [node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial"]
    return next((node for node in outputs if node.is_active_output), outputs[0] if outputs else None)
