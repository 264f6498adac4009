"""Folds beside nose and mouth, and rims of shadows: dark lines that are light, not skin.

Little light reaches into a fold, and what does has met skin before, so it comes out dark and deep red. Moles,
stubble and freckles are no lines.
"""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32
from backend.colour import LUMINANCE_REC709
from backend.texture.grid import blur
from backend.texture.relief import coherence
from backend.texture.trust import smoothstep

_WIDEST_M = 0.003  # Gaussian sigma above which it is no line
_SMOOTH_M = 0.0006
_ALONG_M = 0.0015  # within which its direction is judged
_LINE = (0.15, 0.5)  # coherence: none, surely one
_DARKEST, _REDDEST = 0.18, 0.05  # log: what a line of skin may be off the skin around it
_FROM_LOG = (0.08, 0.20)  # how dark or coloured (log) a line is that is looked at, that surely is one


def folds(residual: F32, inside: F32, texel_m: float, spare: F32) -> F32:
    """What of the log ``residual`` ``(W, W, 3)`` lies in folds and is too dark or too red for skin.

    ``inside`` ``(W, W)`` is the chart, ``spare`` ``(W, W)`` in [0, 1] where lines are features (lips, brows).
    """
    smooth = blur(residual, _SMOOTH_M / texel_m, inside)
    around = blur(residual, _WIDEST_M / texel_m, inside)
    line = _lines(smooth - around, texel_m) * (1 - spare) * inside
    # What lies beside the line alone, or the line would hide part of its own depth.
    around = blur(residual, _WIDEST_M / texel_m, np.maximum(inside * (1 - line), 1e-3 * inside))
    fine = smooth - around
    bright = fine @ LUMINANCE_REC709
    tint = fine - bright[..., None]
    dark = np.minimum(bright, 0)
    too_dark = dark + _DARKEST * np.tanh(-dark / _DARKEST)
    too_red = tint - _REDDEST * np.tanh(tint / _REDDEST)
    part = blur(line.astype(np.float32), _SMOOTH_M / texel_m, inside)
    out: F32 = (part[..., None] * (too_dark[..., None] + too_red)).astype(np.float32)
    return out


def _lines(fine: F32, texel_m: float) -> F32:
    """How surely a texel of ``fine`` ``(W, W, 3)`` lies in a dark or coloured line, ``(W, W)`` in [0, 1]."""
    bright = fine @ LUMINANCE_REC709
    depth = np.maximum(-bright, np.abs(fine - bright[..., None]).max(-1))
    line = smoothstep((coherence(bright, _ALONG_M / texel_m) - _LINE[0]) / (_LINE[1] - _LINE[0]))
    return line * smoothstep((depth - _FROM_LOG[0]) / (_FROM_LOG[1] - _FROM_LOG[0]))
