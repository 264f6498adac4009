"""One Blender object per part of the head, with charts, shape keys and drivers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..bundle import Mesh
from .space import to_scene

UV_LAYER = "UVMap"
HEAD_PART = "skin"  # the part whose shape keys drive all others


@dataclass(frozen=True)
class PartFaces:
    """One part of a head as a mesh of its own."""

    name: str
    vertex: NDArray[np.int64]  # (v,) rows of Mesh.vertices_neutral_head
    corners: NDArray[np.int32]  # (c,) row of ``vertex`` at every face corner
    corner_uvs: NDArray[np.float32]  # (c, 2)
    face_start: NDArray[np.int32]  # (f,) first corner of every face


def part_faces(mesh: Mesh, part: str, *, triangulated: bool = False) -> PartFaces:
    """The faces of ``part``: quads as the artist wants them, or the one triangulation of the maps."""
    index = mesh.part_names.index(part)
    if triangulated:
        own = mesh.quad_part[mesh.triangle_quad] == index
        faces, uvs = mesh.triangles[own], mesh.triangle_uvs[own]
    else:
        own = mesh.quad_part == index
        faces, uvs = mesh.quads[own], mesh.quad_uvs[own]
    used = faces >= 0
    vertex, corners = np.unique(faces[used], return_inverse=True)
    length = used.sum(axis=1)
    return PartFaces(
        name=part,
        vertex=vertex.astype(np.int64),
        corners=corners.astype(np.int32),
        corner_uvs=mesh.uvs[uvs[used]],
        face_start=(np.cumsum(length) - length).astype(np.int32),
    )


def build_part(mesh: Mesh, faces: PartFaces, name: str) -> Any:
    """A smooth-shaded mesh object of ``faces`` at the neutral expression, without material."""
    data = bpy.data.meshes.new(name)
    data.vertices.add(len(faces.vertex))
    data.loops.add(len(faces.corners))
    data.polygons.add(len(faces.face_start))
    positions = to_scene(mesh.vertices_neutral_head[faces.vertex])
    data.vertices.foreach_set("co", positions.astype(np.float32).ravel())
    data.loops.foreach_set("vertex_index", faces.corners)
    data.polygons.foreach_set("loop_start", faces.face_start)
    data.polygons.foreach_set("use_smooth", np.ones(len(faces.face_start), bool))
    data.uv_layers.new(name=UV_LAYER).uv.foreach_set("vector", faces.corner_uvs.ravel())
    data.update(calc_edges=True)
    if data.validate():
        raise ValueError(f"part '{faces.name}' has faces that Blender had to remove")
    return bpy.data.objects.new(name, data)


def add_shape_keys(obj: Any, mesh: Mesh, faces: PartFaces, *, only_moving: bool) -> tuple[str, ...]:
    """Add a key per expression at its fitted weight; returns the names added.

    ``only_moving`` leaves out expressions that move no vertex of this part.
    """
    row_in_part = np.full(len(mesh.vertices_neutral_head), -1, np.int64)
    row_in_part[faces.vertex] = np.arange(len(faces.vertex))
    neutral = to_scene(mesh.vertices_neutral_head[faces.vertex]).astype(np.float32)
    added: list[str] = []
    for e, name in enumerate(mesh.expression_names):
        vertices, offsets = mesh.expressions.rows(e)
        rows = row_in_part[vertices]
        own = rows >= 0
        if only_moving and not own.any():
            continue
        if not added:
            obj.shape_key_add(name="Basis", from_mix=False)
        positions = neutral.copy()
        positions[rows[own]] += to_scene(offsets[own]).astype(np.float32)
        key = obj.shape_key_add(name=name, from_mix=False)
        key.points.foreach_set("co", positions.ravel())
        key.value = float(mesh.expression_weights[e])
        added.append(name)
    return tuple(added)


def follow_shape_keys(follower: Any, leader: Any, names: tuple[str, ...]) -> None:
    """Drive the shape keys ``names`` of ``follower`` by those of ``leader``."""
    for name in names:
        driver = follower.data.shape_keys.key_blocks[name].driver_add("value").driver
        driver.type = "SUM"
        variable = driver.variables.new()
        variable.name = "weight"
        target = variable.targets[0]
        target.id_type = "KEY"
        target.id = leader.data.shape_keys
        target.data_path = f'key_blocks["{name}"].value'


def add_subdivision(obj: Any, viewport: int, render: int) -> None:
    """Smooth the surface (Catmull–Clark); displacement needs the render level's density."""
    modifier = obj.modifiers.new("Subdivision", "SUBSURF")
    modifier.levels = viewport
    modifier.render_levels = render
