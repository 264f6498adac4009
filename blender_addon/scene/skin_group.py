"""The node group "Likeness Skin": five maps and the artist's sliders in, shader and displacement out.

At the sliders' defaults every value that reaches the Principled shader is the map's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy

from .head_mesh import BLUSH_MASK, LIPS_MASK, UV_LAYER
from .nodes import COLUMN, add, math, set_inputs

NAME = "Likeness Skin"
VERSION_KEY = "likeness_skin_version"
VERSION = 1  # raised with every change of the group, so that older files keep theirs

IOR = 1.5  # at which Specular IOR Level s means F0 = 0.08·s

# Mean free paths of light skin, millimetres in red, green, blue (Jensen et al. 2001, "skin1": the
# reciprocal of the effective extinction), relative to red as Blender wants them.
SKIN_SUBSURFACE_M = 0.00367
SKIN_SUBSURFACE_RADIUS = (1.0, 0.373, 0.185)
# The albedo comes from a photograph whose shading had bled already; full weight would bleed it twice.
SKIN_SUBSURFACE_WEIGHT = 0.4

# What one unit of pigment leaves of the light, linear RGB: melanin of a deep tan, blood of a flush.
MELANIN = (0.62, 0.50, 0.40)
BLOOD = (1.0, 0.72, 0.74)
PALEST = 0.92  # no skin reflects more

# A head before its maps: neutral clay.
CLAY = {
    "Albedo": (0.37, 0.315, 0.275),
    "Normal": (0.5, 0.5, 1.0),
    "Roughness": 0.55,
    "Specular": 0.4,
    "Displacement": 0.5,
}


@dataclass(frozen=True)
class Slider:
    """One of the artist's inputs."""

    panel: str
    name: str
    default: Any  # a number, or a linear colour
    low: float = 0.0
    high: float = 1.0
    description: str = ""


SLIDERS = (
    Slider(
        "Shading", "Subsurface", SKIN_SUBSURFACE_WEIGHT, 0.0, 1.0, "How much light passes through the skin"
    ),
    Slider("Shading", "Subsurface Scale", 1.0, 0.0, 4.0, "How far light travels, over that of light skin"),
    Slider("Shading", "Roughness Scale", 1.0, 0.0, 2.0, "Below 1 the skin looks oily, above 1 powdered"),
    Slider("Shading", "Specular Scale", 1.0, 0.0, 2.0, "Strength of the reflections"),
    Slider("Relief", "Pore Strength", 1.0, 0.0, 3.0, "Depth of the normal map"),
    Slider(
        "Relief", "Displacement Scale", 1.0, 0.0, 10.0, "Height of the displacement map over the true one"
    ),
    Slider("Colour", "Tan", 0.0, -0.5, 2.0, "Melanin added to the skin; below 0 it gets paler"),
    Slider("Colour", "Redness", 0.0, -0.5, 1.0, "Blood in the skin"),
    Slider("Make-up", "Blush", 0.0, 0.0, 1.0, "Colour on the cheeks"),
    Slider("Make-up", "Blush Colour", (0.62, 0.12, 0.11)),
    Slider("Make-up", "Lip Tint", 0.0, 0.0, 1.0, "Colour on the lips, where the avatar tells where they are"),
    Slider("Make-up", "Lip Colour", (0.36, 0.025, 0.035)),
)
HEIGHT = "Displacement Height"  # metres between 0 and 1 of the map, from the manifest
MIDLEVEL = "Displacement Midlevel"


def skin_group() -> Any:
    """The group of this version in the open file, made when there is none."""
    for tree in bpy.data.node_groups:
        if tree.library is None and tree.get(VERSION_KEY) == VERSION:
            return tree
    return _build()


def _build() -> Any:
    tree = bpy.data.node_groups.new(NAME, "ShaderNodeTree")
    tree[VERSION_KEY] = VERSION
    _interface(tree)
    given = add(tree, "NodeGroupInput", (-7 * COLUMN, 0.0))
    result = add(tree, "NodeGroupOutput", (2 * COLUMN, 0.0))
    value = {socket.name: socket for socket in given.outputs}
    principled = add(tree, "ShaderNodeBsdfPrincipled", (COLUMN, 0.0))
    principled.subsurface_method = "RANDOM_WALK"
    set_inputs(principled, {"IOR": IOR, "Metallic": 0.0, "Subsurface Radius": SKIN_SUBSURFACE_RADIUS})
    link = tree.links.new
    link(_colour(tree, value), principled.inputs["Base Color"])
    link(
        math(tree, "MULTIPLY", (0.0, 0.0), value["Roughness"], value["Roughness Scale"]),
        principled.inputs["Roughness"],
    )
    link(
        math(tree, "MULTIPLY", (0.0, -180.0), value["Specular"], value["Specular Scale"]),
        principled.inputs["Specular IOR Level"],
    )
    link(value["Subsurface"], principled.inputs["Subsurface Weight"])
    link(
        math(tree, "MULTIPLY", (0.0, -360.0), value["Subsurface Scale"], SKIN_SUBSURFACE_M),
        principled.inputs["Subsurface Scale"],
    )
    bend = add(tree, "ShaderNodeNormalMap", (0.0, -540.0))
    bend.space = "TANGENT"
    bend.uv_map = UV_LAYER
    link(value["Normal"], bend.inputs["Color"])
    link(value["Pore Strength"], bend.inputs["Strength"])
    link(bend.outputs["Normal"], principled.inputs["Normal"])
    displace = add(tree, "ShaderNodeDisplacement", (COLUMN, -700.0))
    displace.space = "OBJECT"
    link(value["Displacement"], displace.inputs["Height"])
    link(value[MIDLEVEL], displace.inputs["Midlevel"])
    link(
        math(tree, "MULTIPLY", (0.0, -760.0), value[HEIGHT], value["Displacement Scale"]),
        displace.inputs["Scale"],
    )
    link(principled.outputs["BSDF"], result.inputs["Shader"])
    link(displace.outputs["Displacement"], result.inputs["Displacement"])
    return tree


def _interface(tree: Any) -> None:
    face = tree.interface
    face.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    face.new_socket("Displacement", in_out="OUTPUT", socket_type="NodeSocketVector")
    for name, default in CLAY.items():
        _input(face, name, default, 0.0, 1.0, "The map", None, hide=True)
    _input(face, MIDLEVEL, 0.5, 0.0, 1.0, "The map's value that moves nothing", None, hide=True)
    _input(face, HEIGHT, 0.0, 0.0, 1.0, "Metres between 0 and 1 of the map", None, hide=True)
    panels: dict[str, Any] = {}
    for slider in SLIDERS:
        panel = panels.get(slider.panel) or face.new_panel(slider.panel)
        panels[slider.panel] = panel
        _input(face, slider.name, slider.default, slider.low, slider.high, slider.description, panel)


def _input(
    face: Any,
    name: str,
    default: Any,
    low: float,
    high: float,
    description: str,
    panel: Any,
    *,
    hide: bool = False,
) -> None:
    is_colour = isinstance(default, tuple)
    kind = "NodeSocketColor" if is_colour else "NodeSocketFloat"
    socket = face.new_socket(name, in_out="INPUT", socket_type=kind, parent=panel, description=description)
    socket.hide_value = hide
    if is_colour:
        socket.default_value = (*default, 1.0)
    else:
        socket.min_value, socket.max_value = low, high
        socket.default_value = default


def _colour(tree: Any, value: dict[str, Any]) -> Any:
    """Pigment and make-up over the albedo; a socket."""
    colour = value["Albedo"]
    x = -6.0
    for slider, pigment, y in (("Tan", MELANIN, 500.0), ("Redness", BLOOD, 200.0)):
        # Beer–Lambert: twice the pigment lets pass the square.
        left = add(tree, "ShaderNodeCombineXYZ", ((x + 1) * COLUMN, y), slider)
        for channel, passes in enumerate(pigment):
            power = math(tree, "POWER", (x * COLUMN, y - 160.0 * channel), passes, value[slider])
            tree.links.new(power, left.inputs[channel])
        product = add(tree, "ShaderNodeVectorMath", ((x + 2) * COLUMN, y))
        product.operation = "MULTIPLY"
        tree.links.new(colour, product.inputs[0])
        tree.links.new(left.outputs[0], product.inputs[1])
        colour = product.outputs["Vector"]
    least = add(tree, "ShaderNodeVectorMath", (-3 * COLUMN, 500.0), "Palest")
    least.operation = "MINIMUM"
    # A map may be paler than PALEST already: never darken it.
    limit = add(tree, "ShaderNodeVectorMath", (-4 * COLUMN, 700.0))
    limit.operation = "MAXIMUM"
    limit.inputs[1].default_value = (PALEST, PALEST, PALEST)
    tree.links.new(value["Albedo"], limit.inputs[0])
    tree.links.new(colour, least.inputs[0])
    tree.links.new(limit.outputs["Vector"], least.inputs[1])
    colour = least.outputs["Vector"]
    for row, (slider, tint, attribute) in enumerate(
        (("Blush", "Blush Colour", BLUSH_MASK), ("Lip Tint", "Lip Colour", LIPS_MASK))
    ):
        mask = add(tree, "ShaderNodeAttribute", (-3 * COLUMN, 250.0 - 250.0 * row), attribute)
        mask.attribute_name = attribute
        factor = math(
            tree, "MULTIPLY", (-2 * COLUMN, 250.0 - 250.0 * row), mask.outputs["Fac"], value[slider]
        )
        mix = add(tree, "ShaderNodeMix", ((-2.0 + 1.0 * (row + 1)) * COLUMN, 500.0), slider)
        mix.data_type = "RGBA"
        # Make-up is a film over skin: half of the skin's own pattern stays.
        first, second = (socket for socket in mix.inputs if socket.type == "RGBA")
        tree.links.new(factor, mix.inputs["Factor"])
        tree.links.new(colour, first)
        tree.links.new(value[tint], second)
        colour = next(socket for socket in mix.outputs if socket.type == "RGBA")
    return colour
