"""Maps and pictures of a record as bytes, and back. Encodings: docs/dataset.md."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Materials
from backend.colour import linear_to_srgb, srgb_to_linear
from backend.errors import BadInput
from backend.export.map_files import MIDLEVEL, encode_maps, encode_png

POSITION_RANGE_M = 0.6  # between 0 and 65535 of a map of positions, the middle is the head's origin
CEILING = 4.0  # exposed radiance that a 16-bit map holds; above it highlights are cut


def radiance_png(exposed_linear: F32) -> bytes:
    """Linear light ``(S, S, 3)`` in [0, CEILING] as 16-bit PNG, sRGB-encoded over CEILING."""
    encoded = linear_to_srgb(np.clip(exposed_linear / np.float32(CEILING), 0, 1))
    return encode_png(np.rint(encoded * 65535).astype(np.uint16))


def read_radiance(data: bytes) -> F32:
    """What ``radiance_png`` wrote."""
    values = _read(data)
    if values.dtype != np.uint16:
        raise BadInput("a radiance map of the record does not have 16 bits")
    return np.asarray(srgb_to_linear(values / np.float32(65535)) * np.float32(CEILING), np.float32)


def srgb_png(linear: F32) -> bytes:
    """Linear light ``(S, S, 3)``, cut to [0, 1], as 8-bit sRGB."""
    return encode_png(np.rint(np.clip(linear_to_srgb(linear), 0, 1) * 255).astype(np.uint8))


def read_srgb(data: bytes) -> F32:
    """Linear light ``(S, S, 3)`` in [0, 1] of an 8-bit sRGB picture."""
    return srgb_to_linear(_read(data).astype(np.float32) / np.float32(255))


def material_pngs(materials: Materials, visibility: F32, scale_m: float) -> dict[str, bytes]:
    """The five maps and the visibility as members of a record, encoded as in an avatar folder."""
    return {
        f"{name}.png": encode_png(values)
        for name, values in encode_maps(materials, visibility, scale_m).items()
    }


def read_materials(members: dict[str, bytes], scale_m: float) -> Materials:
    """The five maps of a record. Raises: BadInput."""
    normal = _read(members["normal.png"]).astype(np.float32) / np.float32(127.5) - 1
    height = _read(members["displacement.png"]).astype(np.float32) / np.float32(65535) - np.float32(MIDLEVEL)
    return Materials(
        albedo_linear=read_srgb(members["albedo.png"]),
        normal_tangent=normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6),
        roughness=read_share(members["roughness.png"]),
        specular=read_share(members["specular.png"]),
        displacement_m=height * np.float32(scale_m),
    )


def read_share(data: bytes) -> F32:
    """``(S, S)`` in [0, 1] of an 8-bit picture."""
    return _read(data).astype(np.float32) / np.float32(255)


def label_png(labels: NDArray[np.uint8]) -> bytes:
    """Whole numbers ``(H, W)``."""
    return encode_png(labels)


def read_labels(data: bytes) -> NDArray[np.uint8]:
    """What ``label_png`` wrote."""
    return np.asarray(_read(data), np.uint8)


def read_wide(data: bytes) -> F32:
    """The numbers ``(H, W[, C])`` of a 16-bit picture. Raises: BadInput."""
    values = _read(data)
    if values.dtype != np.uint16:
        raise BadInput("a picture of the record does not have 16 bits")
    return values.astype(np.float32)


def position_png(metres_head: F32) -> bytes:
    """Positions ``(S, S, 3)`` within half of POSITION_RANGE_M as 16 bits a channel, 9 µm apart."""
    share = np.clip(metres_head / np.float32(POSITION_RANGE_M) + np.float32(0.5), 0, 1)
    return encode_png(np.rint(share * 65535).astype(np.uint16))


def read_positions(data: bytes) -> F32:
    """What ``position_png`` wrote, metres. Raises: BadInput."""
    values = _read(data)
    if values.dtype != np.uint16:
        raise BadInput("a map of positions of the record does not have 16 bits")
    share = values.astype(np.float32) / np.float32(65535) - np.float32(0.5)
    return np.asarray(share * np.float32(POSITION_RANGE_M), np.float32)


def photo_jpeg(rgb_srgb: NDArray[np.uint8], quality: int) -> bytes:
    """An 8-bit picture ``(H, W, 3)`` as JPEG."""
    import cv2

    done, data = cv2.imencode(".jpg", rgb_srgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("the JPEG encoder refused a picture")
    return bytes(data.tobytes())


def read_photo(data: bytes) -> NDArray[np.uint8]:
    """An 8-bit picture ``(H, W, 3)``, sRGB. Raises: BadInput."""
    return np.ascontiguousarray(_read(data))


def array_bytes(values: NDArray[Any]) -> bytes:
    """An array as ``.npy``."""
    out = io.BytesIO()
    np.save(out, values, allow_pickle=False)
    return out.getvalue()


def read_array(data: bytes) -> NDArray[Any]:
    """What ``array_bytes`` wrote. Raises: BadInput."""
    try:
        return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise BadInput(f"an array of the record is damaged ({error})") from error


def _read(data: bytes) -> NDArray[Any]:
    import cv2

    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if picture is None:
        raise BadInput("a picture of the record is damaged")
    return np.asarray(picture[..., ::-1] if picture.ndim == 3 else picture)
