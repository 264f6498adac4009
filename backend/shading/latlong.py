"""The lat-long (equirectangular) image of the sphere in head space: where each texel looks.

Head space has +Y up and the face to +Z, so +X is the subject's left. Rows run from straight up (top)
to straight down. Column ``u`` in [0, 1] looks along azimuth

    u = 0.5 + atan2(z, x) / 2π

* u = 0.50, the centre column: +X, the subject's left;
* u = 0.75: +Z, in front of the face, where a photographer stands;
* u = 0.25: −Z, behind the head;  u = 0 and 1: −X, the subject's right.

**Blender.** The scene builders put head space into Blender's Z-up scene as (x, y, z) → (x, −z, y):
the face looks along −Y. Blender's Environment Texture (equirectangular) reads
u = 0.5 − atan2(y, x) / 2π, which after that mapping is the line above. So an image given to the world
texture **without any mapping** lights the head as the same image does here. ``rotate(image, θ)`` turns
the surroundings by θ right-handed about head +Y (Blender +Z); the same in Blender is a Mapping node
of type *Point* with Rotation Z = −θ, because that node turns the looked-up direction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64


def directions(height: int) -> F64:
    """Unit directions ``(height, 2·height, 3)`` at the texel centres of a lat-long image."""
    elevation = np.pi * (0.5 - (np.arange(height) + 0.5) / height)
    azimuth = 2 * np.pi * ((np.arange(2 * height) + 0.5) / (2 * height) - 0.5)
    el, az = elevation[:, None], azimuth[None, :]
    up = np.broadcast_to(np.sin(el), (height, 2 * height))
    return np.stack([np.cos(el) * np.cos(az), up, np.cos(el) * np.sin(az)], -1)


def solid_angles(height: int) -> F64:
    """Exact solid angle ``(height, 2·height)`` of each texel in steradians; they sum to 4π."""
    edges = np.sin(np.pi * (0.5 - np.arange(height + 1) / height))
    per_row = (edges[:-1] - edges[1:]) * (np.pi / height)
    return np.repeat(per_row[:, None], 2 * height, axis=1)


def texel(direction: NDArray[np.floating[Any]], height: int) -> F64:
    """Continuous ``(row, column)`` ``(..., 2)``, texel centres at .5, that look along ``(..., 3)``."""
    d = np.asarray(direction, np.float64)
    d = d / np.linalg.norm(d, axis=-1, keepdims=True)
    column = (0.5 + np.arctan2(d[..., 2], d[..., 0]) / (2 * np.pi)) * 2 * height
    row = (0.5 - np.arcsin(np.clip(d[..., 1], -1, 1)) / np.pi) * height
    return np.stack([row, column], -1)


def sample(image: F32, direction: NDArray[np.floating[Any]]) -> F32:
    """Bilinear radiance ``(..., C)`` of a lat-long ``image`` ``(H, 2H, C)`` along ``(..., 3)``."""
    height, width = image.shape[:2]
    where = texel(direction, height) - 0.5
    row = np.clip(where[..., 0], 0, height - 1)
    r0 = np.minimum(row.astype(np.int64), height - 2)
    c0 = np.floor(where[..., 1]).astype(np.int64)
    fr = (row - r0)[..., None].astype(np.float32)
    fc = (where[..., 1] - c0)[..., None].astype(np.float32)
    c0, c1 = c0 % width, (c0 + 1) % width
    top = image[r0, c0] * (1 - fc) + image[r0, c1] * fc
    bottom = image[r0 + 1, c0] * (1 - fc) + image[r0 + 1, c1] * fc
    return np.asarray(top * (1 - fr) + bottom * fr, np.float32)


def rotate(image: F32, degrees: float) -> F32:
    """``image`` with the surroundings turned by ``degrees`` right-handed about +Y (+Z towards +X)."""
    # Azimuth atan2(z, x) falls as +Z turns to +X, so the picture slides to the left.
    width = image.shape[1]
    shift = degrees / 360.0 * width
    whole = int(np.floor(shift))
    part = np.float32(shift - whole)
    near = np.roll(image, -whole, axis=1)
    if part == 0:
        return np.ascontiguousarray(near, np.float32)
    return np.asarray(near * (1 - part) + np.roll(near, -1, axis=1) * part, np.float32)


def shrink(image: F32, height: int) -> F32:
    """``image`` averaged down to ``height`` rows, keeping every texel's share of the sphere's energy.

    Returned unchanged when it is already that small.
    """
    import cv2

    if image.shape[0] <= height:
        return image
    weight = solid_angles(image.shape[0])[..., None].astype(np.float32)
    size = (2 * height, height)
    energy = cv2.resize(image * weight, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(
        np.broadcast_to(weight, (*image.shape[:2], 1)).copy(), size, interpolation=cv2.INTER_AREA
    )
    return np.asarray(energy / share.reshape(*energy.shape[:2], 1), np.float32)
