"""Nostrils: their tubes kept apart, and the places round the nose's base that few views reach."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backend.head.meshing import edges_of
from backend.uvspace.rasterise import rasterise_camera
from synthdata.headmodel.layout import HalfMesh
from synthdata.headmodel.preview import look_at, smooth_normals

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]
NOSTRIL_M = (0.0, -0.008, 0.105)
NOSE_VIEWS = [(yaw, pitch) for yaw in (-60, -30, 0, 30, 60) for pitch in (-80, -60, -40, -20, 0, 20)]

# ICT's tubes come within 1.7 mm of the midline and cross it in some noses; narrowed by this share from the
# sixth ring on, none at the rim, they do not.
NARROWED, NARROWED_FROM, NARROWED_FULLY = 0.60, 1, 6


def narrow_tube(mesh: HalfMesh) -> sp.csr_matrix:
    """``(N, N)`` the map that draws the nostril's rings towards their middles, deep ones most."""
    count = len(mesh.start)
    inside = np.zeros(count, bool)
    inside[mesh.patch_vertices] = True
    edges = edges_of(mesh.quads)
    edges = edges[inside[edges].all(1)]
    depth = np.full(count, -1)
    ring = mesh.nostril_rings[-1]
    level = 0
    rows, columns, values = [np.arange(count)], [np.arange(count)], [np.ones(count)]
    while len(ring):
        depth[ring] = level
        t = np.clip((level - NARROWED_FROM) / (NARROWED_FULLY - NARROWED_FROM), 0.0, 1.0)
        share = NARROWED * t * t * (3 - 2 * t)
        rows += [np.repeat(ring, len(ring)), ring]
        columns += [np.tile(ring, len(ring)), ring]
        values += [np.full(len(ring) ** 2, share / len(ring)), np.full(len(ring), -share)]
        near = np.isin(edges, ring)
        reached = np.unique(edges[near.any(1)])
        ring = reached[depth[reached] < 0]
        level += 1
    entries = (np.concatenate(rows), np.concatenate(columns))
    return sp.csr_matrix((np.concatenate(values), entries), shape=(count, count))


def nostrils(points: F64, triangles: I32) -> F64:
    """``(V,)`` in [0, 1]: 1 inside the nostrils, for a whole head's skin ``points`` ``(V, 3)``."""
    near = np.abs(points - np.array(NOSTRIL_M)) < np.array([0.022, 0.012, 0.016])
    chosen = np.flatnonzero(near.all(1))
    normal = smooth_normals(points, triangles)[chosen]
    seen, facing = np.zeros(len(chosen)), np.zeros(len(chosen))
    for yaw, pitch in NOSE_VIEWS:
        camera = look_at(NOSTRIL_M, yaw, pitch, 1.0, 0.07, 320)
        depth = rasterise_camera(points, triangles, camera).depth
        pixel, z = camera.project(points[chosen])
        at = np.clip(pixel.astype(int), 0, 319)
        toward = camera.centre_head - points[chosen]
        cosine = np.maximum((normal * toward).sum(1) / np.linalg.norm(toward, axis=1), 0.0)
        facing += cosine
        seen += cosine * (z < depth[at[:, 1], at[:, 0]] + 0.0006)
    out = np.zeros(len(points))
    out[chosen] = np.clip((0.75 - seen / np.maximum(facing, 1e-9)) / 0.35, 0.0, 1.0) * (facing > 0.5)
    return out
