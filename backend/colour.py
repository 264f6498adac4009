"""Colour transfer: sRGB encoding and linear light (IEC 61966-2-1), Rec. 709 primaries throughout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMINANCE_REC709 = np.array([0.2126, 0.7152, 0.0722], np.float32)


def srgb_to_linear(srgb: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Decode sRGB values (any shape, [0, 1]) to linear light, float32."""
    s = np.asarray(srgb, np.float32)
    return np.where(s <= 0.04045, s / 12.92, ((np.maximum(s, 0.04045) + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def linear_to_srgb(linear: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Encode linear light (any shape, values below 0 clip to 0) as sRGB, float32; above 1 is kept."""
    x = np.maximum(np.asarray(linear, np.float32), 0.0)
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 0.0031308) ** (1 / 2.4) - 0.055).astype(
        np.float32
    )


def luminance(linear: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Rec. 709 luminance of linear ``(..., 3)`` colours, shape ``(...)``."""
    return (np.asarray(linear, np.float32) @ LUMINANCE_REC709).astype(np.float32)
