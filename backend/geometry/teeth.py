"""Teeth between parted lips: closed rows fill the gap from lip to lip, an open jaw leaves it dark or red."""

from __future__ import annotations

import numpy as np

from backend.artifacts import F64, Observation
from backend.geometry import face_mesh

# Upper and lower inner lip, where front teeth show.
GAP_COLUMNS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402))
PARTED = 0.04  # least gap at the middle, over the outer-eye-corner distance, that shows anything
MIN_GAP_PX = 5.0
SHARE_OF_GAP = (0.35, 0.9)  # from the upper lip down: gums may show above, the lip's shade below
BRIGHT = 0.6  # of the gap's bright end: enamel is rarely darker, a mouth's inside always
PALER_THAN_SKIN = 0.9  # tooth saturation over skin saturation, at most
GREY = 0.06  # skin saturation below which a picture tells no tooth from lip or tongue by colour
FILLED = 0.75  # share of tooth pixels from which rows count as closed


def rows_closed(observation: Observation) -> bool:
    """Whether the photo shows teeth all the way between parted lips: the jaw is (nearly) closed.

    False where the lips are shut, too small to see, or the gap is dark or red.
    """
    share = tooth_share(observation)
    return share is not None and share >= FILLED


def tooth_share(observation: Observation) -> float | None:
    """The share of the gap between the inner lips that looks like teeth, in [0, 1].

    None without a gap, without skin to compare with, and in pictures without colour.
    """
    import cv2

    p = np.asarray(observation.landmarks_px, np.float64)
    left, right = face_mesh.OUTER_EYE_CORNERS
    gap = float(np.linalg.norm(p[13] - p[14]))
    if gap < max(MIN_GAP_PX, PARTED * float(np.linalg.norm(p[left] - p[right]))):
        return None
    share = np.linspace(*SHARE_OF_GAP, 12)[:, None]
    at = np.concatenate([p[a] + share * (p[b] - p[a]) for a, b in GAP_COLUMNS]).astype(np.float32) - 0.5
    picture = np.ascontiguousarray(observation.photo.rgb_srgb, np.float32)
    colour = cv2.remap(picture, at[:, None, 0], at[:, None, 1], cv2.INTER_LINEAR)[:, 0].astype(np.float64)
    skin = observation.photo.rgb_srgb[observation.skin_mask > 0.9]
    skin_saturation = float(np.median(_saturation(skin.astype(np.float64)))) if len(skin) else 0.0
    if skin_saturation < GREY:
        return None
    limit = PALER_THAN_SKIN * skin_saturation
    value = colour.max(1)
    # The gap's own brightest pixels are teeth if there are any; beside skin they cannot be dark.
    bright_end = max(float(np.percentile(value, 90)), float(np.median(skin.max(1))) * 0.7)
    tooth = (value > BRIGHT * bright_end) & (_saturation(colour) < limit)
    return float(tooth.mean())


def _saturation(rgb: F64) -> F64:
    """Saturation ``(N,)`` in [0, 1] of colours ``(N, 3)``: chroma over the largest channel."""
    high = rgb.max(1)
    return np.asarray((high - rgb.min(1)) / np.maximum(high, 1e-6))
