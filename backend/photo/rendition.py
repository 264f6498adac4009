"""Photographs whose exposure or colours say little of the skin: named, and made usable as far as they go.

Burnt-out pixels stop counting as skin. A photograph taken in the dark is brightened and smoothed. Where hue
says nothing of the skin (black-and-white, toned, or lit by strongly coloured light) brightness alone is kept,
and the skin gets an average skin's hue: better a plain person than a red one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Photo, Run
from backend.colour import LUMINANCE_REC709, linear_to_srgb, srgb_to_linear
from backend.head.skin_tones import skin_of_lightness

_MIN_PIXELS = 100  # of skin, below which nothing is judged
_SAMPLES = 20_000  # pixels that are looked at
_BURNT_SRGB, _BURNT_SHARE = 0.97, 0.10  # of the least channel; share of the skin
_CLIPPED_SHARE = 0.3  # of what is left, that has lost one channel and with it its hue
_DARK_LINEAR, _BRIGHTENED_LINEAR = 0.03, 0.18  # luminance of the skin's brighter part
_BRIGHT_QUANTILE = 0.9
_FLOOR = 0.002  # linear; below it hue is noise
# Log ratios of channels, less what follows from brightness: in grey pictures below, but for the darkest.
_GREY_SPREAD, _GREY_QUANTILE, _GREY_FLOOR = 0.05, 0.85, 0.01
_LIGHTNESS = np.linspace(20.0, 78.0, 30)  # L* of skins that hues are compared with
# Logarithmic chroma (half blue over red, green over both): camera's white balance and persons together.
_HUE_SIGMA = np.array([0.20, 0.10])
_FAR_HUE = 3.5  # of these from every skin: the light's colour
_PLAIN_LIGHTNESS = 57.0


def made_usable(photo: Photo, skin: F32, run: Run) -> tuple[Photo, F32]:
    """``photo`` and its ``skin`` mask ``(H, W)`` as they can be used; ``run`` is told what was done."""
    where = skin > 0.5
    if where.sum() < _MIN_PIXELS:
        return photo, skin
    name = photo.name
    burnt = photo.rgb_srgb.min(-1) >= _BURNT_SRGB
    share = float(burnt[where].mean())
    if share > _BURNT_SHARE:
        run.warn(
            f"{100 * share:.0f} % of the skin in {name} is burnt out; its colour there is made up. "
            "A darker exposure would show it."
        )
        skin = np.where(burnt, 0.0, skin).astype(np.float32)
        where = skin > 0.5
        if where.sum() < _MIN_PIXELS:
            return photo, skin
        if float((photo.rgb_srgb[where].max(-1) >= _BURNT_SRGB).mean()) > _CLIPPED_SHARE:
            return _in_plain_hue(photo, skin, srgb_to_linear(_some(photo.rgb_srgb[where]))), skin
    colours = srgb_to_linear(_some(photo.rgb_srgb[where]))
    bright = float(np.quantile(colours @ LUMINANCE_REC709, _BRIGHT_QUANTILE))
    if bright < _DARK_LINEAR:
        run.warn(
            f"The face in {name} is almost black; it was brightened and smoothed, so skin tone and detail "
            "are uncertain. A brighter photograph is better."
        )
        photo = _brightened(photo, _BRIGHTENED_LINEAR / max(bright, 1e-4))
        colours = srgb_to_linear(_some(photo.rgb_srgb[where]))
    if is_monochrome(_around(photo.rgb_srgb, where)):
        run.warn(
            f"{name} is black and white or toned; the skin's hue is an average skin's, not this person's."
        )
        return _in_plain_hue(photo, skin, colours), skin
    if hue_from_skin(colours) > _FAR_HUE:
        run.warn(
            f"The face in {name} is lit in strong colours, or painted; the skin's hue is an average skin's, "
            "not this person's. White light would show it."
        )
        return _in_plain_hue(photo, skin, colours), skin
    return photo, skin


def is_monochrome(rgb_srgb: F32) -> bool:
    """Whether all colours ``(H, W, 3)`` follow from brightness, as in black-and-white and toned pictures."""
    colours = srgb_to_linear(_some(rgb_srgb.reshape(-1, 3)))
    colours = colours[(colours.min(1) > _GREY_FLOOR) & (colours.max(1) < 0.9)].astype(np.float64)
    if len(colours) < _MIN_PIXELS:
        return False
    log = np.log(colours)
    ratios = log[:, [0, 2]] - log[:, [1]]
    powers = np.vander(log[:, 1], 4)
    rest = ratios - powers @ np.linalg.lstsq(powers, ratios, rcond=None)[0]
    return bool(np.quantile(np.abs(rest), _GREY_QUANTILE, axis=0).max() < _GREY_SPREAD)


def _around(rgb_srgb: F32, where: NDArray[np.bool_]) -> F32:
    """The part of the picture that bounds ``where`` ``(H, W)``: skin, lips, eyes, some hair."""
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    return rgb_srgb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def hue_from_skin(colours_linear: NDArray[np.floating[Any]]) -> float:
    """How far hues ``(N, 3)`` lie from every skin's, in standard deviations: the median pixel's."""
    chroma = _chroma(colours_linear)
    skins = _chroma(skin_of_lightness(_LIGHTNESS))
    apart = (chroma[:, None] - skins[None]) / _HUE_SIGMA
    return float(np.median(np.sqrt((apart**2).sum(-1).min(1))))


def _chroma(colours: NDArray[np.floating[Any]]) -> F64:
    red, green, blue = np.moveaxis(np.log(np.maximum(colours.astype(np.float64), _FLOOR)), -1, 0)
    return np.stack([0.5 * (blue - red), green - 0.5 * (red + blue)], -1)


def _some(pixels: F32) -> F32:
    """At most ``_SAMPLES`` of ``pixels`` ``(N, 3)``, evenly taken."""
    return pixels[:: max(1, len(pixels) // _SAMPLES)]


def _brightened(photo: Photo, gain: float) -> Photo:
    import cv2

    rgb = linear_to_srgb(np.minimum(srgb_to_linear(photo.rgb_srgb) * np.float32(gain), 1.0)).astype(
        np.float32
    )
    smooth = cv2.bilateralFilter(cv2.medianBlur(rgb, 5), d=9, sigmaColor=0.15, sigmaSpace=3.0)
    return replace(photo, rgb_srgb=np.ascontiguousarray(np.clip(smooth, 0, 1), np.float32))


def _in_plain_hue(photo: Photo, skin: F32, colours: F32) -> Photo:
    """The photo's brightness (what all channels saw) in grey, its skin in an average skin's hue."""
    linear = srgb_to_linear(photo.rgb_srgb)
    shown = colours.sum(1)
    level = linear.sum(-1) * np.float32(
        np.clip(np.median(colours @ LUMINANCE_REC709), 0.05, 0.4) / max(float(np.median(shown)), 1e-4)
    )
    hue = skin_of_lightness(np.array([_PLAIN_LIGHTNESS]))[0]
    hue = (hue / (hue @ LUMINANCE_REC709)).astype(np.float32)
    tinted = level[..., None] * (1 + skin[..., None] * (hue - 1))
    return replace(photo, rgb_srgb=linear_to_srgb(np.minimum(tinted, 1.0)).astype(np.float32))
