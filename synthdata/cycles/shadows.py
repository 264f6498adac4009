"""Shadows of what is worn, carried from the portrait into the lit chart. No Blender."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.colour import luminance
from synthdata.cycles.ground import smoothstep

_CUT = 0.92  # linear: what is brighter may have been cut by the sensor
_FINE, _WIDE = 1 / 170, 1 / 20  # of the chart's side: smoothing where the portrait shows skin, and beyond
_DARKEST, _BRIGHTEST = 0.02, 1.25  # clothes also throw light back


def with_shadows(lit: F32, seen_linear: F32, confidence: F32, inside: NDArray[np.bool_]) -> F32:
    """``lit`` ``(S, S, 3)``, the bare head's chart as exposed, times what is worn leaves of the light.

    ``seen_linear`` ``(S, S, 3)`` is the portrait on the chart, ``confidence`` ``(S, S)`` where it shows skin.
    There the smoothed ratio of the two is taken; away from it the ratio goes back to 1, so that skin under
    hair or a hat is lit as if nothing lay on it: the target is a whole face, not a dark cap.
    """
    size = len(lit)
    weight = np.where(inside & (seen_linear.max(-1) < _CUT), confidence, 0).astype(np.float32)

    def ratio_and_share(part_of_side: float) -> tuple[F32, F32]:
        sigma = max(part_of_side * size, 0.8)
        seen, bare, share = (
            cv2.GaussianBlur(values, (0, 0), sigma)
            for values in (weight * luminance(seen_linear), weight * luminance(lit), weight)
        )
        return np.clip(seen / np.maximum(bare, 1e-6), _DARKEST, _BRIGHTEST), share

    fine, near = ratio_and_share(_FINE)
    wide, far = ratio_and_share(_WIDE)
    beyond = 1 + smoothstep(0.02, 0.4, far) * (wide - 1)
    known = smoothstep(0.15, 0.6, near)
    return np.asarray(lit * (beyond + known * (fine - beyond))[..., None], np.float32)
