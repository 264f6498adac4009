"""A head's skin as skins are drawn on it: places in millimetres, regions, random points, rows of texels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from backend.artifacts import F32
from backend.head.base import ParametricHead
from backend.uvspace.buffers import interpolate_at
from backend.uvspace.chart import skin_triangles, unit_or_zero
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import NumbaRasteriser, uv_to_px
from backend.uvspace.tangents import corner_tangents

MM = 1000.0


@dataclass(frozen=True)
class Texels:
    """The ``N`` texels of some rows that lie on the skin."""

    row: NDArray[np.int64]  # (N,) of the chart, top row first
    column: NDArray[np.int64]  # (N,)
    points_mm: F32  # (N, 3)
    normal: F32  # (N, 3) unit
    tangent: F32  # (N, 4) MikkTSpace, unit, with its sign
    footprint_mm: F32  # (N,) side of a texel on the skin
    layers: F32  # (N, L) regions, as SkinSurface.names


@dataclass(frozen=True)
class SkinSurface:
    """The neutral skin of one head."""

    head: ParametricHead
    vertices_mm: F32  # (V, 3)
    normals: F32  # (V, 3)
    triangles: NDArray[np.int32]  # (T, 3) of the skin
    triangle_uvs: NDArray[np.int32]  # (T, 3)
    tangents: F32  # (3 T, 4) at corners
    mm_per_chart: F32  # (V,) millimetres on the skin per unit of UV
    names: tuple[str, ...]
    layers: F32  # (V, L) in [0, 1]
    landmarks_mm: NDArray[np.float64]  # (478, 3) Face Mesh's points
    area_mm2: NDArray[np.float64]  # (T,)
    own: NDArray[np.int32]  # vertices of the skin
    tree: cKDTree  # of them

    @property
    def low_mm(self) -> F32:
        """The least corner of the skin's box."""
        return np.asarray(self.vertices_mm[self.triangles].min((0, 1)) - 3.0, np.float32)

    @property
    def high_mm(self) -> F32:
        """The greatest corner of the skin's box."""
        return np.asarray(self.vertices_mm[self.triangles].max((0, 1)) + 3.0, np.float32)

    def region(self, name: str) -> F32:
        """A region's weights ``(V,)``; 0 where the head has no such region."""
        values = self.head.regions.get(name)
        return np.zeros(len(self.vertices_mm), np.float32) if values is None else values

    def rows(self, size: int, first: int, end: int) -> Texels:
        """The texels of rows ``[first, end)`` of the chart of ``size`` texels a side."""
        place = uv_to_px(self.head.uvs, size) - np.array([0.0, first])
        flat = np.concatenate([place, np.ones((len(place), 1))], 1)
        drawn = NumbaRasteriser().rasterise(flat, self.triangle_uvs, size, end - first)
        row, column = np.nonzero(drawn.covered)
        triangle = np.ascontiguousarray(drawn.triangle[row, column])
        weight = np.ascontiguousarray(drawn.barycentric[row, column])
        values = np.concatenate(
            [self.vertices_mm, self.normals, self.mm_per_chart[:, None], self.layers], axis=1
        )
        at = interpolate_at(triangle, weight, values, self.triangles)
        corner = np.arange(3 * len(self.triangles), dtype=np.int32).reshape(-1, 3)
        tangent = interpolate_at(triangle, weight, self.tangents, corner)
        return Texels(
            row=row + first,
            column=column,
            points_mm=np.ascontiguousarray(at[:, :3]),
            normal=unit_or_zero(at[:, 3:6]),
            tangent=np.concatenate([unit_or_zero(tangent[:, :3]), np.sign(tangent[:, 3:])], 1),
            footprint_mm=np.ascontiguousarray(at[:, 6] / size),
            layers=np.ascontiguousarray(at[:, 7:]),
        )

    def scatter(self, density_per_cm2: F32, spacing_mm: float, rng: np.random.Generator) -> tuple[F32, F32]:
        """Random places on the skin and their normals, ``(N, 3)`` each.

        ``density_per_cm2`` ``(V,)``; of two that lie closer than ``spacing_mm`` one is dropped.
        """
        wanted = density_per_cm2[self.triangles].mean(1) * self.area_mm2 / 100.0
        count = rng.poisson(wanted)
        triangle = np.repeat(np.arange(len(self.triangles)), count)
        a, b = np.sqrt(rng.random(len(triangle))), rng.random(len(triangle))
        weight = np.stack([1 - a, a * (1 - b), a * b], 1).astype(np.float32)
        corner = self.triangles[triangle]
        places = np.einsum("nk,nkc->nc", weight, self.vertices_mm[corner]).astype(np.float32)
        normals = unit_or_zero(np.einsum("nk,nkc->nc", weight, self.normals[corner]))
        if spacing_mm > 0 and len(places):
            order = rng.permutation(len(places))
            rank = np.empty(len(places), np.int64)
            rank[order] = np.arange(len(places))
            pairs = cKDTree(places).query_pairs(spacing_mm, output_type="ndarray")
            loser = np.where(rank[pairs[:, 0]] > rank[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
            kept = np.ones(len(places), bool)
            kept[loser] = False
            places, normals = places[kept], normals[kept]
        return places, normals

    def snapped(self, points_mm: NDArray[np.floating[Any]]) -> tuple[F32, F32]:
        """Points ``(N, 3)`` close to the skin brought onto it, and the normals there.

        The skin is taken as the blend of its three nearest vertices' tangent planes.
        """
        points = np.asarray(points_mm, np.float32)
        vertex, share = self._near(points)
        places, normals = self.vertices_mm[vertex], self.normals[vertex]
        height = ((points[:, None] - places) * normals).sum(2, keepdims=True)
        flat = (share * (points[:, None] - height * normals)).sum(1)
        return flat.astype(np.float32), unit_or_zero((share * normals).sum(1))

    def values_at(self, points_mm: F32, values: F32) -> F32:
        """Vertex values ``(V, C)`` at points ``(N, 3)`` close to the skin: ``(N, C)``."""
        vertex, share = self._near(points_mm)
        return np.asarray((share * values[vertex]).sum(1), np.float32)

    def _near(self, points_mm: F32) -> tuple[NDArray[np.intp], F32]:
        gap, near = self.tree.query(points_mm, k=3)
        share = 1 / (gap + 0.05) ** 2
        share /= share.sum(1, keepdims=True)
        return self.own[near], share[..., None].astype(np.float32)


def skin_surface(head: ParametricHead, vertices_head: F32, layers: dict[str, F32]) -> SkinSurface:
    """The skin of ``head`` with the neutral ``vertices_head`` ``(V, 3)`` and ``layers`` ``(V,)`` by name."""
    vertices = np.asarray(vertices_head, np.float32)
    rows = skin_triangles(head)
    triangles, triangle_uvs = head.triangles[rows], head.triangle_uvs[rows]
    normals = vertex_normals(vertices, head.triangles)
    tangents = corner_tangents(vertices, normals, triangles, head.uvs, triangle_uvs)
    p, q = MM * vertices.astype(np.float64)[triangles], head.uvs.astype(np.float64)[triangle_uvs]
    area = 0.5 * np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1)
    e, f = q[:, 1] - q[:, 0], q[:, 2] - q[:, 0]
    chart = 0.5 * np.abs(e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0])
    # Smoothed to vertices, so that both sides of an edge are filtered alike.
    sums = [np.bincount(triangles.ravel(), np.repeat(values, 3), len(vertices)) for values in (area, chart)]
    own = np.unique(triangles)
    placed = (MM * vertices).astype(np.float32)
    scale = np.sqrt(sums[0] / np.maximum(sums[1], 1e-12))
    return SkinSurface(
        head=head,
        vertices_mm=placed,
        normals=np.asarray(normals, np.float32),
        triangles=np.ascontiguousarray(triangles),
        triangle_uvs=np.ascontiguousarray(triangle_uvs),
        tangents=tangents.reshape(-1, 4),
        mm_per_chart=scale.astype(np.float32),
        names=tuple(layers),
        layers=np.stack(list(layers.values()), 1).astype(np.float32),
        landmarks_mm=MM * head.mediapipe.positions(vertices, head.triangles),
        area_mm2=area,
        own=own,
        tree=cKDTree(placed[own]),
    )
