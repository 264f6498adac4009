"""What things are made of, as Cycles' shaders; each says what it is through an output of its own."""

from __future__ import annotations

from typing import Any

import bpy

from backend.artifacts import F32
from blender_addon.scene.nodes import add, empty_tree, new_material, set_inputs
from synthdata.cycles.cover import output_of
from synthdata.cycles.dress import Colour, Fabric
from synthdata.scene.pieces import texture

SUBSURFACE_M = 0.0026  # mean free path of red in light skin
SUBSURFACE_RADIUS = (1.0, 0.37, 0.18)
_LENS_IOR = 1.5


def mark(tree: Any, kind: str) -> None:
    """Have the material tell which pixels show it."""
    name, colour = output_of(kind)
    marker = tree.nodes.new("ShaderNodeOutputAOV")
    marker.aov_name = name
    marker.inputs["Color"].default_value = (*colour, 1.0)


def skin(albedo_linear: F32, roughness: F32, specular: F32, relief_tangent: F32, subsurface: float) -> Any:
    """Principled with random-walk subsurface; ``relief_tangent`` ``(S, S, 3)`` is all relief as normals."""
    material, tree, principled = new_material("skin")
    set_inputs(
        principled,
        {
            "IOR": 1.5,  # at which F0 = 0.08 · specular, as the maps mean it
            "Subsurface Weight": subsurface,
            "Subsurface Radius": SUBSURFACE_RADIUS,
            "Subsurface Scale": SUBSURFACE_M,
        },
    )
    principled.subsurface_method = "RANDOM_WALK"
    for name, values in (
        ("Base Color", albedo_linear),
        ("Roughness", roughness),
        ("Specular IOR Level", specular),
    ):
        tree.links.new(texture(tree, name, values).outputs["Color"], principled.inputs[name])
    normal = tree.nodes.new("ShaderNodeNormalMap")
    tree.links.new(
        texture(tree, "normal", 0.5 + 0.5 * relief_tangent).outputs["Color"], normal.inputs["Color"]
    )
    tree.links.new(normal.outputs["Normal"], principled.inputs["Normal"])
    mark(tree, "skin")
    return material


def hair(name: str, colour_linear: Colour, grey: float) -> Any:
    """Strands of one colour, each a little its own, a share ``grey`` of them white."""
    # Blender's hair shader lets so few, thick strands glow; opaque ones keep their colour and are less noisy.
    material, tree, principled = new_material(name)
    set_inputs(principled, {"Roughness": 0.38, "Specular IOR Level": 0.35, "IOR": 1.55})
    info = add(tree, "ShaderNodeHairInfo", (0.0, 0.0))
    ramp = add(tree, "ShaderNodeValToRGB", (0.0, 0.0))
    darker, lighter = (tuple(min(c * f, 0.8) for c in colour_linear) for f in (0.72, 1.35))
    elements = ramp.color_ramp.elements
    elements[0].position, elements[0].color = 0.0, (*darker, 1.0)
    elements[1].position, elements[1].color = max(1.0 - grey, 0.02), (*lighter, 1.0)
    if grey > 0.01:
        white = elements.new(min(max(1.0 - grey, 0.02) + 0.01, 1.0))
        white.color = (0.55, 0.54, 0.52, 1.0)
    tree.links.new(info.outputs["Random"], ramp.inputs["Fac"])
    tree.links.new(ramp.outputs["Color"], principled.inputs["Base Color"])
    mark(tree, "hair")
    return material


def cloth(name: str, fabric: Fabric, kind: str) -> Any:
    """Woven, knitted or felted cloth: pattern and relief in object space."""
    material, tree, principled = new_material(name)
    set_inputs(
        principled,
        {"Roughness": 0.92, "Specular IOR Level": 0.2, "Sheen Weight": 0.25, "Sheen Roughness": 0.5},
    )
    place = add(tree, "ShaderNodeTexCoord", (0.0, 0.0)).outputs["Object"]
    mix = add(tree, "ShaderNodeMix", (0.0, 0.0))
    mix.data_type = "RGBA"
    colours = [s for s in mix.inputs if s.type == "RGBA"]
    colours[0].default_value, colours[1].default_value = (
        (*fabric.colour_linear, 1),
        (*fabric.second_linear, 1),
    )
    mix.inputs["Factor"].default_value = 0.0
    result = next(s for s in mix.outputs if s.type == "RGBA")
    if fabric.pattern in ("stripes", "check"):
        bands = _wave(tree, place, 0.16 / (fabric.scale_m * 2.5), "Z", 0.0)
        step = add(tree, "ShaderNodeMapRange", (0.0, 0.0))
        set_inputs(step, {"From Min": 0.55, "From Max": 0.65})
        tree.links.new(bands, step.inputs["Value"])
        factor = step.outputs["Result"]
        if fabric.pattern == "check":
            across = _wave(tree, place, 0.16 / (fabric.scale_m * 2.5), "X", 0.0)
            both = add(tree, "ShaderNodeMath", (0.0, 0.0))
            both.operation = "MULTIPLY_ADD"
            both.inputs[1].default_value, both.inputs[2].default_value = 0.5, 0.0
            plus = add(tree, "ShaderNodeMath", (0.0, 0.0))
            plus.operation = "ADD"
            tree.links.new(factor, plus.inputs[0])
            tree.links.new(across, plus.inputs[1])
            tree.links.new(plus.outputs[0], both.inputs[0])
            factor = both.outputs[0]
        tree.links.new(factor, mix.inputs["Factor"])
    elif fabric.pattern == "speckle":
        tree.links.new(_noise(tree, place, 900.0, 2.0), mix.inputs["Factor"])
    # Threads: fine for woven cloth, coarse for knits.
    shade = add(tree, "ShaderNodeMix", (0.0, 0.0))
    shade.data_type, shade.blend_type = "RGBA", "MULTIPLY"
    shade.inputs["Factor"].default_value = 0.45
    rgba = [s for s in shade.inputs if s.type == "RGBA"]
    tree.links.new(result, rgba[0])
    bump = add(tree, "ShaderNodeBump", (0.0, 0.0))
    if fabric.pattern == "knit":
        threads = _wave(tree, place, 0.16 / fabric.scale_m, "X", 2.0)
        set_inputs(bump, {"Strength": 0.7, "Distance": 0.0015})
    else:
        threads = _noise(tree, place, 1400.0, 2.0)
        set_inputs(bump, {"Strength": 0.35, "Distance": 0.0006})
    tree.links.new(threads, bump.inputs["Height"])
    tree.links.new(threads, rgba[1])
    tree.links.new(next(s for s in shade.outputs if s.type == "RGBA"), principled.inputs["Base Color"])
    tree.links.new(bump.outputs["Normal"], principled.inputs["Normal"])
    mark(tree, kind)
    return material


def frame(colour_linear: Colour, metallic: bool) -> Any:
    """Metal or polished acetate."""
    material, tree, principled = new_material("frame")
    coat = {"Metallic": 1.0, "Roughness": 0.22} if metallic else {"Roughness": 0.25, "Coat Weight": 0.6}
    set_inputs(principled, {"Base Color": colour_linear, **coat})
    mark(tree, "frame")
    return material


def lens(tint: Colour, mirror: float) -> Any:
    """A thin pane: it reflects by Fresnel, lets the rest pass straight and tinted, shadows included."""
    material = bpy.data.materials.new("lens")
    tree = empty_tree(material)
    output = add(tree, "ShaderNodeOutputMaterial", (0.0, 0.0))
    fresnel = add(tree, "ShaderNodeFresnel", (0.0, 0.0))
    set_inputs(fresnel, {"IOR": _LENS_IOR})
    share = add(tree, "ShaderNodeMath", (0.0, 0.0))
    share.operation, share.use_clamp = "MULTIPLY_ADD", True
    share.inputs[1].default_value, share.inputs[2].default_value = 1.0 if mirror > 0.05 else 0.6, mirror
    clear, gloss = (
        add(tree, "ShaderNodeBsdfTransparent", (0.0, 0.0)),
        add(tree, "ShaderNodeBsdfGlossy", (0.0, 0.0)),
    )
    set_inputs(clear, {"Color": tint})
    set_inputs(gloss, {"Color": (1.0, 1.0, 1.0), "Roughness": 0.0})
    mix = add(tree, "ShaderNodeMixShader", (0.0, 0.0))
    tree.links.new(fresnel.outputs[0], share.inputs[0])
    tree.links.new(share.outputs[0], mix.inputs[0])
    tree.links.new(clear.outputs[0], mix.inputs[1])
    tree.links.new(gloss.outputs[0], mix.inputs[2])
    # Shadows pass as through the pane itself; a Fresnel share of them would be noise.
    rays, shadow = add(tree, "ShaderNodeLightPath", (0.0, 0.0)), add(tree, "ShaderNodeMixShader", (0.0, 0.0))
    tree.links.new(rays.outputs["Is Shadow Ray"], shadow.inputs[0])
    tree.links.new(mix.outputs[0], shadow.inputs[1])
    tree.links.new(clear.outputs[0], shadow.inputs[2])
    tree.links.new(shadow.outputs[0], output.inputs["Surface"])
    mark(tree, "lens")
    return material


def bare_hand(colour_linear: Colour) -> Any:
    """Skin without maps."""
    material, tree, principled = new_material("hand")
    set_inputs(
        principled,
        {
            "Base Color": colour_linear, "Roughness": 0.5, "IOR": 1.5, "Specular IOR Level": 0.35,
            "Subsurface Weight": 0.7, "Subsurface Radius": SUBSURFACE_RADIUS,
            "Subsurface Scale": SUBSURFACE_M,
        },
    )  # fmt: skip
    mark(tree, "hand")
    return material


def _wave(tree: Any, place: Any, scale: float, axis: str, distortion: float) -> Any:
    node = add(tree, "ShaderNodeTexWave", (0.0, 0.0))
    node.bands_direction = axis
    set_inputs(node, {"Scale": scale * 2, "Distortion": distortion, "Detail": 1.0})
    tree.links.new(place, node.inputs["Vector"])
    return node.outputs["Fac"]


def _noise(tree: Any, place: Any, scale: float, detail: float) -> Any:
    node = add(tree, "ShaderNodeTexNoise", (0.0, 0.0))
    set_inputs(node, {"Scale": scale, "Detail": detail, "Roughness": 0.6})
    tree.links.new(place, node.inputs["Vector"])
    return node.outputs["Fac"]
