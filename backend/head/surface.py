"""Points on triangle meshes: the closest one, and carrying one head's knowledge to another's surface."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead, SurfacePoints

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
CANDIDATES = 40  # triangles tried per point, by distance to their centres
NEIGHBOURS = 3  # vertices blended when per-vertex values are carried


def closest_on(points: F64, vertices: F64, triangles: I32) -> tuple[NDArray[np.intp], F64]:
    """Closest triangle ``(N,)`` and barycentrics ``(N, 3)`` for each of ``points`` ``(N, 3)``."""
    from scipy.spatial import cKDTree

    corner = vertices[triangles]
    _, candidate = cKDTree(corner.mean(1)).query(points, k=min(CANDIDATES, len(triangles)))
    c = corner[candidate]
    weight = _closest_barycentric(points[:, None], c)
    gap = np.linalg.norm(np.einsum("nmk,nmkc->nmc", weight, c) - points[:, None], axis=2)
    row = np.arange(len(points))
    pick = gap.argmin(1)
    return np.asarray(candidate[row, pick], np.intp), weight[row, pick]


def _closest_barycentric(point: F64, corner: F64) -> F64:
    """Barycentrics of the closest point of each triangle: the foot inside it, else on an edge."""
    a, b, c = corner[..., 0, :], corner[..., 1, :], corner[..., 2, :]
    e, f, g = b - a, c - a, point - a
    ee, ef, ff = (e * e).sum(-1), (e * f).sum(-1), (f * f).sum(-1)
    ge, gf = (g * e).sum(-1), (g * f).sum(-1)
    det = np.maximum(ee * ff - ef * ef, 1e-30)
    v, w = (ff * ge - ef * gf) / det, (ee * gf - ef * ge) / det
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    best = np.stack([1 - v - w, v, w], -1)
    gap = np.where(inside, 0.0, np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        p, q = corner[..., i, :], corner[..., j, :]
        d = q - p
        t = np.clip(((point - p) * d).sum(-1) / np.maximum((d * d).sum(-1), 1e-30), 0, 1)
        distance = np.linalg.norm(point - p - t[..., None] * d, axis=-1)
        candidate = np.zeros_like(best)
        candidate[..., i], candidate[..., j] = 1 - t, t
        better = ~inside & (distance < gap)
        best = np.where(better[..., None], candidate, best)
        gap = np.where(better, distance, gap)
    return np.asarray(best)


def carry_over(source: ParametricHead, target: ParametricHead) -> ParametricHead:
    """``target`` with the landmarks, regions and albedo of ``source``; both lie in the same pose and scale.

    Landmarks go to the closest point of the same part; per-vertex values are blended from the nearest
    vertices of the same part. Parts that only ``target`` has keep what they had.
    """
    from scipy.spatial import cKDTree

    points = source.mediapipe
    position = points.positions(source.mean_vertices, source.triangles)
    triangle = np.full_like(points.triangle, -1)
    weight = points.barycentric.copy()
    mean, colour, modes = (
        target.mean_vertices.astype(np.float64),
        target.albedo_mean.copy(),
        np.zeros((len(source.albedo_basis), len(target.mean_vertices), 3), np.float32),
    )
    regions = {name: np.zeros(len(mean), np.float32) for name in source.regions}
    for name in set(source.part_names) & set(target.part_names):
        here = source.triangle_part == source.part_names.index(name)
        there = np.flatnonzero(target.triangle_part == target.part_names.index(name))
        if len(there) == 0:
            continue
        rows = np.flatnonzero((points.triangle >= 0) & here[np.maximum(points.triangle, 0)])
        if len(rows):
            hit, barycentric = closest_on(position[rows], mean, target.triangles[there])
            triangle[rows], weight[rows] = there[hit], barycentric
        to = np.unique(target.triangles[there])
        of = np.unique(source.triangles[here])
        gap, near = cKDTree(source.mean_vertices[of]).query(mean[to], k=NEIGHBOURS)
        share = 1.0 / (gap + 1e-6)
        share = (share / share.sum(1, keepdims=True)).astype(np.float32)
        colour[to] = np.einsum("nk,nkc->nc", share, source.albedo_mean[of[near]])
        modes[:, to] = np.einsum("nk,bnkc->bnc", share, source.albedo_basis[:, of[near]])
        for region, values in source.regions.items():
            regions[region][to] = (share * values[of[near]]).sum(1)
    trust = np.where(triangle >= 0, points.trust, 0.0).astype(np.float32)
    return replace(
        target,
        mediapipe=SurfacePoints(triangle, weight.astype(np.float32), trust),
        regions=regions,
        albedo_mean=colour,
        albedo_basis=modes,
    )
