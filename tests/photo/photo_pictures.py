"""Arrays as the photo stages take them."""

from __future__ import annotations

import numpy as np

from backend.artifacts import Photo


def as_photo(rgb_u8: np.ndarray, name: str = "test") -> Photo:
    rgb = np.ascontiguousarray(rgb_u8[..., :3], np.float32) / np.float32(255)
    return Photo(name, "", rgb, None, (rgb.shape[1], rgb.shape[0]))
