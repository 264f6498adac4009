"""A small deterministic picture maker for heads: z-buffer, smooth normals, one sun and a sky."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import Camera
from backend.colour import linear_to_srgb
from backend.uvspace.rasterise import rasterise_camera

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


def look_at(
    target: tuple[float, float, float],
    yaw_deg: float,
    pitch_deg: float,
    distance_m: float,
    height_m: float,
    size: int,
) -> Camera:
    """A camera that looks at ``target``; ``height_m`` of the scene fills the ``size`` pixel frame.

    Positive yaw moves the camera to the subject's left (+x), positive pitch up.
    """
    yaw, pitch = np.radians(yaw_deg), np.radians(pitch_deg)
    back = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, -np.cross(back, right), -back])
    centre = np.asarray(target) + distance_m * back
    return Camera(
        focal_px=size * distance_m / height_m,
        principal_px=(size / 2, size / 2),
        width_px=size,
        height_px=size,
        world_to_camera=np.c_[rotation, -rotation @ centre],
    )


def smooth_normals(vertices: NDArray[np.floating[Any]], triangles: I32) -> F32:
    """Area-weighted unit vertex normals ``(V, 3)``."""
    p = np.asarray(vertices, np.float64)
    face = np.cross(p[triangles[:, 1]] - p[triangles[:, 0]], p[triangles[:, 2]] - p[triangles[:, 0]])
    normal = np.zeros_like(p)
    for k in range(3):
        np.add.at(normal, triangles[:, k], face)
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12), np.float32)


def picture(
    vertices: NDArray[np.floating[Any]],
    triangles: I32,
    camera: Camera,
    colour_linear: F32,
    wires: I32 | None = None,
    gloss: float = 0.04,
    samples: int = 2,
    background: float = 0.35,
) -> NDArray[np.uint8]:
    """``(H, W, 3)`` sRGB bytes of a mesh with vertex colours; ``wires`` are quads drawn as lines."""
    import cv2

    big = Camera(
        camera.focal_px * samples,
        (camera.principal_px[0] * samples, camera.principal_px[1] * samples),
        camera.width_px * samples,
        camera.height_px * samples,
        camera.world_to_camera,
    )
    seen = rasterise_camera(vertices, triangles, big)
    normal = seen.interpolate(smooth_normals(vertices, triangles), triangles)
    normal /= np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1e-6)
    point = seen.interpolate(np.asarray(vertices, np.float32), triangles)
    albedo = seen.interpolate(colour_linear, triangles)
    view = camera.centre_head.astype(np.float32) - point
    view /= np.maximum(np.linalg.norm(view, axis=2, keepdims=True), 1e-6)
    sun = (camera.world_to_camera[:, :3].T @ np.array([-0.5, -0.6, -0.62])).astype(np.float32)
    sun /= np.linalg.norm(sun)
    lambert = np.clip(normal @ sun, 0, 1)
    sky = 0.5 + 0.5 * normal[..., 1]
    half = view + sun
    half /= np.maximum(np.linalg.norm(half, axis=2, keepdims=True), 1e-6)
    shine = gloss * np.clip((normal * half).sum(-1), 0, 1) ** 40 * 8
    shade = albedo * (0.85 * lambert + 0.25 * sky + 0.15)[..., None] + shine[..., None]
    corner = np.asarray(vertices, np.float64)[triangles]
    flat = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    facing = (flat * (camera.centre_head - corner[:, 0])).sum(1)[np.maximum(seen.triangle, 0)]
    shade[seen.covered & (facing < 0)] *= np.array([1.0, 0.25, 0.25], np.float32)  # back faces show red
    image = np.where(seen.covered[..., None], linear_to_srgb(shade), background)
    image = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    if wires is not None:
        image = _draw_wires(image, vertices, wires, big, seen.depth)
    return np.asarray(cv2.resize(image, (camera.width_px, camera.height_px), interpolation=cv2.INTER_AREA))


def _draw_wires(
    image: NDArray[np.uint8], vertices: NDArray[np.floating[Any]], quads: I32, camera: Camera, depth: F32
) -> NDArray[np.uint8]:
    import cv2

    pixel, z = camera.project(vertices)
    column = np.clip(pixel[:, 0].astype(int), 0, camera.width_px - 1)
    row = np.clip(pixel[:, 1].astype(int), 0, camera.height_px - 1)
    visible = z < depth[row, column] + 0.0025
    edges = np.unique(np.sort(np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)]), 1), axis=0)
    edges = edges[visible[edges].all(1) & (edges >= 0).all(1)]
    out = image.copy()
    for a, b in edges:
        pa, pb = (tuple(round(c * 16) for c in pixel[i]) for i in (a, b))
        cv2.line(out, pa, pb, (25, 40, 60), 1, cv2.LINE_AA, 4)
    return out
