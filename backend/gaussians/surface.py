"""Gaussians bound to the triangles of a head: laid out on charts, carried by the mesh as it moves.

A triangle's frame has its first edge, its normal and their cross product as axes. A Gaussian keeps its
barycentric place, its offset and its rotation in that frame, so that any motion of the mesh moves it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.head.base import ParametricHead
from backend.uvspace.kernels import compiled, in_bands
from backend.uvspace.rasterise import rasterise_chart
from blender_addon.splats import Splats

I32 = NDArray[np.int32]
SPREAD = 0.66  # standard deviation over the distance between neighbours
LEAST_TEXEL_M, LARGEST_TEXEL_M = 2e-4, 2e-2  # the back of the head has texels of 15 mm
THICKNESS = 0.2  # of a flat Gaussian across the surface, over its smaller extent


@dataclass(frozen=True)
class BoundGaussians:
    """N Gaussians on a mesh; values before activation as in ``blender_addon.splats.Splats``."""

    triangle: I32  # (N,) row of the mesh's triangles
    barycentric: F32  # (N, 3)
    offset: F32  # (N, 3) metres in the triangle's frame
    rotation: F32  # (N, 4) quaternion w, x, y, z from own axes to the triangle's frame
    log_scales: F32  # (N, 3) ln of metres
    opacity_logits: F32  # (N,)
    sh: F32  # (N, K, 3) as seen on the photographed face, head space
    albedo_linear: F32  # (N, 3) what light is reflected, for new light
    normal: F32  # (N, 3) unit, in the triangle's frame
    part: NDArray[np.uint8]  # (N,) index into the head's part names; HAIR for hair

    def __len__(self) -> int:
        return len(self.triangle)

    def chosen(self, rows: NDArray[Any]) -> Self:
        """Only ``rows``, an index or a mask."""
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))

    def joined(self, other: Self) -> Self:
        """These before ``other``."""
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return type(self)(*(np.concatenate(pair) for pair in pairs))


HAIR = 255


def placed(bound: BoundGaussians, vertices: NDArray[np.floating[Any]], triangles: I32) -> Splats:
    """The Gaussians in head space on ``vertices`` ``(V, 3)``, metres."""
    count = len(bound)
    corners = np.ascontiguousarray(vertices, np.float32)
    positions, rotations = np.empty((count, 3), np.float32), np.empty((count, 4), np.float32)
    in_bands(
        lambda start, end: _place_rows(
            bound.triangle,
            bound.barycentric,
            bound.offset,
            bound.rotation,
            corners,
            triangles,
            start,
            end,
            positions,
            rotations,
        ),
        count,
        least_rows=4096,
    )
    return Splats(positions, bound.log_scales, rotations, bound.opacity_logits, bound.sh)


def triangle_frames(vertices: NDArray[np.floating[Any]], corners: I32) -> F64:
    """Frames ``(N, 3, 3)`` of triangles ``(N, 3)``; columns are edge, cross product, normal."""
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[corners], 1, 0)
    edge, normal = b - a, np.cross(b - a, c - a)
    edge /= np.maximum(np.linalg.norm(edge, axis=1, keepdims=True), 1e-12)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-18)
    return np.stack([edge, np.cross(normal, edge), normal], 2)


def bind(
    splats: Splats,
    triangle: I32,
    barycentric: F32,
    vertices: NDArray[np.floating[Any]],
    triangles: I32,
    albedo_linear: F32,
    normals: NDArray[np.floating[Any]],
    part: NDArray[np.uint8],
) -> BoundGaussians:
    """``splats`` and their ``normals`` ``(N, 3)``, all in head space, tied to points of the mesh."""
    corners = triangles[triangle]
    frames = triangle_frames(vertices, corners)
    at = np.einsum("nk,nkc->nc", barycentric, np.asarray(vertices, np.float64)[corners])
    back = quaternions_of(np.swapaxes(frames, 1, 2))
    return BoundGaussians(
        triangle=np.asarray(triangle, np.int32),
        barycentric=np.asarray(barycentric, np.float32),
        offset=np.einsum("nij,ni->nj", frames, splats.positions - at).astype(np.float32),
        rotation=products(back, splats.quaternions()).astype(np.float32),
        log_scales=splats.log_scales,
        opacity_logits=splats.opacity_logits,
        sh=splats.sh,
        albedo_linear=np.asarray(albedo_linear, np.float32),
        normal=np.einsum("nij,ni->nj", frames, normals).astype(np.float32),
        part=part,
    )


@dataclass(frozen=True)
class ChartPoints:
    """Texels of a part's chart as points of its surface."""

    triangle: I32  # (N,)
    barycentric: F32  # (N, 3)
    uv: F32  # (N, 2)
    position: F64  # (N, 3) head space, metres
    across: F64  # (N, 3) metres to the neighbour along u
    along: F64  # (N, 3) metres to the neighbour along v


def chart_points(
    head: ParametricHead, vertices: NDArray[np.floating[Any]], part: int, size: int, every: int = 1
) -> ChartPoints:
    """Every ``every``-th texel, each way, of the part's ``size``² chart on ``vertices`` ``(V, 3)``."""
    rows = np.flatnonzero(head.triangle_part == part)
    drawn = rasterise_chart(head.uvs, head.triangle_uvs, size, rows)
    grid = np.zeros(drawn.triangle.shape, bool)
    grid[every // 2 :: every, every // 2 :: every] = True
    row, column = np.nonzero(grid & drawn.covered)
    triangle, barycentric = drawn.triangle[row, column], drawn.barycentric[row, column]
    p = np.asarray(vertices, np.float64)[head.triangles[triangle]]
    t = np.asarray(head.uvs, np.float64)[head.triangle_uvs[triangle]]
    e1, e2, d1, d2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0], t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]
    area = d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0]
    step = every / size / np.where(np.abs(area) > 1e-12, area, np.inf)
    return ChartPoints(
        triangle=triangle.astype(np.int32),
        barycentric=barycentric,
        uv=np.stack([(column + 0.5) / size, 1 - (row + 0.5) / size], 1).astype(np.float32),
        position=np.einsum("nk,nkc->nc", barycentric, p),
        across=(d2[:, 1, None] * e1 - d1[:, 1, None] * e2) * step[:, None],
        along=(d1[:, 0, None] * e2 - d2[:, 0, None] * e1) * step[:, None],
    )


def texel_shapes(
    points: ChartPoints, normals: NDArray[np.floating[Any]], largest_m: float = LARGEST_TEXEL_M
) -> tuple[F32, F32]:
    """Log scales ``(N, 3)`` and rotations ``(N, 4)`` of flat Gaussians that cover their texels.

    The texel's two sides span a parallelogram; its ellipse of equal second moments is the footprint.
    No side counts for more than ``largest_m``.
    """
    normal = np.asarray(normals, np.float64)
    x = points.across - normal * (points.across * normal).sum(1, keepdims=True)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    y = np.cross(normal, x)
    sides = np.stack([points.across, points.along], 2)  # (N, 3, 2)
    flat = np.einsum("nic,nij->ncj", np.stack([x, y], 2), sides)
    turn, extent, _ = np.linalg.svd(flat)
    first = x * turn[:, :1, 0] + y * turn[:, 1:, 0]
    frame = np.stack([first, np.cross(normal, first), normal], 2)
    sigma = SPREAD * np.clip(extent, LEAST_TEXEL_M, largest_m)
    scales = np.column_stack([sigma, THICKNESS * sigma[:, 1]])
    return np.log(scales).astype(np.float32), quaternions_of(frame).astype(np.float32)


def quaternions_of(rotations: NDArray[np.floating[Any]]) -> F64:
    """Unit quaternions ``(N, 4)``, w first, of rotations ``(N, 3, 3)``."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(rotations).as_quat()[:, [3, 0, 1, 2]], np.float64)


def products(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> F64:
    """Quaternions ``first`` after ``second``, ``(N, 4)`` each, w first."""
    w, v = first[:, :1], first[:, 1:]
    s, u = second[:, :1], second[:, 1:]
    real = w * s - (v * u).sum(1, keepdims=True)
    return np.concatenate([real, w * u + s * v + np.cross(v, u)], 1)


@compiled
def _place_rows(
    triangle: I32,
    barycentric: F32,
    offset: F32,
    rotation: F32,
    vertices: F32,
    triangles: I32,
    start: int,
    end: int,
    positions: F32,
    rotations: F32,
) -> None:
    m = np.empty((3, 3), np.float64)
    q = np.empty(4, np.float64)
    for n in range(start, end):
        a, b, c = triangles[triangle[n], 0], triangles[triangle[n], 1], triangles[triangle[n], 2]
        for i in range(3):
            m[i, 0] = vertices[b, i] - vertices[a, i]
            m[i, 1] = vertices[c, i] - vertices[a, i]
        m[0, 2] = m[1, 0] * m[2, 1] - m[2, 0] * m[1, 1]
        m[1, 2] = m[2, 0] * m[0, 1] - m[0, 0] * m[2, 1]
        m[2, 2] = m[0, 0] * m[1, 1] - m[1, 0] * m[0, 1]
        edge = max(np.sqrt(m[0, 0] ** 2 + m[1, 0] ** 2 + m[2, 0] ** 2), 1e-12)
        area = max(np.sqrt(m[0, 2] ** 2 + m[1, 2] ** 2 + m[2, 2] ** 2), 1e-18)
        for i in range(3):
            m[i, 0] /= edge
            m[i, 2] /= area
        m[0, 1] = m[1, 2] * m[2, 0] - m[2, 2] * m[1, 0]
        m[1, 1] = m[2, 2] * m[0, 0] - m[0, 2] * m[2, 0]
        m[2, 1] = m[0, 2] * m[1, 0] - m[1, 2] * m[0, 0]
        for i in range(3):
            positions[n, i] = (
                barycentric[n, 0] * vertices[a, i]
                + barycentric[n, 1] * vertices[b, i]
                + barycentric[n, 2] * vertices[c, i]
                + m[i, 0] * offset[n, 0]
                + m[i, 1] * offset[n, 1]
                + m[i, 2] * offset[n, 2]
            )
        # Shepperd's method: divide by the largest of the four.
        trace = m[0, 0] + m[1, 1] + m[2, 2]
        if trace > max(m[0, 0], m[1, 1], m[2, 2]):
            q[0] = 1 + trace
            q[1], q[2], q[3] = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
        elif m[0, 0] >= m[1, 1] and m[0, 0] >= m[2, 2]:
            q[1] = 1 + 2 * m[0, 0] - trace
            q[0], q[2], q[3] = m[2, 1] - m[1, 2], m[1, 0] + m[0, 1], m[0, 2] + m[2, 0]
        elif m[1, 1] >= m[2, 2]:
            q[2] = 1 + 2 * m[1, 1] - trace
            q[0], q[1], q[3] = m[0, 2] - m[2, 0], m[1, 0] + m[0, 1], m[2, 1] + m[1, 2]
        else:
            q[3] = 1 + 2 * m[2, 2] - trace
            q[0], q[1], q[2] = m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[2, 1] + m[1, 2]
        length = np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2 + q[3] ** 2)
        w, x, y, z = q[0] / length, q[1] / length, q[2] / length, q[3] / length
        s, i_, j, k = rotation[n, 0], rotation[n, 1], rotation[n, 2], rotation[n, 3]
        rotations[n, 0] = w * s - x * i_ - y * j - z * k
        rotations[n, 1] = w * i_ + x * s + y * k - z * j
        rotations[n, 2] = w * j - x * k + y * s + z * i_
        rotations[n, 3] = w * k + x * j - y * i_ + z * s
