"""Meshes, strands and textures from arrays in head space."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from blender_addon.scene.head_mesh import UV_LAYER
from blender_addon.scene.space import to_scene

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
_TIP = 0.35  # of the radius at the root


def fill(data: Any, vertices_head: F32, faces: I32) -> None:
    """Smooth faces ``(F, k)`` over vertices ``(V, 3)`` in metres into the empty mesh ``data``."""
    data.vertices.add(len(vertices_head))
    data.loops.add(faces.size)
    data.polygons.add(len(faces))
    data.vertices.foreach_set("co", to_scene(vertices_head).astype(np.float32).ravel())
    data.loops.foreach_set("vertex_index", faces.ravel())
    starts = np.arange(0, faces.size, faces.shape[1], dtype=np.int32)
    data.polygons.foreach_set("loop_start", starts)
    data.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    data.update(calc_edges=True)


def charted(name: str, vertices_head: F32, faces: I32, uvs: F32, face_uvs: I32) -> Any:
    """A mesh of triangles ``(F, 3)`` with the chart ``uvs`` ``(U, 2)``, without loose vertices."""
    data = bpy.data.meshes.new(name)
    used, corners = np.unique(faces, return_inverse=True)
    fill(data, vertices_head[used], corners.reshape(-1, 3).astype(np.int32))
    data.uv_layers.new(name=UV_LAYER).uv.foreach_set("vector", uvs[face_uvs].astype(np.float32).ravel())
    return data


def strand_curves(name: str, strands: F32, radius_m: float) -> Any:
    """Curves through ``strands`` ``(N, n, 3)``, thinner towards their tips."""
    count, points = strands.shape[:2]
    data = bpy.data.hair_curves.new(name)
    data.add_curves([points] * count)
    data.position_data.foreach_set("vector", to_scene(strands).astype(np.float32).ravel())
    taper = np.linspace(1.0, _TIP, points, dtype=np.float32)
    radius = data.attributes.new("radius", "FLOAT", "POINT")
    radius.data.foreach_set("value", np.tile(radius_m * taper, count))
    return data


def texture(tree: Any, name: str, values: F32) -> Any:
    """An image node of linear ``values`` ``(S, S[, 3])``, kept as floats."""
    size = values.shape[0]
    image = bpy.data.images.new(name, size, size, alpha=False, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    rgba = np.ones((size, size, 4), np.float32)
    rgba[..., :3] = values[..., None] if values.ndim == 2 else values
    image.pixels.foreach_set(rgba[::-1].ravel())
    image.update()
    image.pack()
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image, node.extension = image, "EXTEND"
    chart = tree.nodes.new("ShaderNodeUVMap")
    chart.uv_map = UV_LAYER
    tree.links.new(chart.outputs["UV"], node.inputs["Vector"])
    return node
