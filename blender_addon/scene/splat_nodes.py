"""Geometry nodes of splats: activation of the stored numbers, and one point per splat for the engines.

Both engines draw points without making meshes of them: Cycles as spheres, EEVEE as four triangles whose
corners the material moves. No geometry is made per splat, so nothing has to be rebuilt when the view turns.
"""

from __future__ import annotations

from typing import Any

import bpy

from .node_sheet import Sheet

# Attributes of the mesh that holds the splats, as the file has them (before activation).
RAW_ROTATION = "splat_raw_rotation"  # x, y, z, w of any length
RAW_SHAPE = "splat_raw_shape"  # ln σx, ln σy, ln σz, opacity logit
# Attributes of the points that the material reads.
ROTATION = "splat_rotation"  # x, y, z, w of length 1
SHAPE = "splat_shape"  # σx, σy, σz, opacity

# Below this opacity a splat adds less than half an 8-bit step; the original leaves it out, so do we.
FAINTEST = 1.0 / 255.0

GROUP_NAME = "Likeness Splats"


def splat_modifier_group() -> Any:
    """The geometry node group with inputs Material, Size (factor) and Opacity (factor)."""
    existing = bpy.data.node_groups.get(GROUP_NAME)
    if existing is not None:
        return existing
    tree = bpy.data.node_groups.new(GROUP_NAME, "GeometryNodeTree")
    tree.is_modifier = True
    interface = tree.interface
    interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    interface.new_socket("Material", in_out="INPUT", socket_type="NodeSocketMaterial")
    for name, largest in (("Size", 10.0), ("Opacity", 1.0)):
        socket = interface.new_socket(name, in_out="INPUT", socket_type="NodeSocketFloat")
        socket.default_value, socket.min_value, socket.max_value = 1.0, 0.0, largest
    _fill(Sheet(tree))
    return tree


def _fill(sheet: Sheet) -> None:
    given = sheet.node("NodeGroupInput").outputs

    x, y, z, w = _components(sheet, RAW_ROTATION)
    length = sheet.math("SQRT", sheet.total([sheet.math("MULTIPLY", v, v) for v in (x, y, z, w)]))
    rotation = _colour(sheet, [sheet.math("DIVIDE", v, length) for v in (x, y, z, w)])

    *log_scales, logit = _components(sheet, RAW_SHAPE)
    scales = [sheet.math("MULTIPLY", sheet.math("EXPONENT", v), given["Size"]) for v in log_scales]
    odds = sheet.math("EXPONENT", sheet.math("MULTIPLY", logit, -1.0))
    opacity = sheet.math("DIVIDE", given["Opacity"], sheet.math("ADD", odds, 1.0))
    shape = _colour(sheet, [*scales, opacity])

    # Where opacity · exp(−r²/2) falls to FAINTEST: the sphere that holds all that can be seen.
    reach = sheet.math("SQRT", sheet.math("MULTIPLY", _log(sheet, opacity), 2.0))
    largest = sheet.math("MAXIMUM", sheet.math("MAXIMUM", scales[0], scales[1]), scales[2])
    radius = sheet.math("MULTIPLY", largest, reach)

    geometry = given["Geometry"]
    for name, value in ((ROTATION, rotation), (SHAPE, shape)):
        store = sheet.node("GeometryNodeStoreNamedAttribute", data_type="FLOAT_COLOR", domain="POINT")
        store.inputs["Name"].default_value = name
        sheet.feed(store.inputs["Geometry"], geometry)
        sheet.feed(next(s for s in store.inputs if s.name == "Value" and s.enabled), value)
        geometry = store.outputs["Geometry"]
    points = sheet.node("GeometryNodeMeshToPoints")
    sheet.feed(points.inputs["Mesh"], geometry)
    sheet.feed(points.inputs["Selection"], sheet.math("GREATER_THAN", radius, 0.0))
    sheet.feed(points.inputs["Radius"], radius)
    dress = sheet.node("GeometryNodeSetMaterial")
    sheet.feed(dress.inputs["Geometry"], points.outputs[0])
    sheet.feed(dress.inputs["Material"], given["Material"])
    result = sheet.node("NodeGroupOutput")
    sheet.feed(result.inputs["Geometry"], dress.outputs[0])


def _log(sheet: Sheet, opacity: Any) -> Any:
    """ln(opacity / FAINTEST), at least 0."""
    ratio = sheet.math("MAXIMUM", sheet.math("DIVIDE", opacity, FAINTEST), 1.0)
    return sheet.math("LOGARITHM", ratio, 2.718281828459045)


def _components(sheet: Sheet, name: str) -> tuple[Any, Any, Any, Any]:
    attribute = sheet.node("GeometryNodeInputNamedAttribute", data_type="FLOAT_COLOR")
    attribute.inputs["Name"].default_value = name
    node = sheet.node("FunctionNodeSeparateColor")
    sheet.feed(node.inputs[0], next(s for s in attribute.outputs if s.enabled))
    return node.outputs[0], node.outputs[1], node.outputs[2], node.outputs[3]


def _colour(sheet: Sheet, components: list[Any]) -> Any:
    node = sheet.node("FunctionNodeCombineColor")
    for socket, component in zip(node.inputs, components, strict=True):
        sheet.feed(socket, component)
    return node.outputs[0]
