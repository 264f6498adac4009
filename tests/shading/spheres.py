"""A sphere as a camera sees it, computed in closed form: a G-buffer without a rasteriser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.artifacts import Camera

RADIUS_M = 0.1


@dataclass(frozen=True)
class SphereBuffer:
    position_head: np.ndarray
    normal_head: np.ndarray
    smooth_normal_head: np.ndarray
    albedo_linear: np.ndarray
    roughness: np.ndarray
    specular: np.ndarray
    part: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        return self.part >= 0


def front_camera(size: int = 96, distance: float = 1.0) -> Camera:
    """Looks from +Z at the origin with head +Y up."""
    world_to_camera = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, distance]])
    return Camera(size * distance / (2.4 * RADIUS_M), (size / 2, size / 2), size, size, world_to_camera)


def sphere_buffer(
    camera: Camera, albedo: float = 0.5, roughness: float = 0.5, specular: float = 0.5, skin: bool = False
) -> SphereBuffer:
    size = camera.width_px
    rows, columns = np.mgrid[0:size, 0:size] + 0.5
    cx, cy = camera.principal_px
    ray = np.stack([(columns - cx), -(rows - cy), -np.full_like(rows, camera.focal_px)], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    eye = camera.centre_head
    b = ray @ eye
    disc = b * b - (eye @ eye - RADIUS_M**2)
    mask = disc > 0
    t = -b - np.sqrt(np.maximum(disc, 0))
    position = np.where(mask[..., None], eye + t[..., None] * ray, 0).astype(np.float32)
    normal = (position / RADIUS_M).astype(np.float32)
    flat = np.ones((size, size), np.float32)
    return SphereBuffer(
        position,
        normal,
        normal,
        np.full((size, size, 3), albedo, np.float32),
        roughness * flat,
        specular * flat,
        np.where(mask, 0 if skin else 1, -1).astype(np.int16),
    )


def sphere_mesh(
    centre: tuple[float, float, float], radius: float, rings: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of a lat-long sphere."""
    el, az = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1), indexing="ij"
    )
    v = np.stack([np.cos(el) * np.cos(az), np.sin(el), np.cos(el) * np.sin(az)], -1).reshape(-1, 3)
    i = np.arange(rings)[:, None] * (2 * rings + 1) + np.arange(2 * rings)[None]
    a, b, c, d = (x.ravel() for x in (i, i + 1, i + 2 * rings + 2, i + 2 * rings + 1))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    return (v * radius + np.array(centre)).astype(np.float32), triangles
