"""The skin: Principled BSDF with the five maps, and plain materials for mouth, teeth and the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..bundle import Avatar
from .head_mesh import UV_LAYER
from .nodes import COLUMN, add, load_image, new_material, set_inputs

IOR = 1.5  # at which Specular IOR Level s means F0 = 0.08·s

# Mean free paths of light skin, millimetres in red, green, blue (Jensen et al. 2001, "skin1": the
# reciprocal of the effective extinction), relative to red as Blender wants them.
SKIN_SUBSURFACE_M = 0.00367
SKIN_SUBSURFACE_RADIUS = (1.0, 0.373, 0.185)
# The albedo comes from a photograph whose shading had bled already; full weight would bleed it twice.
SKIN_SUBSURFACE_WEIGHT = 0.4


def build_skin(avatar: Avatar, name: str) -> Any:
    """Principled skin of ``avatar``'s maps, right in Cycles and EEVEE; its images are packed."""
    material, tree, principled = new_material(name)
    maps = {
        key: load_image(avatar.map_path(key), is_colour=key == "albedo")
        for key in ("albedo", "normal", "roughness", "specular", "displacement")
    }
    chart = add(tree, "ShaderNodeUVMap", (-4 * COLUMN, 0.0))
    chart.uv_map = UV_LAYER
    texture = {}
    for row, (key, image) in enumerate(maps.items()):
        image.name = f"{name} {key}"
        image.filepath_raw = f"//maps/{key}.png"  # where it lies beside avatar.blend
        node = add(tree, "ShaderNodeTexImage", (-3 * COLUMN, 500.0 - 300.0 * row), key)
        node.image = image
        node.extension = "EXTEND"
        node.interpolation = "Cubic" if key == "displacement" else "Linear"
        tree.links.new(chart.outputs["UV"], node.inputs["Vector"])
        texture[key] = node.outputs["Color"]

    bend = add(tree, "ShaderNodeNormalMap", (-1 * COLUMN, -300.0))
    bend.space = "TANGENT"
    bend.uv_map = UV_LAYER
    tree.links.new(texture["normal"], bend.inputs["Color"])
    tree.links.new(texture["albedo"], principled.inputs["Base Color"])
    tree.links.new(texture["roughness"], principled.inputs["Roughness"])
    tree.links.new(texture["specular"], principled.inputs["Specular IOR Level"])
    tree.links.new(bend.outputs["Normal"], principled.inputs["Normal"])
    principled.subsurface_method = "RANDOM_WALK"
    set_inputs(
        principled,
        {
            "IOR": IOR,
            "Metallic": 0.0,
            "Subsurface Weight": SKIN_SUBSURFACE_WEIGHT,
            "Subsurface Radius": SKIN_SUBSURFACE_RADIUS,
            "Subsurface Scale": SKIN_SUBSURFACE_M,
        },
    )

    displace = add(tree, "ShaderNodeDisplacement", (0.0, -700.0))
    displace.space = "OBJECT"
    set_inputs(
        displace,
        {"Midlevel": avatar.manifest.displacement_midlevel, "Scale": avatar.manifest.displacement_scale_m},
    )
    tree.links.new(texture["displacement"], displace.inputs["Height"])
    output = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial")
    tree.links.new(displace.outputs["Displacement"], output.inputs["Displacement"])
    material.displacement_method = "DISPLACEMENT"  # the default is a bump alone
    return material


def build_plain(part: str, name: str) -> Any:
    """The material of a part without maps: teeth, gums, tongue, mouth, lashes, tear fluid, sockets."""
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


def _lashes(name: str) -> Any:
    return _principled(name, {"Base Color": (0.02, 0.013, 0.01), "Roughness": 0.5, "IOR": IOR})


def _fluid(name: str) -> Any:
    material = _principled(
        name, {"Base Color": (1.0, 1.0, 1.0), "Roughness": 0.05, "IOR": 1.336, "Alpha": 0.06}
    )
    material.surface_render_method = "DITHERED"
    return material


def _principled(name: str, values: dict[str, Any]) -> Any:
    material, _, principled = new_material(name)
    set_inputs(principled, values)
    return material


# The first word found in a part's name decides.
_PLAIN: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("teeth", _teeth),
    ("lash", _lashes),
    ("brow", _lashes),
    ("fluid", _fluid),
    ("tear", _fluid),
)
