"""Colour: sRGB encoding and linear light (IEC 61966-2-1), CIE L*a*b*; Rec. 709 primaries throughout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMINANCE_REC709 = np.array([0.2126, 0.7152, 0.0722], np.float32)
RGB_TO_XYZ = np.array([(0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)])
WHITE_D65_XYZ = RGB_TO_XYZ.sum(1)


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


def lab_to_linear(lab: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """CIE L*a*b* (D65) ``(…, 3)`` to linear Rec. 709 ``(…, 3)``, which may leave [0, 1]."""
    lab = np.asarray(lab, np.float64)
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * WHITE_D65_XYZ
    return np.asarray(xyz @ np.linalg.inv(RGB_TO_XYZ).T)


def linear_to_lab(linear: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The inverse of ``lab_to_linear``; negative light is allowed."""
    t = (np.asarray(linear, np.float64) @ RGB_TO_XYZ.T) / WHITE_D65_XYZ
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)
