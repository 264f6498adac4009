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
    """Woven, knitted or felted cloth, or what buttons are of: pattern and relief in object space."""
    material, tree, principled = new_material(name)
    mark(tree, kind)
    if fabric.pattern == "polished":
        set_inputs(principled, {"Base Color": fabric.colour_linear, "Roughness": 0.3, "Coat Weight": 0.3})
        return material
    set_inputs(
        principled,
        {"Roughness": 0.9, "Specular IOR Level": 0.22, "Sheen Weight": 0.25, "Sheen Roughness": 0.5},
    )
    place = add(tree, "ShaderNodeTexCoord", (0.0, 0.0)).outputs["Object"]
    second = _pattern(tree, place, fabric)
    colour = _mixed(tree, "MIX", second, fabric.colour_linear, fabric.second_linear)
    is_knit = fabric.pattern == "knit"
    threads = (
        _wave(tree, place, 0.16 / fabric.scale_m, "X", 2.0) if is_knit else _noise(tree, place, 1100.0, 2.0)
    )
    # Threads shade the cloth, and no cloth is dyed evenly.
    for shade, depth in ((threads, 0.45), (_noise(tree, place, 60.0, 3.0), 0.18)):
        colour = _mixed(tree, "MULTIPLY", depth, colour, shade)
    tree.links.new(colour, principled.inputs["Base Color"])
    bumps = (
        (_wrinkles(tree, place), 0.6, 0.0035),
        (threads, 0.7 if is_knit else 0.4, 0.0015 if is_knit else 0.0006),
    )
    normal = None
    for height, strength, distance in bumps:
        bump = add(tree, "ShaderNodeBump", (0.0, 0.0))
        set_inputs(bump, {"Strength": strength, "Distance": distance})
        tree.links.new(height, bump.inputs["Height"])
        if normal is not None:
            tree.links.new(normal, bump.inputs["Normal"])
        normal = bump.outputs["Normal"]
    tree.links.new(normal, principled.inputs["Normal"])
    return material


def _pattern(tree: Any, place: Any, fabric: Fabric) -> Any:
    """Where the second colour is: a socket, or 0 for nowhere."""
    scale = 0.16 / (fabric.scale_m * 2.5)
    if fabric.pattern in ("stripes", "check"):
        bands = _wave(tree, place, scale, "Z", 0.0)
        step = add(tree, "ShaderNodeMapRange", (0.0, 0.0))
        set_inputs(step, {"From Min": 0.55, "From Max": 0.65})
        tree.links.new(bands, step.inputs["Value"])
        if fabric.pattern == "stripes":
            return step.outputs["Result"]
        half = add(tree, "ShaderNodeMath", (0.0, 0.0))
        half.operation = "MULTIPLY"
        half.inputs[1].default_value = 0.5
        both = add(tree, "ShaderNodeMath", (0.0, 0.0))
        both.operation = "ADD"
        tree.links.new(step.outputs["Result"], both.inputs[0])
        tree.links.new(_wave(tree, place, scale, "X", 0.0), both.inputs[1])
        tree.links.new(both.outputs[0], half.inputs[0])
        return half.outputs[0]
    return _noise(tree, place, 700.0, 2.0) if fabric.pattern == "speckle" else 0.0


def _mixed(tree: Any, how: str, factor: Any, first: Any, second: Any) -> Any:
    """Two colours, each a socket or a value, mixed by a socket or a number."""
    mix = add(tree, "ShaderNodeMix", (0.0, 0.0))
    mix.data_type, mix.blend_type = "RGBA", how
    sockets = [mix.inputs["Factor"], *(s for s in mix.inputs if s.type == "RGBA")]
    for socket, given in zip(sockets, (factor, first, second), strict=True):
        if isinstance(given, float):
            socket.default_value = given
        elif isinstance(given, tuple):
            socket.default_value = (*given, 1.0)
        else:
            tree.links.new(given, socket)
    return next(s for s in mix.outputs if s.type == "RGBA")


def _wrinkles(tree: Any, place: Any) -> Any:
    """Creases finer than the folds of the mesh: ridges that wander."""
    warp = add(tree, "ShaderNodeMapping", (0.0, 0.0))
    warp.inputs["Scale"].default_value = (1.0, 1.0, 1.7)
    warp.inputs["Rotation"].default_value = (0.3, 0.5, 0.2)
    tree.links.new(place, warp.inputs["Vector"])
    node = add(tree, "ShaderNodeTexNoise", (0.0, 0.0))
    set_inputs(node, {"Scale": 26.0, "Detail": 3.0, "Roughness": 0.45, "Distortion": 1.2})
    tree.links.new(warp.outputs["Vector"], node.inputs["Vector"])
    return node.outputs["Fac"]


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
    """Skin without maps: blotches, and the fine net of lines of a hand's back."""
    material, tree, principled = new_material("hand")
    set_inputs(
        principled,
        {
            "Roughness": 0.48, "IOR": 1.5, "Specular IOR Level": 0.35,
            "Subsurface Weight": 0.7, "Subsurface Radius": SUBSURFACE_RADIUS,
            "Subsurface Scale": SUBSURFACE_M,
        },
    )  # fmt: skip
    place = add(tree, "ShaderNodeTexCoord", (0.0, 0.0)).outputs["Object"]
    r, g, b = colour_linear
    flushed = _mixed(
        tree, "MIX", _noise(tree, place, 45.0, 3.0), (1.08 * r, 0.88 * g, 0.86 * b), colour_linear
    )
    tree.links.new(flushed, principled.inputs["Base Color"])
    lines = add(tree, "ShaderNodeTexVoronoi", (0.0, 0.0))
    lines.feature = "DISTANCE_TO_EDGE"
    set_inputs(lines, {"Scale": 520.0})
    tree.links.new(place, lines.inputs["Vector"])
    normal = None
    for height, strength, distance in (
        (_noise(tree, place, 130.0, 3.0), 0.5, 0.0012),
        (lines.outputs["Distance"], 0.35, 0.0006),
    ):
        bump = add(tree, "ShaderNodeBump", (0.0, 0.0))
        set_inputs(bump, {"Strength": strength, "Distance": distance})
        tree.links.new(height, bump.inputs["Height"])
        if normal is not None:
            tree.links.new(normal, bump.inputs["Normal"])
        normal = bump.outputs["Normal"]
    tree.links.new(normal, principled.inputs["Normal"])
    mark(tree, "hand")
    return material


def nail(colour_linear: Colour) -> Any:
    """A fingernail over skin of this colour."""
    material, tree, principled = new_material("nail")
    r, g, b = (min(1.15 * c + 0.05, 0.8) for c in colour_linear)
    set_inputs(principled, {"Base Color": (r, 0.92 * g, 0.94 * b), "Roughness": 0.22, "IOR": 1.5})
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
