"""One Blender object per part of the head, with charts, shape keys and drivers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..bundle import Mesh
from .space import to_scene

UV_LAYER = "UVMap"
HEAD_PART = "skin"  # the part whose shape keys drive all others
CORRECTIVE_PREFIX = "corrective "  # of shape keys that drivers alone set
# Soft masks for make-up, an attribute per vertex in [0, 1].
LIPS_MASK, BLUSH_MASK = "likeness_lips", "likeness_blush"


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
    is_own = np.zeros(len(mesh.vertices_neutral_head), bool)
    is_own[faces[used]] = True
    vertex, row = np.flatnonzero(is_own), np.cumsum(is_own) - 1
    corners = row[faces[used]]
    length = used.sum(axis=1)
    return PartFaces(
        name=part,
        vertex=vertex.astype(np.int64),
        corners=corners.astype(np.int32),
        corner_uvs=mesh.uvs[uvs[used]],
        face_start=(np.cumsum(length) - length).astype(np.int32),
    )


def update_part(obj: Any, mesh: Mesh, faces: PartFaces) -> bool:
    """Move the vertices of ``obj`` to ``mesh``'s; False when its faces differ and it must be built anew."""
    data = obj.data
    if len(data.vertices) != len(faces.vertex) or len(data.loops) != len(faces.corners):
        return False
    corners = np.empty(len(faces.corners), np.int32)
    data.loops.foreach_get("vertex_index", corners)
    if not np.array_equal(corners, faces.corners):
        return False
    positions = to_scene(mesh.vertices_neutral_head[faces.vertex]).astype(np.float32).ravel()
    data.vertices.foreach_set("co", positions)
    if data.shape_keys is not None:
        data.shape_keys.reference_key.points.foreach_set("co", positions)
    data.update()
    return True


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


@dataclass(frozen=True)
class PartMotion:
    """The expressions of one part, ready for its shape keys."""

    names: tuple[str, ...]  # all of the mesh, whether they move this part or not
    weights: NDArray[np.float32]  # (E,) fitted
    neutral: NDArray[np.float32]  # (v, 3) scene space, metres
    start: NDArray[np.int64]  # (E + 1,) expression e owns rows start[e]:start[e + 1]
    row: NDArray[np.int64]  # (n,) vertex of the part
    offset: NDArray[np.float32]  # (n, 3) scene space, metres at weight 1

    @property
    def moving(self) -> tuple[str, ...]:
        """The expressions that move at least one vertex of this part, in the mesh's order."""
        moves = np.diff(self.start) > 0
        return tuple(name for name, own in zip(self.names, moves, strict=True) if own)


def part_motion(mesh: Mesh, faces: PartFaces) -> PartMotion:
    """What the expressions of ``mesh`` do to the part ``faces``."""
    row_in_part = np.full(len(mesh.vertices_neutral_head), -1, np.int64)
    row_in_part[faces.vertex] = np.arange(len(faces.vertex))
    row = row_in_part[mesh.expressions.vertex]
    own = row >= 0
    before = np.concatenate([[0], np.cumsum(own)])
    return PartMotion(
        names=mesh.expression_names,
        weights=mesh.expression_weights,
        neutral=to_scene(mesh.vertices_neutral_head[faces.vertex]).astype(np.float32),
        start=before[mesh.expressions.start],
        row=row[own],
        offset=to_scene(mesh.expressions.offset[own]).astype(np.float32),
    )


def part_correctives(mesh: Mesh, faces: PartFaces) -> PartMotion:
    """What the correctives of ``mesh`` do to the part ``faces``, by the names of their keys, at rest."""
    moved = replace(
        mesh,
        expression_names=corrective_keys(mesh),
        expressions=mesh.correctives.offsets,
        expression_weights=np.zeros(len(mesh.correctives), np.float32),
    )
    return part_motion(moved, faces)


def corrective_keys(mesh: Mesh) -> tuple[str, ...]:
    """The names of the keys that hold the correctives of ``mesh``, in their order."""
    return tuple(f"{CORRECTIVE_PREFIX}{name}" for name in mesh.correctives.names(mesh.expression_names))


def drive_correctives(leader: Any, mesh: Mesh, moving: Collection[str]) -> None:
    """Let the product of the expressions' keys drive the corrective keys.

    Bone keys count with them where the corrective is among those ``moving`` the leader itself. The others
    are the eyeballs', which bones turn by themselves.
    """
    keys = leader.data.shape_keys.key_blocks
    for key_name, factors in zip(corrective_keys(mesh), mesh.correctives.factors, strict=True):
        key = keys[key_name]
        key.driver_remove("value")
        driver = key.driver_add("value").driver
        driver.type = "SCRIPTED"
        terms = []
        for k, factor in enumerate(factors[factors != -1]):
            expression = mesh.expression_names[factor if factor >= 0 else -2 - factor]
            summed = [expression]
            if key_name in moving and bone_key(expression) in keys:
                summed.append(bone_key(expression))
            for part, name in enumerate(summed):
                variable = driver.variables.new()
                variable.name = f"w{k}{'ab'[part]}"
                target = variable.targets[0]
                target.id_type = "KEY"
                target.id = leader.data.shape_keys
                target.data_path = f'key_blocks["{name}"].value'
            total = " + ".join(f"w{k}{'ab'[part]}" for part in range(len(summed)))
            terms.append(f"min({total}, 1)" if factor >= 0 else f"(1 - min({total}, 1))")
        # Simple enough for Blender's own evaluator: it runs where Python scripts are not trusted.
        driver.expression = " * ".join(terms)


def set_shape_keys(obj: Any, motion: PartMotion, names: Sequence[str], *, for_bones: bool = False) -> None:
    """Give ``obj`` the keys of the expressions ``names``, each at its fitted weight; existing ones are set.

    ``for_bones`` makes second keys, at 0 and named by ``bone_key``: a bone can show an expression through
    them while the artist's (or a face capture's) own key stays free.
    """
    if obj.data.shape_keys is None:
        obj.shape_key_add(name="Basis", from_mix=False)
    keys = obj.data.shape_keys.key_blocks
    for expression in names:
        e = motion.names.index(expression)
        own = slice(int(motion.start[e]), int(motion.start[e + 1]))
        positions = motion.neutral.copy()
        positions[motion.row[own]] += motion.offset[own]
        name = bone_key(expression) if for_bones else expression
        key = keys.get(name) or obj.shape_key_add(name=name, from_mix=False)
        key.points.foreach_set("co", positions.ravel())
        if not for_bones:
            key.value = float(motion.weights[e])


def bone_key(expression: str) -> str:
    """The name of the key through which bones show ``expression``."""
    return f"bone {expression}"


def follow_shape_keys(follower: Any, leader: Any) -> None:
    """Drive the shape keys of ``follower`` by those of ``leader`` that have the same name."""
    leading = leader.data.shape_keys
    own = follower.data.shape_keys
    for key in own.key_blocks:
        if key == own.reference_key or key.name not in leading.key_blocks:
            continue
        path = f'key_blocks["{key.name}"].value'
        if own.animation_data and own.animation_data.drivers.find(path):
            continue
        driver = key.driver_add("value").driver
        driver.type = "SUM"
        variable = driver.variables.new()
        variable.name = "weight"
        target = variable.targets[0]
        target.id_type = "KEY"
        target.id = leading
        target.data_path = path


def set_mask(obj: Any, attribute: str, mask: NDArray[np.float32]) -> None:
    """Write ``mask`` ``(v,)`` in [0, 1] as an attribute of the points, for materials to read."""
    layer = obj.data.attributes.get(attribute)
    if layer is None:
        layer = obj.data.attributes.new(attribute, "FLOAT", "POINT")
    layer.data.foreach_set("value", np.ascontiguousarray(mask, np.float32))


def add_subdivision(obj: Any, viewport: int, render: int) -> None:
    """Smooth the surface (Catmull–Clark); displacement needs the render level's density."""
    modifier = obj.modifiers.new("Subdivision", "SUBSURF")
    modifier.levels = viewport
    modifier.render_levels = render
