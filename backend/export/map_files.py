"""The material maps as PNG files: 8-bit sRGB albedo, linear others, 16-bit displacement."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Materials
from backend.colour import linear_to_srgb
from blender_addon.bundle import PROXY_SIDE, map_path, proxy_path

MIDLEVEL = 0.5
SMALLEST_SCALE_M = 1e-4  # a flat map still gets a scale that divides
COMPRESSION = 1  # zlib level: level 6 takes four times as long for a tenth less


def displacement_scale(displacement_m: F32) -> float:
    """Metres between the values 0 and 1 so that the whole ``displacement_m`` fits around MIDLEVEL."""
    return max(2.0 * float(np.abs(displacement_m).max(initial=0.0)), SMALLEST_SCALE_M)


def encode_maps(
    materials: Materials, visibility: F32, scale_m: float | None = None
) -> dict[str, NDArray[Any]]:
    """The six maps as integer arrays, rows from the top, colours in RGB order.

    ``visibility`` ``(S', S')`` in [0, 1] may have a size of its own. ``scale_m`` is the displacement's
    (``displacement_scale`` of these maps when None).
    """
    scale = displacement_scale(materials.displacement_m) if scale_m is None else scale_m
    normal = materials.normal_tangent * 0.5 + 0.5
    return {
        "albedo": to_bits8(linear_to_srgb(materials.albedo_linear)),
        "normal": to_bits8(normal),
        "roughness": to_bits8(materials.roughness),
        "specular": to_bits8(materials.specular),
        "displacement": _quantise(materials.displacement_m / scale + MIDLEVEL, 65535, np.uint16),
        "visibility": to_bits8(visibility),
    }


def encode_proxies(materials: Materials, visibility: F32) -> dict[str, NDArray[Any]]:
    """Maps larger than PROXY_SIDE averaged down to it, with the full maps' displacement scale; else none."""
    if max(materials.size, len(visibility)) <= PROXY_SIDE:
        return {}
    scale = displacement_scale(materials.displacement_m)
    normal = shrunk(materials.normal_tangent, PROXY_SIDE)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    small = Materials(
        albedo_linear=shrunk(materials.albedo_linear, PROXY_SIDE),
        normal_tangent=normal.astype(np.float32),
        roughness=shrunk(materials.roughness, PROXY_SIDE),
        specular=shrunk(materials.specular, PROXY_SIDE),
        displacement_m=shrunk(materials.displacement_m, PROXY_SIDE),
    )
    return encode_maps(small, shrunk(visibility, PROXY_SIDE), scale)


def shrunk(image: F32, side: int) -> F32:
    """The square ``image`` averaged down to ``side`` pixels; as it is where it is no larger."""
    import cv2

    if len(image) <= side:
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def write_maps(
    maps: dict[str, NDArray[Any]],
    directory: Path,
    proxies: dict[str, NDArray[Any]] | None = None,
    written: Callable[[str], None] = lambda name: None,
) -> None:
    """Write ``encode_maps``' arrays to ``directory/maps``, ``proxies`` beside them; each file whole or not.

    ``written`` is told each map's name when its files are there. Raises: OSError (its errno says why),
    whatever ``written`` raises.
    """

    def encoded(name: str) -> list[tuple[Path, bytes]]:
        files = [(map_path(directory, name), encode_png(maps[name]))]
        if proxies:
            files.append((proxy_path(directory, name), encode_png(proxies[name])))
        return files

    # OpenCV's encoder leaves the interpreter free, so the maps are encoded side by side.
    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = [(name, pool.submit(encoded, name)) for name in maps]
        try:
            for name, files in waiting:
                for path, data in files.result():
                    write_whole(path, data)
                written(name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def write_whole(path: Path, data: bytes) -> None:
    """Write ``path`` (its folder is made) so that a reader sees its old bytes or the new ones, never a part.

    Raises: OSError.
    """
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    for wait in (0.02, 0.05, 0.1, 0.3):
        try:
            os.replace(fresh, path)
        except PermissionError:  # Windows, while someone reads the old file
            time.sleep(wait)
        else:
            return
    os.replace(fresh, path)


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


def to_bits8(values: NDArray[Any]) -> NDArray[Any]:
    """Values in [0, 1] as 8-bit integers. Raises: ValueError for values that are not finite."""
    return _quantise(values, 255, np.uint8)


def _quantise(values: NDArray[Any], top: int, kind: type[np.generic]) -> NDArray[Any]:
    if not np.isfinite(values).all():
        raise ValueError("a map holds values that are not finite")
    quantised: NDArray[Any] = np.rint(np.clip(values, 0.0, 1.0) * top).astype(kind)
    return quantised
