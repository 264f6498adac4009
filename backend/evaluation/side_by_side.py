"""Truth and reconstruction beside each other, for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.export.map_files import encode_png

_TALLEST_PX = 360
_GAP_PX = 6
_DIFFERENCE_GAIN = 2.0
_GREY = 0.5

Picture = NDArray[np.floating[Any]]


def save_pair(path: Path, truth_srgb: Picture, own_srgb: Picture, mask: NDArray[np.bool_]) -> None:
    """Write truth, reconstruction and their difference ``(H, W, 3)``, cropped to the mask's box, as a PNG.

    The difference is twice as strong, around grey, on the mask alone. Raises: OSError.
    """
    import cv2

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return
    margin = round(0.08 * max(np.ptp(rows), np.ptp(columns)))
    box = (
        slice(max(rows[0] - margin, 0), rows[-1] + 1 + margin),
        slice(max(columns[0] - margin, 0), columns[-1] + 1 + margin),
    )
    truth, own = np.asarray(truth_srgb, np.float32)[box], np.asarray(own_srgb, np.float32)[box]
    difference = np.where(mask[box][..., None], _GREY + _DIFFERENCE_GAIN * (own - truth), _GREY)
    gap = np.ones((len(truth), _GAP_PX, 3), np.float32)
    strip = np.concatenate([truth, gap, own, gap, difference], 1).astype(np.float32)
    if len(strip) > _TALLEST_PX:
        width = round(strip.shape[1] * _TALLEST_PX / len(strip))
        strip = cv2.resize(strip, (width, _TALLEST_PX), interpolation=cv2.INTER_AREA)
    path.write_bytes(encode_png(np.rint(np.clip(strip, 0, 1) * 255).astype(np.uint8)))
