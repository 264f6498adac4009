"""The material of splats: what a ray sees of a Gaussian, worked out per pixel, in Cycles and EEVEE alike.

A ray's coverage is opacity · exp(−m²/2), m the least Mahalanobis distance between ray and centre. It depends
on the ray alone, not on what geometry the ray hit, so it is right from every side and needs no refresh.
Compositing: Cycles follows the ray from splat to splat; EEVEE drops pixels at random (dithered), so that
neither needs the splats sorted.
"""

from __future__ import annotations

import math
from typing import Any

import bpy

from .. import splat_sh
from .node_sheet import Sheet
from .nodes import new_material
from .splat_nodes import FAINTEST, ROTATION, SHAPE

CHANNELS = ("r", "g", "b")
ALBEDO, NORMAL = "splat_albedo", "splat_normal"  # linear colour; unit, the object's frame
RELIGHT_PROPERTY = "likeness_relight"  # of the object: 0 as captured, 1 lit by the scene
RELIGHT_NODE = "Relight"  # of its material, which follows that property
RELIT_ROUGHNESS = 0.55
MOST_OPAQUE = 0.99  # as the original
SRGB_KNEE = 0.04045


def sh_attribute(channel: str, quad: int) -> str:
    """Name of the attribute with coefficients 4·quad … 4·quad + 3 of ``channel`` (r, g, b)."""
    return f"splat_sh_{channel}{quad}"


def quad_count(degree: int) -> int:
    """Attributes of four coefficients per channel: at degree 3 four, so twelve in all."""
    return math.ceil(splat_sh.coefficient_count(degree) / 4)


def build_splat_material(name: str, degree: int, *, is_relightable: bool = False) -> Any:
    """A material for splats of SH ``degree``; 14 attributes at degree 3, as many as EEVEE takes.

    ``is_relightable``: splats have ALBEDO and NORMAL, and the object's RELIGHT_PROPERTY mixes between what
    was captured and what the scene's lights make of them; to degree 2, or EEVEE has too many attributes.
    """
    material, tree, principled = new_material(name)
    tree.nodes.remove(principled)
    output = tree.nodes[0]
    output.location = (900.0, 0.0)
    sheet = Sheet(tree)

    coverage = sheet.node("ShaderNodeGroup", node_tree=_coverage_group())
    for attribute, vector, scalar in ((ROTATION, "Rotation XYZ", "Rotation W"), (SHAPE, "Scale", "Opacity")):
        source = sheet.node("ShaderNodeAttribute", attribute_name=attribute)
        sheet.feed(coverage.inputs[vector], source.outputs["Vector"])
        sheet.feed(coverage.inputs[scalar], source.outputs["Alpha"])
    colour = sheet.node("ShaderNodeGroup", node_tree=_colour_group(degree))
    sheet.feed(colour.inputs["Direction"], coverage.outputs["Direction"])
    for channel in CHANNELS:
        for quad in range(quad_count(degree)):
            source = sheet.node("ShaderNodeAttribute", attribute_name=sh_attribute(channel, quad))
            sheet.feed(colour.inputs[f"{channel}{quad} XYZ"], source.outputs["Vector"])
            sheet.feed(colour.inputs[f"{channel}{quad} W"], source.outputs["Alpha"])

    light = sheet.node("ShaderNodeEmission")
    sheet.feed(light.inputs["Color"], colour.outputs["Color"])
    mix = sheet.node("ShaderNodeMixShader")
    sheet.feed(mix.inputs[0], coverage.outputs["Alpha"])
    sheet.feed(mix.inputs[1], sheet.node("ShaderNodeBsdfTransparent").outputs[0])
    sheet.feed(mix.inputs[2], light.outputs[0] if not is_relightable else _relightable(sheet, light))
    sheet.feed(output.inputs["Surface"], mix.outputs[0])
    sheet.feed(output.inputs["Displacement"], coverage.outputs["Displacement"])

    material.displacement_method = "DISPLACEMENT"
    material.surface_render_method = "DITHERED"
    material.cycles.emission_sampling = "NONE"  # a million lamps would be sampled otherwise
    return material


def follow_relight_property(thing: Any) -> None:
    """Let the material of the relightable splats ``thing`` follow its RELIGHT_PROPERTY.

    By a driver: Cycles of Blender 4.2 does not find an object's property from points that nodes have made.
    """
    node = thing.data.materials[0].node_tree.nodes[RELIGHT_NODE]
    driver = node.outputs[0].driver_add("default_value").driver
    driver.type = "AVERAGE"
    target = driver.variables.new().targets[0]
    target.id = thing
    target.data_path = f'["{RELIGHT_PROPERTY}"]'


def _relightable(sheet: Sheet, captured: Any) -> Any:
    """Emission and a lit surface, mixed by the object's property; the surface closure."""
    lit = sheet.node("ShaderNodeBsdfPrincipled")
    lit.inputs["Roughness"].default_value = RELIT_ROUGHNESS
    albedo = sheet.node("ShaderNodeAttribute", attribute_name=ALBEDO)
    sheet.feed(lit.inputs["Base Color"], albedo.outputs["Color"])
    normal = sheet.node("ShaderNodeAttribute", attribute_name=NORMAL)
    sheet.feed(lit.inputs["Normal"], _transform(sheet, normal.outputs["Vector"], "OBJECT", "WORLD"))
    chosen = sheet.node("ShaderNodeValue", name=RELIGHT_NODE, label="Lit by the scene")
    mix = sheet.node("ShaderNodeMixShader")
    chosen.outputs[0].default_value = 0.0
    sheet.feed(mix.inputs[0], chosen.outputs[0])
    sheet.feed(mix.inputs[1], captured.outputs[0])
    sheet.feed(mix.inputs[2], lit.outputs[0])
    return mix.outputs[0]


def _group(name: str, inputs: dict[str, str], outputs: dict[str, str]) -> Any:
    tree = bpy.data.node_groups.new(name, "ShaderNodeTree")
    for in_out, sockets in (("INPUT", inputs), ("OUTPUT", outputs)):
        for socket, kind in sockets.items():
            tree.interface.new_socket(socket, in_out=in_out, socket_type=f"NodeSocket{kind}")
    return tree


def _coverage_group() -> Any:
    """Shape of a splat to the coverage of this ray, and EEVEE's card in the right place."""
    name = "Likeness Splat Coverage"
    existing = bpy.data.node_groups.get(name)
    if existing is not None:
        return existing
    tree = _group(
        name,
        {"Rotation XYZ": "Vector", "Rotation W": "Float", "Scale": "Vector", "Opacity": "Float"},
        {"Alpha": "Float", "Displacement": "Vector", "Direction": "Vector"},
    )
    sheet = Sheet(tree)
    given = sheet.node("NodeGroupInput").outputs
    axis, w = given["Rotation XYZ"], given["Rotation W"]
    here = sheet.node("ShaderNodeNewGeometry").outputs
    centre = sheet.node("ShaderNodePointInfo").outputs["Position"]

    def turn(vector: Any, spin: Any) -> Any:
        twice = sheet.vector("SCALE", sheet.vector("CROSS_PRODUCT", axis, vector), 2.0)
        swing = sheet.vector("CROSS_PRODUCT", axis, twice)
        return sheet.vector("ADD", sheet.vector("ADD", vector, swing), sheet.vector("SCALE", twice, spin))

    def to_object(vector: Any) -> Any:
        return _transform(sheet, vector, "WORLD", "OBJECT")

    back = sheet.math("MULTIPLY", w, -1.0)
    direction = sheet.vector("NORMALIZE", to_object(sheet.vector("SCALE", here["Incoming"], -1.0)))
    own_direction = turn(direction, back)  # in the splat's own axes
    own_offset = turn(to_object(sheet.vector("SUBTRACT", here["Position"], centre)), back)

    # In the space where the Gaussian is a unit ball: distance of the ray to the origin.
    ball_direction = sheet.vector("NORMALIZE", sheet.vector("DIVIDE", own_direction, given["Scale"]))
    ball_offset = sheet.vector("DIVIDE", own_offset, given["Scale"])
    arm = sheet.vector("CROSS_PRODUCT", ball_offset, ball_direction)
    fall = sheet.math("EXPONENT", sheet.math("MULTIPLY", sheet.vector("DOT_PRODUCT", arm, arm), -0.5))
    alpha = sheet.math("MINIMUM", sheet.math("MULTIPLY", given["Opacity"], fall), MOST_OPAQUE)
    alpha = sheet.math("MULTIPLY", alpha, sheet.math("GREATER_THAN", alpha, FAINTEST))

    # EEVEE draws a point as a square pyramid: four corners around the centre, the tip towards the eye. Put
    # the corners on the plane of greatest density along the view, around all that can be seen, and the tip
    # on the centre: a tight flat card whose depth is the splat's. (Cycles ignores this on points.)
    corner = turn(sheet.vector("NORMALIZE", to_object(here["Normal"])), back)
    between = sheet.vector("ADD", own_direction, ball_direction)
    bend = sheet.math(
        "DIVIDE",
        sheet.vector("DOT_PRODUCT", ball_direction, corner),
        sheet.math("ADD", sheet.vector("DOT_PRODUCT", own_direction, ball_direction), 1.0),
    )
    flat = sheet.vector("SUBTRACT", corner, sheet.vector("SCALE", between, bend))
    ratio = sheet.math("MAXIMUM", sheet.math("DIVIDE", given["Opacity"], FAINTEST), 1.0)
    reach = sheet.math("SQRT", sheet.math("MULTIPLY", sheet.math("LOGARITHM", ratio, math.e), 4.0))
    facing = sheet.math("ABSOLUTE", sheet.vector("DOT_PRODUCT", corner, own_direction))
    span = sheet.math("MULTIPLY", reach, sheet.math("LESS_THAN", facing, 0.5))
    edge = sheet.vector("MULTIPLY", sheet.vector("SCALE", flat, span), given["Scale"])
    edge = _transform(sheet, turn(edge, w), "OBJECT", "WORLD")
    move = sheet.vector("ADD", sheet.vector("SUBTRACT", centre, here["Position"]), edge)

    result = sheet.node("NodeGroupOutput")
    sheet.feed(result.inputs["Alpha"], alpha)
    sheet.feed(result.inputs["Displacement"], move)
    sheet.feed(result.inputs["Direction"], direction)
    return tree


def _transform(sheet: Sheet, vector: Any, source: str, target: str) -> Any:
    node = sheet.node(
        "ShaderNodeVectorTransform", vector_type="VECTOR", convert_from=source, convert_to=target
    )
    sheet.feed(node.inputs[0], vector)
    return node.outputs[0]


def _colour_group(degree: int) -> Any:
    """Coefficients and view direction (in the object's frame) to colour in linear Rec. 709."""
    name = f"Likeness Splat Colour {degree}"
    existing = bpy.data.node_groups.get(name)
    if existing is not None:
        return existing
    inputs = {"Direction": "Vector"}
    for channel in CHANNELS:
        for quad in range(quad_count(degree)):
            inputs |= {f"{channel}{quad} XYZ": "Vector", f"{channel}{quad} W": "Float"}
    tree = _group(name, inputs, {"Color": "Color"})
    sheet = Sheet(tree)
    given = sheet.node("NodeGroupInput").outputs
    functions: list[Any] = _basis(sheet, given["Direction"], degree)
    functions += [0.0] * (4 * quad_count(degree) - len(functions))
    quads = [(sheet.join(*functions[i : i + 3]), functions[i + 3]) for i in range(0, len(functions), 4)]
    channels = []
    for channel in CHANNELS:
        terms = []
        for quad, (first_three, fourth) in enumerate(quads):
            terms.append(sheet.vector("DOT_PRODUCT", given[f"{channel}{quad} XYZ"], first_three))
            terms.append(sheet.math("MULTIPLY", given[f"{channel}{quad} W"], fourth))
        shown = sheet.math("ADD", sheet.total(terms), splat_sh.COLOUR_OFFSET)
        channels.append(_linear(sheet, sheet.math("MAXIMUM", shown, 0.0)))
    result = sheet.node("NodeGroupOutput")
    sheet.feed(result.inputs["Color"], sheet.join(*channels))
    return tree


def _linear(sheet: Sheet, srgb: Any) -> Any:
    """Display sRGB to linear light."""
    curve = sheet.math("POWER", sheet.math("DIVIDE", sheet.math("ADD", srgb, 0.055), 1.055), 2.4)
    is_curve = sheet.math("GREATER_THAN", srgb, SRGB_KNEE)
    line = sheet.math("DIVIDE", srgb, 12.92)
    return sheet.math("MULTIPLY_ADD", sheet.math("SUBTRACT", curve, line), is_curve, line)


def _basis(sheet: Sheet, direction: Any, degree: int) -> list[Any]:
    """Outputs of the basis functions, in the order of ``splat_sh.basis``."""
    functions: list[Any] = [splat_sh.C0]
    if degree == 0:
        return functions

    def times(*factors: Any) -> Any:
        result = factors[0]
        for factor in factors[1:]:
            result = sheet.math("MULTIPLY", result, factor)
        return result

    def minus(a: Any, b: Any) -> Any:
        return sheet.math("SUBTRACT", a, b)

    x, y, z = sheet.split(direction)
    functions += [times(y, -splat_sh.C1), times(z, splat_sh.C1), times(x, -splat_sh.C1)]
    if degree == 1:
        return functions
    xx, yy, zz, xy = times(x, x), times(y, y), times(z, z), times(x, y)
    ring, saddle = sheet.math("ADD", xx, yy), minus(xx, yy)
    polynomials = [xy, times(y, z), minus(times(zz, 2.0), ring), times(x, z), saddle]
    functions += [times(p, c) for p, c in zip(polynomials, splat_sh.C2, strict=True)]
    if degree == 2:
        return functions
    lift = minus(times(zz, 4.0), ring)
    polynomials = [
        times(y, minus(times(xx, 3.0), yy)),
        times(xy, z),
        times(y, lift),
        times(z, minus(times(zz, 2.0), times(ring, 3.0))),
        times(x, lift),
        times(z, saddle),
        times(x, minus(xx, times(yy, 3.0))),
    ]
    return functions + [times(p, c) for p, c in zip(polynomials, splat_sh.C3, strict=True)]
