"""The pictures inside a .glb: at most 2048 texels wide, albedo as JPEG, data maps as PNG.

JPEG at quality 95 shrinks the albedo about fourfold without a visible trace; in normals, roughness and
specular its blocks would show as highlights, so those stay lossless.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.colour import linear_to_srgb
from backend.export.map_files import encode_png
from blender_addon.bundle import Avatar, BundleError

LARGEST = 2048
JPEG_QUALITY = 95


@dataclass(frozen=True)
class SkinImages:
    """The skin's maps as encoded files."""

    albedo: bytes  # JPEG, sRGB
    normal: bytes  # PNG, tangent space, OpenGL
    metallic_roughness: bytes  # PNG, green roughness, blue 0
    specular: bytes  # PNG, alpha is the specular map


def encode_skin(avatar: Avatar, largest: int = LARGEST) -> SkinImages:
    """The skin's maps as glTF wants them, no side longer than ``largest`` texels."""
    roughness = _read(avatar.map_path("roughness"), largest)
    specular = _read(avatar.map_path("specular"), largest)
    zero = np.zeros_like(roughness)
    white = np.full((*specular.shape, 3), 255, np.uint8)
    return SkinImages(
        albedo=_jpeg(_read(avatar.map_path("albedo"), largest)),
        normal=_normal(avatar.map_path("normal"), largest),
        metallic_roughness=encode_png(np.stack([zero, roughness, zero], axis=-1)),
        specular=encode_png(np.dstack([white, specular])),
    )


def encode_colour(linear: NDArray[np.floating[Any]]) -> bytes:
    """A linear colour picture ``(H, W, 3)`` in [0, 1] as a JPEG file in sRGB."""
    return _jpeg(np.rint(np.clip(linear_to_srgb(linear), 0.0, 1.0) * 255).astype(np.uint8))


def _normal(path: Path, largest: int) -> bytes:
    """Normals keep unit length when averaged; a map that is small enough keeps its bytes."""
    image = _read(path, 1 << 20)
    if max(image.shape[:2]) <= largest:
        return path.read_bytes()
    image = _fit(image.astype(np.float32) / 127.5 - 1.0, largest)
    image /= np.maximum(np.linalg.norm(image, axis=-1, keepdims=True), 1e-6)
    return encode_png(np.rint((image + 1.0) * 127.5).astype(np.uint8))


def _read(path: Path, largest: int) -> NDArray[Any]:
    """A map's pixels in RGB order, shrunk to ``largest``. Raises: BundleError."""
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise BundleError(f"'{path}' is damaged (cannot be decoded); reconstruct the avatar again")
    return _fit(image[..., ::-1] if image.ndim == 3 else image, largest)


def _fit(image: NDArray[Any], largest: int) -> NDArray[Any]:
    import cv2

    factor = largest / max(image.shape[:2])
    if factor >= 1.0:
        return image
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    shrunk: NDArray[Any] = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    return shrunk


def _jpeg(image: NDArray[Any]) -> bytes:
    import cv2

    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    good, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), settings)
    if not good:
        raise RuntimeError("the JPEG encoder refused an image")
    return bytes(data.tobytes())
