"""The pictures inside a .glb: at most 2048 texels wide, albedo as JPEG, data maps as PNG.

JPEG at quality 95 shrinks the albedo about fourfold without a visible trace; in normals, roughness and
specular its blocks would show as highlights, so those stay lossless.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.colour import linear_to_srgb
from backend.export.map_files import encode_png
from blender_addon.bundle import Avatar
from blender_addon.scene.eyes import eye_chart, eye_colours
from blender_addon.scene.gltf import GltfImages
from blender_addon.scene.scene import EYES

LARGEST = 2048
EYE_SIZE = 512
JPEG_QUALITY = 95


def encode_gltf_images(avatar: Avatar, largest: int = LARGEST) -> GltfImages:
    """The maps of ``avatar`` as glTF wants them, no side longer than ``largest``."""
    roughness = _read(avatar.map_path("roughness"), largest)
    specular = _read(avatar.map_path("specular"), largest)
    zero = np.zeros_like(roughness)
    white = np.full((*specular.shape, 3), 255, np.uint8)
    eyes = {}
    for part, centre in zip(EYES, avatar.mesh.eye_centres_head, strict=True):
        if part in avatar.mesh.part_names:
            chart = eye_chart(avatar.mesh, part, centre)
            colours = linear_to_srgb(eye_colours(chart, avatar.manifest.eyes.iris_srgb, EYE_SIZE))
            eyes[part] = _jpeg(np.rint(colours * 255).astype(np.uint8))
    return GltfImages(
        albedo=_jpeg(_read(avatar.map_path("albedo"), largest)),
        normal=_normal(avatar.map_path("normal"), largest),
        metallic_roughness=encode_png(np.stack([zero, roughness, zero], axis=-1)),
        specular=encode_png(np.dstack([white, specular])),
        eyes=eyes,
    )


def _normal(path: Path, largest: int) -> bytes:
    """Normals keep unit length when averaged; a map that is small enough keeps its bytes."""
    image = _read(path, 1 << 20)
    if max(image.shape[:2]) <= largest:
        return path.read_bytes()
    image = _fit(image.astype(np.float32) / 127.5 - 1.0, largest)
    image /= np.maximum(np.linalg.norm(image, axis=-1, keepdims=True), 1e-6)
    return encode_png(np.rint((image + 1.0) * 127.5).astype(np.uint8))


def _read(path: Path, largest: int) -> NDArray[Any]:
    """A map's pixels in RGB order, shrunk to ``largest``."""
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise OSError(f"cannot read '{path}'")
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
