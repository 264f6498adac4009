"""Somebody's scan (OBJ, GLB, PLY) as a subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from backend.colour import srgb_to_linear
from backend.errors import BadInput
from backend.evaluation.truth_mesh import TruthMesh, check_mesh
from backend.uvspace.chart import tangent_to_head, unit_or_zero
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_chart
from backend.uvspace.seams import dilate
from backend.uvspace.tangents import corner_tangents
from blender_addon.scene.space import to_head
from synthdata.cases.subject import F32, I32, Subject

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
UPS = ("y", "z")
ROUGHNESS, SPECULAR = 0.5, 0.4  # assumed where the scan brings no maps; never written as truth


def read_scan(
    path: Path, albedo: Path, normal: Path | None, units: str = "m", up: str = "y", turn_degrees: float = 0.0
) -> Subject:
    """The scan at ``path`` with its maps, its middle at the origin, the face to +Z.

    ``up`` "y" takes the face to look along the file's +Z, "z" along its −Y; ``turn_degrees`` turns the head
    about the vertical after that (positive: towards its left). The normal map is tangent space, OpenGL.
    Raises: BadInput with one line on what is wrong.
    """
    vertices, triangles, uvs = _mesh(path)
    name = f"'{path.name}'"
    if up == "z":
        vertices = vertices[:, [0, 2, 1]] * np.array([1, 1, -1], np.float32)
    angle = np.radians(turn_degrees)
    c, s = np.cos(angle), np.sin(angle)
    turned = vertices.astype(np.float64) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T
    placed = METRES[units] * turned
    problem = check_mesh(
        TruthMesh.from_arrays(
            {"vertices_head": placed, "triangles": triangles, "uvs": uvs[0], "triangle_uvs": uvs[1]}
        )
    )
    if problem:
        raise BadInput(f"{name} {problem}" + (" with --units" if "Scale it" in problem else ""))
    used = np.unique(triangles)
    placed -= 0.5 * (placed[used].min(0) + placed[used].max(0))
    head = placed.astype(np.float32)
    colour = _picture(albedo)
    size = len(colour)
    maps: dict[str, NDArray[Any]] = {"albedo": colour}
    normal_map = None
    if normal is not None:
        maps["normal"] = _picture(normal)
        normal_map = _normals_in_head(maps["normal"], head, triangles, *uvs)
    return Subject(
        vertices_head=head,
        triangles=triangles,
        is_skin=np.ones(len(triangles), bool),
        uvs=uvs[0],
        triangle_uvs=uvs[1],
        face=np.ones(len(head), np.float32),
        albedo_linear=srgb_to_linear(colour.astype(np.float32) / 255),
        roughness=np.full((size, size), ROUGHNESS, np.float32),
        specular=np.full((size, size), SPECULAR, np.float32),
        normal_map_head=normal_map,
        maps=maps,
    )


def _mesh(path: Path) -> tuple[F32, I32, tuple[F32, I32]]:
    """Vertices in the file's own axes, triangles, UVs and their triangles. Raises: BadInput."""
    if not path.is_file():
        raise BadInput(f"there is no scan '{path}'")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    importers = {
        # These axes are those of head space: Blender turns them into its own, to_head back.
        ".obj": lambda: bpy.ops.wm.obj_import(filepath=str(path), forward_axis="NEGATIVE_Z", up_axis="Y"),
        ".ply": lambda: bpy.ops.wm.ply_import(filepath=str(path), forward_axis="NEGATIVE_Z", up_axis="Y"),
        ".glb": lambda: bpy.ops.import_scene.gltf(filepath=str(path)),
        ".gltf": lambda: bpy.ops.import_scene.gltf(filepath=str(path)),
    }
    importer = importers.get(path.suffix.lower())
    if importer is None:
        raise BadInput(f"'{path.name}' is not an .obj, .glb, .gltf or .ply file")
    if path.suffix.lower() == ".obj":
        _refuse_what_is_no_number(path)
    try:
        importer()
    except RuntimeError as error:
        reason = " ".join(str(error).split()).removeprefix("Error: ")
        raise BadInput(f"'{path.name}' cannot be read ({reason})") from error
    meshes = [obj for obj in bpy.context.scene.objects if obj.type == "MESH" and len(obj.data.polygons)]
    if not meshes:
        raise BadInput(f"'{path.name}' holds no faces; a scan needs a triangle mesh")
    points, corners, charts = [], [], []
    count = 0
    for obj in meshes:
        data = obj.data
        if not data.uv_layers:
            raise BadInput(f"'{path.name}' has no UVs, without which its albedo map has no place")
        data.calc_loop_triangles()
        own = np.empty(3 * len(data.vertices), np.float32)
        data.vertices.foreach_get("co", own)
        matrix = np.array(obj.matrix_world)
        points.append(to_head(own.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]))
        loops = np.empty(3 * len(data.loop_triangles), np.int32)
        data.loop_triangles.foreach_get("loops", loops)
        vertex = np.empty(len(data.loops), np.int32)
        data.loops.foreach_get("vertex_index", vertex)
        uv = np.empty(2 * len(data.loops), np.float32)
        data.uv_layers.active.uv.foreach_get("vector", uv)
        corners.append(vertex[loops].reshape(-1, 3) + count)
        charts.append(uv.reshape(-1, 2)[loops])
        count += len(data.vertices)
    unique, rows = np.unique(np.concatenate(charts), axis=0, return_inverse=True)
    triangles = np.concatenate(corners).astype(np.int32)
    return (
        np.concatenate(points).astype(np.float32),
        triangles,
        (unique.astype(np.float32), rows.reshape(-1, 3).astype(np.int32)),
    )


def _refuse_what_is_no_number(path: Path) -> None:
    """Blender's importer reads NaN as 0, a spike that no later check could tell. Raises: BadInput."""
    with path.open("rb") as lines:
        bad = sum(
            line.startswith(b"v ") and (b"nan" in line.lower() or b"inf" in line.lower()) for line in lines
        )
    if bad:
        raise BadInput(f"'{path.name}' has {bad} vertices that are NaN or infinite; repair the scan")


def _picture(path: Path) -> NDArray[np.uint8]:
    """A square RGB picture ``(S, S, 3)``. Raises: BadInput."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise BadInput(f"there is no map '{path}'") from None
    except (OSError, UnidentifiedImageError) as error:
        raise BadInput(f"the map '{path.name}' cannot be read ({error})") from error
    if pixels.shape[0] != pixels.shape[1]:
        raise BadInput(f"the map '{path.name}' is {pixels.shape[1]}×{pixels.shape[0]}; maps must be square")
    return pixels


def _normals_in_head(
    encoded: NDArray[np.uint8], vertices: F32, triangles: I32, uvs: F32, triangle_uvs: I32
) -> F32:
    """The tangent-space normal map as unit head-space normals ``(S, S, 3)``."""
    drawn = rasterise_chart(uvs, triangle_uvs, len(encoded))
    normals = vertex_normals(vertices, triangles)
    tangents = corner_tangents(vertices, normals, triangles, uvs, triangle_uvs)
    corners = np.arange(3 * len(triangles), dtype=np.int32).reshape(-1, 3)
    tangent = drawn.interpolate(tangents.reshape(-1, 4), corners)
    tangent = np.concatenate([unit_or_zero(tangent[..., :3]), np.sign(tangent[..., 3:])], -1)
    base = unit_or_zero(drawn.interpolate(normals, triangles))
    normal = tangent_to_head(base, tangent, encoded.astype(np.float32) / 127.5 - 1)
    return dilate(normal, drawn.covered, 16)
