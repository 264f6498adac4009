"""The material maps as PNG files: 8-bit sRGB albedo, linear others, 16-bit displacement."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Materials
from backend.colour import linear_to_srgb
from blender_addon.bundle import map_path

MIDLEVEL = 0.5
SMALLEST_SCALE_M = 1e-4  # a flat map still gets a scale that divides
COMPRESSION = 1  # zlib level: level 6 takes four times as long for a tenth less


def displacement_scale(displacement_m: F32) -> float:
    """Metres between the values 0 and 1 so that the whole ``displacement_m`` fits around MIDLEVEL."""
    return max(2.0 * float(np.abs(displacement_m).max(initial=0.0)), SMALLEST_SCALE_M)


def encode_maps(materials: Materials, visibility: F32) -> dict[str, NDArray[Any]]:
    """The six maps as integer arrays, rows from the top, colours in RGB order.

    ``visibility`` ``(S', S')`` in [0, 1] may have a size of its own.
    """
    scale = displacement_scale(materials.displacement_m)
    normal = materials.normal_tangent * 0.5 + 0.5
    return {
        "albedo": _bits8(linear_to_srgb(materials.albedo_linear)),
        "normal": _bits8(normal),
        "roughness": _bits8(materials.roughness),
        "specular": _bits8(materials.specular),
        "displacement": _quantise(materials.displacement_m / scale + MIDLEVEL, 65535, np.uint16),
        "visibility": _bits8(visibility),
    }


def write_maps(maps: dict[str, NDArray[Any]], directory: Path) -> None:
    """Write ``encode_maps``' arrays to ``directory/maps``. Raises: OSError (its errno says why)."""
    (directory / "maps").mkdir()
    # OpenCV's encoder leaves the interpreter free, so the maps are encoded side by side.
    with ThreadPoolExecutor(max_workers=2) as pool:
        encoded = pool.map(lambda item: (item[0], encode_png(item[1])), maps.items())
        for name, data in encoded:
            map_path(directory, name).write_bytes(data)


def encode_png(image: NDArray[Any]) -> bytes:
    """PNG bytes of an 8- or 16-bit grey ``(H, W)``, RGB or RGBA ``(H, W, 3 or 4)`` image."""
    import cv2

    if image.ndim == 3:
        image = image[..., [2, 1, 0, 3][: image.shape[2]]]  # OpenCV wants BGR(A)
    # A buffer, not imwrite: imwrite hides why a file could not be written.
    good, data = cv2.imencode(".png", np.ascontiguousarray(image), [cv2.IMWRITE_PNG_COMPRESSION, COMPRESSION])
    if not good:
        raise RuntimeError("the PNG encoder refused an image")
    return bytes(data.tobytes())


def _bits8(values: NDArray[Any]) -> NDArray[Any]:
    return _quantise(values, 255, np.uint8)


def _quantise(values: NDArray[Any], top: int, kind: type[np.generic]) -> NDArray[Any]:
    if not np.isfinite(values).all():
        raise ValueError("a map holds values that are not finite")
    quantised: NDArray[Any] = np.rint(np.clip(values, 0.0, 1.0) * top).astype(kind)
    return quantised
