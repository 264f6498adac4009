"""The materials: skin from the maps through the group "Likeness Skin", plain ones for mouth and teeth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..bundle import Manifest
from .clear import build_cornea, build_tear_line
from .head_mesh import UV_LAYER
from .nodes import COLUMN, add, new_material, set_inputs
from .skin_group import (
    HEIGHT,
    IOR,
    MIDLEVEL,
    SKIN_SUBSURFACE_M,
    SKIN_SUBSURFACE_RADIUS,
    skin_group,
)

SKIN_MAPS = ("albedo", "normal", "roughness", "specular", "displacement")
VISIBILITY = "visibility"  # in the material for the confidence overlay, not shaded with
SKIN_NODE = "Likeness Skin"


def build_skin(name: str) -> Any:
    """Skin without maps yet: a clay of no one in particular. Right in Cycles and EEVEE."""
    material, tree, principled = new_material(name)
    output = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial")
    tree.nodes.remove(principled)
    skin = add(tree, "ShaderNodeGroup", (0.0, 0.0), SKIN_NODE)
    skin.node_tree = skin_group()
    skin.width = 1.6 * skin.width
    tree.links.new(skin.outputs["Shader"], output.inputs["Surface"])
    tree.links.new(skin.outputs["Displacement"], output.inputs["Displacement"])
    chart = add(tree, "ShaderNodeUVMap", (-3 * COLUMN, 0.0))
    chart.uv_map = UV_LAYER
    for row, key in enumerate((*SKIN_MAPS, VISIBILITY)):
        node = add(tree, "ShaderNodeTexImage", (-2 * COLUMN, 500.0 - 300.0 * row), key)
        node.extension = "EXTEND"
        node.interpolation = "Cubic" if key == "displacement" else "Linear"
        tree.links.new(chart.outputs["UV"], node.inputs["Vector"])
    material.displacement_method = "DISPLACEMENT"  # the default is a bump alone
    return material


def skin_node(material: Any) -> Any | None:
    """The group node with the artist's sliders; None when the artist has taken it out."""
    node = material.node_tree.nodes.get(SKIN_NODE) if material.node_tree else None
    return node if node is not None and node.bl_idname == "ShaderNodeGroup" else None


def map_node(material: Any, key: str) -> Any | None:
    """The image node of the map ``key``; None when the artist has taken it out."""
    node = material.node_tree.nodes.get(key) if material.node_tree else None
    return node if node is not None and node.bl_idname == "ShaderNodeTexImage" else None


def show_map(material: Any, key: str, image: Any) -> None:
    """Put ``image`` into the node of the map ``key``; clay gives way to the first picture.

    A link that the artist has changed since stays changed.
    """
    node = map_node(material, key)
    if node is None:
        return
    is_first = node.image is None
    node.image = image
    skin = skin_node(material)
    if is_first and key in SKIN_MAPS and skin is not None:
        material.node_tree.links.new(node.outputs["Color"], skin.inputs[key.capitalize()])


def set_relief(material: Any, manifest: Manifest) -> None:
    """What the displacement map's values mean."""
    skin = skin_node(material)
    if skin is not None:
        set_inputs(skin, {MIDLEVEL: manifest.displacement_midlevel, HEIGHT: manifest.displacement_scale_m})


def build_plain(part: str, name: str) -> Any:
    """The material of a part without maps: teeth, gums, tongue, mouth, lashes, cornea, tear line, sockets."""
    for word, build in _PLAIN:
        if word in part:
            return build(name)
    return _flesh(name)


def _teeth(name: str) -> Any:
    return _principled(
        name,
        {
            "Base Color": (0.60, 0.55, 0.455),
            "Roughness": 0.22,
            "IOR": 1.6,
            "Subsurface Weight": 0.4,
            "Subsurface Radius": (1.0, 0.8, 0.6),
            "Subsurface Scale": 0.001,
            "Coat Weight": 0.4,
            "Coat Roughness": 0.1,
        },
    )


def _flesh(name: str) -> Any:
    return _principled(
        name,
        {
            "Base Color": (0.36, 0.105, 0.085),
            "Roughness": 0.38,
            "IOR": IOR,
            "Subsurface Weight": 0.4,
            "Subsurface Radius": SKIN_SUBSURFACE_RADIUS,
            "Subsurface Scale": SKIN_SUBSURFACE_M,
            "Coat Weight": 0.3,
            "Coat Roughness": 0.2,
        },
    )


def _hair(name: str) -> Any:
    material = _principled(
        name, {"Base Color": (0.014, 0.009, 0.007), "Roughness": 0.42, "IOR": 1.55, "Specular IOR Level": 0.3}
    )
    material.diffuse_color = (0.03, 0.022, 0.018, 1.0)
    return material


def _principled(name: str, values: dict[str, Any]) -> Any:
    material, _, principled = new_material(name)
    set_inputs(principled, values)
    return material


# The first word found in a part's name decides.
_PLAIN: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("teeth", _teeth),
    ("lash", _hair),
    ("brow", _hair),
    ("cornea", build_cornea),
    ("fluid", build_tear_line),
    ("tear", build_tear_line),
)
