"""Splats that hang on a head's mesh: geometry nodes follow the deformed parts, without the backend.

Every part of the head that carries splats has one modifier. It reads where the three vertices of each splat's
triangle are now, shape keys, bones and drivers applied, and puts splat, rotation and normal into that frame.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..bundle import BundleError, Manifest, Mesh
from ..splat_binding import HAIR_PART, STRETCH, SplatBinding, read_bound_splats, spans_of
from ..splats import SplatsError
from . import head_mesh
from .building import OPTIONAL_PARTS
from .identity import AvatarObjects, find, first, tag
from .node_sheet import Sheet
from .nodes import add_node_modifier
from .splat_material import ALBEDO, NORMAL, RELIGHT_PROPERTY, follow_relight_property
from .splat_nodes import RAW_ROTATION, RAW_SHAPE
from .splats import add_splats

ROLE = "splats"
PART = "splat_part"  # index into the mesh's part names of the part that carries the splat
CORNERS = ("splat_corner_0", "splat_corner_1", "splat_corner_2")  # vertices of that part's object
WEIGHTS, OFFSET, TIE, TIE_NORMAL = "splat_weights", "splat_offset", "splat_tie", "splat_tie_normal"
REST = "splat_rest"  # ``spans_of`` the triangle on the photographed face
GROUP_NAME = "Likeness Splat Binding"
SOURCE_KEY = "likeness_splats"  # of the object: digest of the file that it shows
SHOWN_KEY = "likeness_shows_splats"  # of the collection: what the artist has chosen


def add_bound_splats(folder: Path, mesh: Mesh, objects: AvatarObjects, uuid: str, name: str) -> Any:
    """The splats of the avatar in ``folder`` on the head ``objects``, hidden until they are shown.

    What was there before is replaced. Raises: SplatsError.
    """
    splats, tie = read_bound_splats(folder, len(mesh.vertices_neutral_head))
    old = first("objects", uuid, ROLE)
    if old is not None:
        bpy.data.objects.remove(old)
    thing = add_splats(splats, objects.collection, f"{name} splats", is_relightable=True)
    for block in (thing, thing.data):
        tag(block, uuid, ROLE)
    thing.parent = objects.root
    carrier = np.where(tie.part == HAIR_PART, mesh.part_names.index(head_mesh.HEAD_PART), tie.part)
    _write(thing.data, PART, "INT", carrier.astype(np.int32))
    _write(thing.data, WEIGHTS, "FLOAT_VECTOR", tie.barycentric)
    _write(thing.data, OFFSET, "FLOAT_VECTOR", tie.offset)
    _write(thing.data, TIE, "QUATERNION", tie.rotation)
    _write(thing.data, TIE_NORMAL, "FLOAT_VECTOR", tie.normal)
    rest = spans_of(mesh.expressed(), tie.corners) if tie.rest is None else tie.rest
    _write(thing.data, REST, "FLOAT_VECTOR", rest)
    albedo = np.concatenate([_to_linear(tie.albedo_srgb), np.ones((len(tie), 1))], 1)
    _write(thing.data, ALBEDO, "FLOAT_COLOR", albedo)
    _write_corners(thing.data, mesh, tie, carrier)
    for index in np.unique(carrier):
        part = objects.parts.get(mesh.part_names[index])
        if part is not None:
            _bind_part(thing, part, int(index))
    thing[RELIGHT_PROPERTY] = 0.0
    follow_relight_property(thing)
    show_splats(objects, uuid, False)
    return thing


def bring_splats(folder: Path, mesh: Mesh, manifest: Manifest, uuid: str) -> bool:
    """Bring the head's splats up to date with ``folder``; whether anything was done.

    Raises: BundleError when the folder says it has splats and they cannot be read.
    """
    objects = find(uuid)
    if objects is None or manifest.splats is None or manifest.partial:
        return False
    here = first("objects", uuid, ROLE)
    if here is not None and here.get(SOURCE_KEY) == manifest.splats.sha256:
        return False
    was_shown = bool(objects.collection.get(SHOWN_KEY, False))
    try:
        thing = add_bound_splats(folder, mesh, objects, uuid, manifest.photo.name)
    except SplatsError as error:
        raise BundleError(str(error)) from error
    thing[SOURCE_KEY] = manifest.splats.sha256
    show_splats(objects, uuid, was_shown)
    return True


def show_splats(objects: AvatarObjects, uuid: str, shown: bool) -> bool:
    """Show the head as splats, or as its mesh: same rig, same place. False where it has no splats."""
    thing = first("objects", uuid, ROLE)
    if thing is None:
        return False
    thing.hide_viewport = thing.hide_render = not shown
    for part, obj in objects.parts.items():
        obj.hide_viewport = obj.hide_render = shown or part in OPTIONAL_PARTS
    objects.collection[SHOWN_KEY] = shown
    return True


def set_relightable(uuid: str, on: bool) -> bool:
    """Light the splats by the scene's lights, or show them as captured. False where there are none."""
    thing = first("objects", uuid, ROLE)
    if thing is None:
        return False
    thing[RELIGHT_PROPERTY] = float(on)
    thing.update_tag()
    return True


def _bind_part(thing: Any, part: Any, index: int) -> None:
    inputs = {"Part": index, "Head part": part}
    add_node_modifier(thing, f"Bound to {part.name}", binding_group(), inputs)
    thing.modifiers.move(len(thing.modifiers) - 1, len(thing.modifiers) - 2)  # before what draws


def binding_group() -> Any:
    """The geometry node group with inputs Head part (an object) and Part (its index)."""
    existing = bpy.data.node_groups.get(GROUP_NAME)
    if existing is not None:
        return existing
    tree = bpy.data.node_groups.new(GROUP_NAME, "GeometryNodeTree")
    tree.is_modifier = True
    interface = tree.interface
    interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    interface.new_socket("Head part", in_out="INPUT", socket_type="NodeSocketObject")
    interface.new_socket("Part", in_out="INPUT", socket_type="NodeSocketInt")
    _fill(Sheet(tree))
    return tree


def _fill(sheet: Sheet) -> None:
    given = sheet.node("NodeGroupInput").outputs
    moved = sheet.node("GeometryNodeObjectInfo", transform_space="RELATIVE")
    sheet.feed(moved.inputs["Object"], given["Head part"])
    place = sheet.node("GeometryNodeInputPosition").outputs[0]
    corners = []
    for name in CORNERS:
        sample = sheet.node("GeometryNodeSampleIndex", data_type="FLOAT_VECTOR", domain="POINT", clamp=True)
        sheet.feed(sample.inputs["Geometry"], moved.outputs["Geometry"])
        sheet.feed(next(s for s in sample.inputs if s.name == "Value" and s.enabled), place)
        sheet.feed(sample.inputs["Index"], _named(sheet, name, "INT"))
        corners.append(next(s for s in sample.outputs if s.enabled))
    a, b, c = corners
    edge = sheet.vector("SUBTRACT", b, a)
    normal = sheet.vector("CROSS_PRODUCT", edge, sheet.vector("SUBTRACT", c, a))
    frame = sheet.node("FunctionNodeAxesToRotation", primary_axis="Z", secondary_axis="X")
    sheet.feed(frame.inputs[0], normal)
    sheet.feed(frame.inputs[1], edge)

    weights = sheet.split(_named(sheet, WEIGHTS, "FLOAT_VECTOR"))
    at = _turned(sheet, _named(sheet, OFFSET, "FLOAT_VECTOR"), frame.outputs[0])
    for corner, weight in zip(corners, weights, strict=True):
        at = sheet.vector("ADD", at, sheet.vector("SCALE", corner, weight))
    whole = sheet.node("FunctionNodeRotateRotation", rotation_space="GLOBAL")
    sheet.feed(whole.inputs[0], _named(sheet, TIE, "QUATERNION"))
    sheet.feed(whole.inputs[1], frame.outputs[0])
    quaternion = sheet.node("FunctionNodeRotationToQuaternion")
    sheet.feed(quaternion.inputs[0], whole.outputs[0])
    packed = sheet.node("FunctionNodeCombineColor")
    for socket, name in zip(packed.inputs, ("X", "Y", "Z", "W"), strict=True):
        sheet.feed(socket, quaternion.outputs[name])

    shape = _stretched(sheet, edge, sheet.vector("SUBTRACT", c, a))
    own = sheet.node("FunctionNodeCompare", data_type="INT", operation="EQUAL")
    first_int, second_int = (s for s in own.inputs if s.enabled)
    sheet.feed(first_int, _named(sheet, PART, "INT"))
    sheet.feed(second_int, given["Part"])
    is_own = next(s for s in own.outputs if s.enabled)
    geometry = given["Geometry"]
    for name, kind, value in (
        (RAW_ROTATION, "FLOAT_COLOR", packed.outputs[0]),
        (RAW_SHAPE, "FLOAT_COLOR", shape),
        (NORMAL, "FLOAT_VECTOR", _turned(sheet, _named(sheet, TIE_NORMAL, "FLOAT_VECTOR"), frame.outputs[0])),
    ):
        store = sheet.node("GeometryNodeStoreNamedAttribute", data_type=kind, domain="POINT")
        sheet.feed(store.inputs["Geometry"], geometry)
        sheet.feed(store.inputs["Selection"], is_own)
        store.inputs["Name"].default_value = name
        sheet.feed(next(s for s in store.inputs if s.name == "Value" and s.enabled), value)
        geometry = store.outputs["Geometry"]
    put = sheet.node("GeometryNodeSetPosition")
    sheet.feed(put.inputs["Geometry"], geometry)
    sheet.feed(put.inputs["Selection"], is_own)
    sheet.feed(put.inputs["Position"], at)
    result = sheet.node("NodeGroupOutput")
    sheet.feed(result.inputs["Geometry"], put.outputs[0])


def _stretched(sheet: Sheet, edge: Any, side: Any) -> Any:
    """RAW_SHAPE with axes as long as the skin under them became (``splat_binding.stretches``).

    ``edge`` and ``side`` lead from the triangle's first corner to its second and third.
    """
    first = sheet.vector("LENGTH", edge)
    unit = sheet.vector("NORMALIZE", edge)
    along = sheet.vector("DOT_PRODUCT", side, unit)
    across = sheet.vector("LENGTH", sheet.vector("CROSS_PRODUCT", unit, side))
    rest_first, rest_along, rest_across = sheet.split(_named(sheet, REST, "FLOAT_VECTOR"))
    rest_first = sheet.math("MAXIMUM", rest_first, 1e-6)
    rest_across = sheet.math("MAXIMUM", rest_across, 1e-6)
    p = sheet.math("DIVIDE", first, rest_first)
    r = sheet.math("DIVIDE", across, rest_across)
    left = sheet.math("SUBTRACT", along, sheet.math("MULTIPLY", p, rest_along))
    q = sheet.math("DIVIDE", left, rest_across)
    tie = _named(sheet, TIE, "QUATERNION")
    raw = sheet.node("FunctionNodeSeparateColor")
    sheet.feed(raw.inputs[0], _named(sheet, RAW_SHAPE, "FLOAT_COLOR"))
    packed = sheet.node("FunctionNodeCombineColor")
    for k in range(3):
        x, y, z = sheet.split(_turned(sheet, [float(k == axis) for axis in range(3)], tie))
        px_qy = sheet.math("ADD", sheet.math("MULTIPLY", p, x), sheet.math("MULTIPLY", q, y))
        grown = sheet.vector("LENGTH", sheet.join(px_qy, sheet.math("MULTIPLY", r, y), z))
        grown = sheet.math("MINIMUM", sheet.math("MAXIMUM", grown, STRETCH[0]), STRETCH[1])
        sheet.feed(
            packed.inputs[k], sheet.math("ADD", raw.outputs[k], sheet.math("LOGARITHM", grown, math.e))
        )
    sheet.feed(packed.inputs[3], raw.outputs[3])
    return packed.outputs[0]


def _named(sheet: Sheet, name: str, kind: str) -> Any:
    node = sheet.node("GeometryNodeInputNamedAttribute", data_type=kind)
    node.inputs["Name"].default_value = name
    return next(s for s in node.outputs if s.enabled and s.name == "Attribute")


def _turned(sheet: Sheet, vector: Any, rotation: Any) -> Any:
    node = sheet.node("FunctionNodeRotateVector")
    sheet.feed(node.inputs["Vector"], vector)
    sheet.feed(node.inputs["Rotation"], rotation)
    return node.outputs[0]


def _write_corners(data: Any, mesh: Mesh, tie: SplatBinding, carrier: NDArray[np.integer[Any]]) -> None:
    """Rows of the carrying part's own vertices; splats of hair hang on the skin."""
    local = np.zeros((len(mesh.part_names), len(mesh.vertices_neutral_head)), np.int32)
    for index in np.unique(carrier):
        vertex = head_mesh.part_faces(mesh, mesh.part_names[index]).vertex
        local[index, vertex] = np.arange(len(vertex))
    for k, name in enumerate(CORNERS):
        _write(data, name, "INT", local[carrier, tie.corners[:, k]])


def _to_linear(srgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    value = srgb.astype(np.float64) / 255
    linear: NDArray[np.float64] = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear


_VALUE = {"INT": ("value", np.int32), "QUATERNION": ("value", np.float32)}
_VALUE |= {"FLOAT_VECTOR": ("vector", np.float32), "FLOAT_COLOR": ("color", np.float32)}


def _write(data: Any, name: str, kind: str, values: NDArray[Any]) -> None:
    attribute = data.attributes.get(name) or data.attributes.new(name, kind, "POINT")
    field, dtype = _VALUE[kind]
    attribute.data.foreach_set(field, np.ascontiguousarray(values, dtype).ravel())
