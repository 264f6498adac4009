"""Photographs that have no truth, to be looked at: one sheet each of everything that was made of them.

Photo, the texture in even light, the five maps, and the head from three sides under every panorama. Light and
camera are ``export.portrait``'s, that is the project's own relighter; Cycles draws the ``relight`` metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend import pipeline
from backend.artifacts import F32, Observation, Reconstruction, Run
from backend.colour import linear_to_srgb
from backend.errors import BadInput
from backend.export.portrait import Portrait, reduced, relit_views
from backend.export.sheet import PLATE, Tile, compose, tile_width
from backend.shading.environment import Environment, read_hdr

U8 = NDArray[np.uint8]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic")
VIEWS = (("front", 0.0), ("45° to its left", 45.0), ("45° to its right", -45.0))  # name, yaw in degrees
_ROW_WIDTH = 2200
_PORTRAIT_SHAPE = 1.2  # height over width
_AROUND = 1.6  # the photo's tile, over the face
_EXTREME = 0.995  # quantile of displacement that is drawn black or white


def photographs(source: Path) -> list[Path]:
    """``source`` itself, or the pictures in that folder by name. Raises: BadInput where there is none."""
    if source.is_file():
        return [source]
    found = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES) if source.is_dir() else []
    if not found:
        raise BadInput(f"'{source}' is neither a photograph nor a folder of some")
    return found


def panoramas(folder: Path) -> list[Environment]:
    """All ``.hdr`` of ``folder`` by name, each so strong that a white card before the face shows 1.

    Raises: BadInput where there is none.
    """
    found = sorted(folder.glob("*.hdr")) if folder.is_dir() else []
    if not found:
        raise BadInput(f"'{folder}' holds no .hdr panoramas")
    return [read_hdr(path).exposed() for path in found]


def sheets(
    photos: Sequence[Path],
    lights: Sequence[Environment],
    out: Path,
    *,
    head: str,
    maps: int,
    seed: int,
    on_progress: Callable[[str, float], None],
) -> Iterator[tuple[Path, tuple[str, ...] | BadInput]]:
    """Write ``out/<photo's name>.jpg`` for each photo; yields it with its warnings, or why there is none.

    Raises: Missing, Cancelled, OSError.
    """
    for photo in photos:
        run = Run(seed=seed, on_progress=on_progress)
        try:
            made = pipeline.reconstruct(photo, head=head, maps=maps, run=run)
        except BadInput as error:
            yield photo, error
            continue
        Image.fromarray(sheet(made, lights)).save(out / f"{photo.stem}.jpg", quality=92)
        yield photo, made.warnings


def sheet(made: Reconstruction, lights: Sequence[Environment], row_width: int = _ROW_WIDTH) -> U8:
    """One reconstruction's sheet, sRGB ``(H, W, 3)``; its rows are at most ``row_width`` pixels wide."""
    top = _maps(made, tile_width(row_width, 7))
    width = tile_width(row_width, max(len(lights), 5))  # fewer lights do not make larger pictures
    size = (width, round(width * _PORTRAIT_SHAPE))
    views = [Portrait(name, yaw, 0.0, light) for name, yaw in VIEWS for light in lights]
    pictures = relit_views(made, size, views)
    tiles = [Tile(p, v.light.name, v.label) for p, v in zip(pictures, views, strict=True)]
    rows = [tiles[start : start + len(lights)] for start in range(0, len(tiles), len(lights))]
    caption = "   |   ".join(made.warnings) or "no warnings"
    return compose(made.observation.photo.name, caption, "Likeness", [top, *rows])


def _maps(made: Reconstruction, side: int) -> list[Tile]:
    import cv2

    chart = made.partial.chart.inside.astype(np.float32)
    inside = cv2.resize(chart, (side, side), interpolation=cv2.INTER_AREA)[..., None]
    full, small = made.materials, reduced(made.materials, side)
    reach = max(float(np.quantile(np.abs(full.displacement_m[::4, ::4]), _EXTREME)), 1e-6)
    even = cv2.resize(made.even.rgb_linear, (side, side), interpolation=cv2.INTER_AREA)

    def tile(picture: NDArray[np.floating[Any]], name: str, note: str = "") -> Tile:
        shown = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1)
        if len(shown) != side:  # maps smaller than the tile
            shown = cv2.resize(shown, (side, side), interpolation=cv2.INTER_LINEAR)
        return Tile(_bytes(shown * inside + np.array(PLATE) / 255 * (1 - inside)), name, note)

    return [
        Tile(_face(made.observation, side), "Photograph"),
        tile(linear_to_srgb(np.maximum(even, 0)), "Even light", f"{full.size} texels"),
        tile(linear_to_srgb(small.albedo_linear), "Albedo"),
        tile(0.5 + 0.5 * small.normal_tangent, "Normal"),
        tile(small.roughness, "Roughness"),
        tile(small.specular, "Specular"),
        tile(0.5 + 0.5 * small.displacement_m / reach, "Displacement", f"±{1000 * reach:.2f} mm"),
    ]


def _face(observation: Observation, side: int) -> U8:
    """The photo about the face, a square of ``side`` pixels."""
    import cv2

    points = observation.landmarks_px[:468].astype(np.float64)
    low, high = points.min(0), points.max(0)
    extent = _AROUND * float((high - low).max())
    left, top = (low + high) / 2 - extent / 2
    photo: F32 = observation.photo.rgb_srgb
    blurred = cv2.GaussianBlur(photo, (0, 0), max(0.4 * extent / side, 1e-2))  # it is shrunk
    step = extent / side
    matrix = np.array([[step, 0, left + 0.5 * step - 0.5], [0, step, top + 0.5 * step - 0.5]])
    picture = cv2.warpAffine(
        blurred, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=(0, 0, 0)
    )
    return _bytes(picture)


def _bytes(picture: NDArray[np.floating[Any]]) -> U8:
    return np.asarray(np.round(np.clip(picture, 0, 1) * 255), np.uint8)
