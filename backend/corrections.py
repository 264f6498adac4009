"""What the artist corrected on the photo: landmarks put in their place, skin that is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backend.artifacts import F32, Observation, Run
from backend.errors import BadInput


class Pin(NamedTuple):
    """A landmark with its place in the camera's picture, pixel centres at .5."""

    landmark: int  # 0…477
    x_px: float
    y_px: float


PINS_ARE_EMBEDDED = (
    "landmark corrections (pins) are not for the marcus engine, whose head is one look of a network; "
    "take them away, or reconstruct with the embedded engine"
)


@dataclass(frozen=True)
class Corrections:
    """Pins correct the fitted head and all that follows; the mask changes what follows the fit, so painting
    on the skin never moves the geometry."""

    pins: tuple[Pin, ...] = ()
    exclude: F32 | None = None  # (H, W) in [0, 1], the picture's size: 1 is no skin


def excluding(observation: Observation, mask: F32, run: Run) -> Observation:
    """``observation`` without the skin under ``mask`` ``(H, W)`` in [0, 1]. Raises: BadInput (size)."""
    photo = observation.photo
    if mask.shape != (photo.height, photo.width):
        raise BadInput(
            f"the painted mask is {mask.shape[1]}×{mask.shape[0]} pixels and the photo "
            f"{photo.width}×{photo.height}; paint it on this photo again"
        )
    return replace(observation, skin_mask=(observation.skin_mask * (1.0 - mask)).astype(np.float32))


def read_mask(path: Path) -> F32:
    """A painted mask ``(H, W)`` in [0, 1] from a picture file. Raises: BadInput."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(np.asarray(image.convert("L"), np.float32) / 255, np.float32)
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"the painted mask cannot be read ({error}); paint it again") from error
