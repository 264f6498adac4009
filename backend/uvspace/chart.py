"""A head's geometry laid into its skin chart: what unwrap, baking and UV-space shading share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps
from backend.errors import BadInput
from backend.head.base import ParametricHead
from backend.uvspace.buffers import RasterBuffers
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_chart
from backend.uvspace.tangents import corner_tangents

SKIN_PART = 0  # ParametricHead: "skin" is the first part and the only one in the skin chart


@dataclass(frozen=True)
class _ChartKey:
    """What a chart's rasterisation depends on: compared by digest, carrying the arrays to draw it."""

    name: str
    size: int
    digest: bytes
    uvs: NDArray[np.float32] = field(compare=False, repr=False)
    triangle_uvs: NDArray[np.int32] = field(compare=False, repr=False)
    skin: NDArray[np.int64] = field(compare=False, repr=False)


def skin_triangles(head: ParametricHead) -> NDArray[np.int64]:
    """Rows of ``head.triangles`` that lie in the skin chart."""
    return np.flatnonzero(head.triangle_part == SKIN_PART)


def chart_raster(head: ParametricHead, size: int) -> RasterBuffers:
    """Which skin triangle owns each texel of the ``size×size`` chart; kept for the last few (head, size).

    The arrays are shared between callers and read-only.
    """
    skin = skin_triangles(head)
    digest = hashlib.blake2b(digest_size=16)
    for part in (head.uvs, head.triangle_uvs, skin):
        digest.update(part.tobytes())
    return _drawn_chart(_ChartKey(head.name, size, digest.digest(), head.uvs, head.triangle_uvs, skin))


@lru_cache(maxsize=3)
def _drawn_chart(key: _ChartKey) -> RasterBuffers:
    drawn = rasterise_chart(key.uvs, key.triangle_uvs, key.size, key.skin)
    for array in (drawn.triangle, drawn.barycentric, drawn.depth):
        array.setflags(write=False)
    return drawn


def chart_maps(head: ParametricHead, vertices_head: NDArray[np.floating[Any]], size: int) -> ChartMaps:
    """Position, smooth normal and MikkTSpace tangent of the skin at every texel of its chart.

    ``vertices_head`` ``(V, 3)`` in metres, any identity and expression; ``size`` texels a side.
    Raises: BadInput when ``vertices_head`` does not belong to ``head``.
    """
    if np.shape(vertices_head) != head.mean_vertices.shape:
        raise BadInput(
            f"head '{head.name}' has {len(head.mean_vertices)} vertices, not an array of shape "
            f"{np.shape(vertices_head)}"
        )
    drawn = chart_raster(head, size)
    normals = vertex_normals(vertices_head, head.triangles)
    skin = skin_triangles(head)
    tangents = np.zeros((len(head.triangles), 3, 4), np.float32)
    tangents[skin] = corner_tangents(
        vertices_head, normals, head.triangles[skin], head.uvs, head.triangle_uvs[skin]
    )
    corner_rows = np.arange(3 * len(head.triangles), dtype=np.int32).reshape(-1, 3)

    position_normal = drawn.interpolate(
        np.concatenate([np.asarray(vertices_head, np.float32), normals], 1), head.triangles
    )
    tangent = drawn.interpolate(tangents.reshape(-1, 4), corner_rows)
    return ChartMaps(
        face_id=drawn.triangle,
        barycentric=drawn.barycentric,
        inside=drawn.covered,
        position_head=np.ascontiguousarray(position_normal[..., :3]),
        normal_head=unit_or_zero(position_normal[..., 3:]),
        tangent_head=np.concatenate(
            # Signs agree over a triangle, so weights summing to one leave them ±1 up to rounding.
            [unit_or_zero(tangent[..., :3]), np.sign(tangent[..., 3:])],
            -1,
        ),
    )


def tangent_to_head(normal_head: F32, tangent_head: F32, normal_tangent: F32) -> F32:
    """Unit head-space normals ``(..., 3)`` of tangent-space ones, OpenGL (+Y), in MikkTSpace frames.

    ``normal_head`` ``(..., 3)`` and ``tangent_head`` ``(..., 4)`` as interpolated; the bitangent is their
    cross product times the sign and, as MikkTSpace has it, is not made unit.
    """
    bitangent = tangent_head[..., 3:] * np.cross(normal_head, tangent_head[..., :3])
    return unit_or_zero(
        normal_tangent[..., :1] * tangent_head[..., :3]
        + normal_tangent[..., 1:2] * bitangent
        + normal_tangent[..., 2:] * normal_head
    )


def unit_or_zero(vectors: NDArray[np.floating[Any]]) -> F32:
    """``(..., C)`` vectors over their length, float32; 0 where there is none."""
    v = np.asarray(vectors, np.float32)
    length = np.sqrt(np.einsum("...c,...c->...", v, v))[..., None]
    return np.divide(v, length, out=np.zeros_like(v), where=length > 1e-20)
