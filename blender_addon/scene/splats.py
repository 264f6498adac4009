"""Splats as Blender objects: a mesh of points with the file's numbers as attributes, drawn by nodes.

The data keep the file's axes; the object is turned instead, so that colours, Gaussians and an export agree
without rotating a single coefficient.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import bpy
import numpy as np
from numpy.typing import NDArray

from ..splat_sh import coefficient_count
from ..splats import Splats, SplatsError
from .nodes import add_node_modifier
from .splat_material import CHANNELS, build_splat_material, quad_count, sh_attribute
from .splat_nodes import RAW_ROTATION, RAW_SHAPE, splat_modifier_group

Axes = Literal["HEAD", "COLMAP", "BLENDER"]

# Angle about X that brings a file's axes to Blender's (+Z up).
AXES_TURN: dict[Axes, float] = {
    "HEAD": math.pi / 2,  # +Y up, face to +Z: (x, y, z) → (x, −z, y)
    "COLMAP": -math.pi / 2,  # −Y up, camera to +Z: (x, y, z) → (x, z, −y)
    "BLENDER": 0.0,
}
DEGREE_PROPERTY = "likeness_sh_degree"
# A ray through a head's soft rim meets some hundred splats; rays end earlier where little light is left.
CYCLES_TRANSPARENT_BOUNCES = 512

# foreach_set and foreach_get want the name of the value inside each element.
_VALUE = {"FLOAT_VECTOR": "vector", "FLOAT_COLOR": "color"}


def add_splats(
    splats: Splats, collection: Any, name: str, axes: Axes = "HEAD", *, is_relightable: bool = False
) -> Any:
    """An object called ``name`` that draws ``splats``, linked to ``collection``.

    ``is_relightable``: see ``splat_material.build_splat_material``.

    When anything goes wrong nothing stays behind. Raises: what Blender raises.
    """
    made: list[tuple[Any, Any]] = []
    try:
        mesh = bpy.data.meshes.new(name)
        made.append((bpy.data.meshes, mesh))
        _write_attributes(mesh, splats)
        material = build_splat_material(name, splats.degree, is_relightable=is_relightable)
        made.append((bpy.data.materials, material))
        thing = bpy.data.objects.new(name, mesh)
        made.append((bpy.data.objects, thing))
        thing.rotation_euler.x = AXES_TURN[axes]
        add_node_modifier(thing, "Splats", splat_modifier_group(), {"Material": material})
        mesh.materials.append(material)
        collection.objects.link(thing)
    except BaseException:
        for kind, block in reversed(made):
            kind.remove(block)
        raise
    return thing


def is_splats(thing: Any) -> bool:
    """Whether ``thing`` is an object made by ``add_splats``."""
    return thing is not None and thing.type == "MESH" and DEGREE_PROPERTY in thing.data


def extract_splats(thing: Any) -> Splats:
    """The splats of an object in its own frame, bit for bit as imported unless edited.

    Raises: SplatsError when the object holds none or lost one of its attributes.
    """
    if not is_splats(thing):
        raise SplatsError("Select an object with Gaussian splats.")
    mesh = thing.data
    count = len(mesh.vertices)
    if count == 0:
        raise SplatsError(f"'{thing.name}' has no splats left.")
    degree = int(mesh[DEGREE_PROPERTY])
    rotation = _read(mesh, RAW_ROTATION, "FLOAT_COLOR")
    shape = _read(mesh, RAW_SHAPE, "FLOAT_COLOR")
    channels = [
        np.concatenate(
            [_read(mesh, sh_attribute(channel, q), "FLOAT_COLOR") for q in range(quad_count(degree))], 1
        )[:, : coefficient_count(degree)]
        for channel in CHANNELS
    ]
    return Splats(
        positions=_read(mesh, "position", "FLOAT_VECTOR"),
        log_scales=np.ascontiguousarray(shape[:, :3]),
        rotations=rotation[:, [3, 0, 1, 2]],
        opacity_logits=np.ascontiguousarray(shape[:, 3]),
        sh=np.stack(channels, 2),
    )


def prepare_cycles(scene: Any) -> None:
    """Let rays of Cycles pass as many splats as it takes; never lowers the artist's setting."""
    cycles = scene.cycles
    cycles.transparent_max_bounces = max(cycles.transparent_max_bounces, CYCLES_TRANSPARENT_BOUNCES)


def _write_attributes(mesh: Any, splats: Splats) -> None:
    count = len(splats)
    mesh.vertices.add(count)
    _write(mesh, "position", "FLOAT_VECTOR", splats.positions)
    _write(mesh, RAW_ROTATION, "FLOAT_COLOR", splats.rotations[:, [1, 2, 3, 0]])
    _write(mesh, RAW_SHAPE, "FLOAT_COLOR", np.column_stack([splats.log_scales, splats.opacity_logits]))
    for c, channel in enumerate(CHANNELS):
        for q in range(quad_count(splats.degree)):
            own = splats.sh[:, 4 * q : 4 * q + 4, c]
            four = np.zeros((count, 4), np.float32)
            four[:, : own.shape[1]] = own
            _write(mesh, sh_attribute(channel, q), "FLOAT_COLOR", four)
    mesh[DEGREE_PROPERTY] = splats.degree
    mesh.update()


def _write(mesh: Any, name: str, kind: str, values: NDArray[np.float32]) -> None:
    attribute = mesh.attributes.get(name) or mesh.attributes.new(name, kind, "POINT")
    attribute.data.foreach_set(_VALUE[kind], np.ascontiguousarray(values, np.float32).ravel())


def _read(mesh: Any, name: str, kind: str) -> NDArray[np.float32]:
    attribute = mesh.attributes.get(name)
    if attribute is None or attribute.data_type != kind or attribute.domain != "POINT":
        raise SplatsError(f"'{mesh.name}' lost its attribute '{name}'; import the splats again.")
    width = 3 if kind == "FLOAT_VECTOR" else 4
    values = np.empty(len(mesh.vertices) * width, np.float32)
    attribute.data.foreach_get(_VALUE[kind], values)
    return values.reshape(-1, width)
