"""Contact sheets: the maps of skins side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthdata.skin.maps import SkinMaps

U8 = NDArray[np.uint8]
TILE = 256
CONTRAST = 8.0  # of the displacement, which is small beside its range


def sheet_row(maps: SkinMaps, tile: int = TILE) -> U8:
    """Albedo, normals, displacement, roughness, specular of one skin ``(tile, 5·tile, 3)``."""
    import cv2

    height = 128 + CONTRAST * (maps.displacement_u16.astype(np.float32) / 257 - 127.5)
    grey = (np.clip(height, 0, 255), maps.roughness_u8, maps.specular_u8)
    pictures = [
        maps.albedo_srgb,
        maps.relief_normal_u16 // 257,
        *(np.repeat(g[..., None], 3, 2) for g in grey),
    ]
    small = [
        cv2.resize(np.asarray(picture, np.float32), (tile, tile), interpolation=cv2.INTER_AREA)
        for picture in pictures
    ]
    return np.asarray(np.rint(np.concatenate(small, 1)), np.uint8)


def write_sheet(rows: Sequence[U8], path: Path) -> None:
    """Write rows of pictures under one another. Raises: OSError."""
    import cv2

    if not cv2.imwrite(str(path), np.concatenate(list(rows))[..., ::-1]):
        raise OSError(f"cannot write '{path}'; is the disk full?")
