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
from backend.uvspace.kernels import compiled, in_bands
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

    tangent = drawn.interpolate(tangents.reshape(-1, 4), corner_rows)
    _make_unit_or_zero(tangent[..., :3])
    # Signs agree over a triangle, so weights summing to one leave them ±1 up to rounding.
    np.sign(tangent[..., 3], out=tangent[..., 3])
    normal = drawn.interpolate(normals, head.triangles)
    _make_unit_or_zero(normal)
    return ChartMaps(
        face_id=drawn.triangle,
        barycentric=drawn.barycentric,
        inside=drawn.covered,
        position_head=drawn.interpolate(np.asarray(vertices_head, np.float32), head.triangles),
        normal_head=normal,
        tangent_head=tangent,
    )


def tangent_to_head(normal_head: F32, tangent_head: F32, normal_tangent: F32) -> F32:
    """Unit head-space normals ``(..., 3)`` of tangent-space ones, OpenGL (+Y), in MikkTSpace frames.

    ``normal_head`` ``(..., 3)`` and ``tangent_head`` ``(..., 4)`` as interpolated; the bitangent is their
    cross product times the sign and, as MikkTSpace has it, is not made unit.
    """
    shape = np.broadcast_shapes(normal_head.shape[:-1], tangent_head.shape[:-1], normal_tangent.shape[:-1])
    n, t, m = (
        np.ascontiguousarray(np.broadcast_to(a, (*shape, a.shape[-1])), np.float32).reshape(-1, a.shape[-1])
        for a in (normal_head, tangent_head, normal_tangent)
    )
    out = np.empty((len(n), 3), np.float32)
    in_bands(lambda start, end: _tangent_to_head(n, t, m, start, end, out), len(out), least_rows=8192)
    return out.reshape(*shape, 3)


@compiled
def _tangent_to_head(n: F32, t: F32, m: F32, start: int, end: int, out: F32) -> None:
    for k in range(start, end):
        sign = t[k, 3]
        bx = sign * (n[k, 1] * t[k, 2] - n[k, 2] * t[k, 1])
        by = sign * (n[k, 2] * t[k, 0] - n[k, 0] * t[k, 2])
        bz = sign * (n[k, 0] * t[k, 1] - n[k, 1] * t[k, 0])
        x = m[k, 0] * t[k, 0] + m[k, 1] * bx + m[k, 2] * n[k, 0]
        y = m[k, 0] * t[k, 1] + m[k, 1] * by + m[k, 2] * n[k, 1]
        z = m[k, 0] * t[k, 2] + m[k, 1] * bz + m[k, 2] * n[k, 2]
        length = np.sqrt(x * x + y * y + z * z)
        inverse = 1.0 / length if length > 1e-20 else 0.0
        out[k, 0], out[k, 1], out[k, 2] = x * inverse, y * inverse, z * inverse


def unit_or_zero(vectors: NDArray[np.floating[Any]]) -> F32:
    """``(..., C)`` vectors over their length, float32; 0 where there is none."""
    out = np.array(vectors, np.float32, order="C")
    _make_unit_or_zero(out)
    return out


def _make_unit_or_zero(vectors: F32) -> None:
    """``unit_or_zero`` in place; the last axis alone need be contiguous. 4096² maps are too large to copy."""
    flat = vectors.reshape(-1, vectors.shape[-1]) if vectors.ndim != 3 else vectors
    rows = flat[:, None] if flat.ndim == 2 else flat
    in_bands(lambda start, end: _unit_rows(rows, start, end), len(rows), least_rows=16)


@compiled
def _unit_rows(vectors: F32, start: int, end: int) -> None:
    for y in range(start, end):
        for x in range(vectors.shape[1]):
            square = 0.0
            for c in range(vectors.shape[2]):
                square += vectors[y, x, c] * vectors[y, x, c]
            inverse = 1.0 / np.sqrt(square) if square > 1e-40 else 0.0
            for c in range(vectors.shape[2]):
                vectors[y, x, c] *= inverse
