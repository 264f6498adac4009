"""How light the photographed skin is: absolute albedo, which shading alone cannot tell.

A photo shows albedo times light, and cameras expose every face to middle grey. What tells them apart is
another surface in the same light. In a face that is the white of the eye: its albedo hardly differs between
people. Three cues are weighed on a grid of lightness, each with the spread that it has in photographs:

- skin below the eye over the white of the eye (both shaded by the brow, the white by the lids as well, the
  more the narrower they are; the skin's own gloss, about 4 % of the light, lies on top of its albedo). How
  dark the upper lid is beside the skin below tells how much of the light comes from above, where the brow
  keeps it from the white. Of two eyes one tells: not a foreshortened one, whose white is mostly lids, and
  else the one with the brighter skin: below the other lies a shadow,
- the skin's hue with its gloss, after the light's colour (the camera's white balance, and the eyes' white,
  which lids tint): melanin takes blue before green before red,
- the face's brightness in the picture, weakly: dark skin is exposed darker, though not by as much as it is.

Where no eye is seen the belief is wide, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.colour import LUMINANCE_REC709
from backend.head.skin_tones import skin_of_lightness
from backend.photo.eye_whites import EyeWhite

_LIGHTNESS = np.linspace(16.0, 82.0, 133)  # the grid, L*
_LIKELY_LIGHTNESS = (26.0, 75.0)  # all tones between are equally likely; beyond, less so
_LIKELY_MARGIN = 5.0

_SCLERA = np.array([0.72, 0.68, 0.64])  # linear albedo
_WHITE_SHOWN = 0.50  # radiance of an open eye's white over a white card's below the eye: albedo × lids
# A narrower eye's white lies deeper in the shadow of lids and lashes: openings between which the logarithm
# of what it shows falls, per iris diameter of opening. Read off a few portraits with squints and smiles.
_NARROW, _OPEN, _NARROWING = 0.55, 0.85, 4.0
# Log of the upper lid over the skin below (abscissae), and what it makes of the white (log): a darker lid
# than usual lies in the brow's shadow, and the white below it as well. Part may be make-up: bounded.
_LID, _LID_SHADES = (-1.7, -1.2, -0.77, -0.4), (-0.5, -0.115, 0.0, 0.07)
_RATIO_SIGMA = 0.25  # of the log ratio
_GLOSS = 0.04  # of a card's radiance, what skin adds by its surface
_ONE_EYE = 1.3  # times as uncertain where one eye tells alone, or the other is foreshortened
_FORESHORTENED = 0.85  # of the other eye's width
# An outline that shows lids or a tinted lens instead of the white is as bright and as coloured as skin.
_NO_WHITE_RATIO, _NO_WHITE_TINT = 0.9, 1.2

# Logarithmic chroma along (half blue over red, green over the mean of both).
_SCLERA_SHOWN = np.array([-0.05, 0.0])  # beside its albedo's: light that reaches it from lids and corners
_SURFACE = 0.01  # white light that skin returns by its surface, over a card's, off its highlights
_BALANCE_SIGMA = np.array([0.20, 0.08])  # of light's colour in a white-balanced photo
_SCLERA_SIGMA = np.array([0.20, 0.10])  # of its colour as the eyes tell it
_PERSON_SIGMA = np.array([0.10, 0.05])  # of skins of one lightness
_HUE_TAILS = 3.0  # degrees of freedom
_EXPOSED_AT, _EXPOSED_POWER, _EXPOSED_SIGMA = 0.30, 0.3, 0.4  # brightness of skin of albedo 0.3, of others
_BRIGHTER_HALF = (0.5, 0.9)  # quantiles of brightness: not in shadow, not in a highlight


@dataclass(frozen=True)
class ToneBelief:
    """What is believed of a face's skin and light before they are told apart."""

    colour_linear: F64  # (3,) albedo of plain facial skin
    sigma_log: float  # of its luminance
    sigma_lightness: float  # the same in L*
    light_log: F64  # (3,) log of the light's colour, of mean 0
    eyes: int  # that were taken for it


def believe_tone(whites: Sequence[EyeWhite], skin_linear: NDArray[np.floating[Any]]) -> ToneBelief:
    """The belief from what the eyes show and from the face's skin pixels ``(N, 3)``, linear.

    Without any skin pixel the exposure and the hue say nothing.
    """
    grid = skin_of_lightness(_LIGHTNESS)
    luminance = grid @ LUMINANCE_REC709
    outside = np.maximum(_LIKELY_LIGHTNESS[0] - _LIGHTNESS, 0) + np.maximum(
        _LIGHTNESS - _LIKELY_LIGHTNESS[1], 0
    )
    log_p = -0.5 * (outside / _LIKELY_MARGIN) ** 2

    shown = [eye for eye in whites if _shows_white(eye)]
    light: F64 = np.zeros(2)
    spread: F64 = np.square(_BALANCE_SIGMA)
    if shown:
        near = _near(shown)
        eye = max(near, key=_ratio)
        gap = np.log(_ratio(eye)) - np.log((luminance + _GLOSS) / _white_shown(eye))
        sigma = _RATIO_SIGMA * (_ONE_EYE if len(near) == 1 else 1.0)
        log_p -= 0.5 * (gap / sigma) ** 2
        told = np.mean([_chroma(eye.white) for eye in shown], axis=0) - _chroma(_SCLERA) - _SCLERA_SHOWN
        light = told * spread / (spread + _SCLERA_SIGMA**2)
        spread = spread * _SCLERA_SIGMA**2 / (spread + _SCLERA_SIGMA**2)
    face = _brighter_half(skin_linear)
    if face is not None:
        gap = np.log(_y(face) / _EXPOSED_AT) - _EXPOSED_POWER * np.log(luminance / _EXPOSED_AT)
        log_p -= 0.5 * (gap / _EXPOSED_SIGMA) ** 2
        apart = _chroma(face) - light - _chroma(grid + _SURFACE)
        # Heavy tails (Student's t): a hue far from all skins is light of two colours, and tells nothing.
        squared = (apart**2 / (spread + _PERSON_SIGMA**2)).sum(1)
        log_p -= 0.5 * (_HUE_TAILS + 2) * np.log1p(squared / _HUE_TAILS)

    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    log_y = np.log(luminance)
    mean = float(p @ log_y)
    lightness = float(p @ _LIGHTNESS)
    # The mean albedo, not the most likely one: it errs least in what a renderer multiplies light by.
    likely = float(np.interp(np.log(p @ luminance), log_y, _LIGHTNESS))
    return ToneBelief(
        colour_linear=skin_of_lightness(np.array([likely]))[0],
        sigma_log=float(np.sqrt(p @ (log_y - mean) ** 2)),
        sigma_lightness=float(np.sqrt(p @ (_LIGHTNESS - lightness) ** 2)),
        light_log=np.array([-light[0] - light[1] / 3, 2 * light[1] / 3, light[0] - light[1] / 3]),
        eyes=len(shown),
    )


def _shows_white(eye: EyeWhite) -> bool:
    ratio = eye.skin / eye.white
    return not (_y(ratio) > _NO_WHITE_RATIO and ratio[0] / ratio[2] < _NO_WHITE_TINT)


def _near(eyes: Sequence[EyeWhite]) -> list[EyeWhite]:
    """Those of ``eyes`` that are not foreshortened."""
    widest = max(eye.width for eye in eyes)
    return [eye for eye in eyes if eye.width >= _FORESHORTENED * widest]


def _ratio(eye: EyeWhite) -> float:
    """Skin below the eye over its white."""
    return _y(eye.skin) / _y(eye.white)


def _white_shown(eye: EyeWhite) -> float:
    """Radiance of this white over that of a white card below the eye."""
    opening = min(max(eye.opening, _NARROW), _OPEN)
    shaded = 0.0 if eye.lid is None else float(np.interp(np.log(max(eye.lid, 1e-3)), _LID, _LID_SHADES))
    return float(_WHITE_SHOWN * np.exp(shaded - _NARROWING * (_OPEN - opening)))


def _brighter_half(colours: NDArray[np.floating[Any]]) -> F64 | None:
    """Median ``(3,)`` of the pixels that are neither dark nor glossy; None where nothing is seen."""
    if len(colours) == 0:
        return None
    bright = np.asarray(colours, np.float64) @ LUMINANCE_REC709
    low, high = np.quantile(bright, _BRIGHTER_HALF)
    median: F64 = np.median(np.asarray(colours, np.float64)[(bright >= low) & (bright <= high)], axis=0)
    return np.maximum(median, 1e-4)


def _chroma(colour: F64) -> F64:
    """``(..., 2)``: half of log blue over red, and log green over their geometric mean."""
    red, green, blue = np.moveaxis(np.log(np.maximum(colour, 1e-4)), -1, 0)
    return np.stack([0.5 * (blue - red), green - 0.5 * (red + blue)], -1)


def _y(colour: F64) -> float:
    return float(colour @ LUMINANCE_REC709)
