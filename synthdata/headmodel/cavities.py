"""Nostrils, found as the places round the nose's base that few views from before and below reach."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.uvspace.rasterise import rasterise_camera
from synthdata.headmodel.preview import look_at, smooth_normals

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]
NOSTRIL_M = (0.0, -0.008, 0.105)
NOSE_VIEWS = [(yaw, pitch) for yaw in (-60, -30, 0, 30, 60) for pitch in (-80, -60, -40, -20, 0, 20)]


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
