"""How far into the seen area the photo's colour may be believed: borders carry hair and background."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.colour import LUMINANCE_REC709
from backend.texture.grid import WorkingChart, blur, remap

FEATURES = ("eyelids", "eyes", "lips", "nose")
SURE = (0.12, 0.5)  # confidence at which trust begins and is full
OUTER_FEATHER_M = 0.009  # at hair, silhouette, frame
INNER_FEATHER_M = 0.0015  # around eyes, mouth and other small holes in the seen area
_SMALL_HOLE_M2 = 25e-4  # 25 cm²: an eye behind a lens, an open mouth
_LEAK_BAND_M = 0.018
_LEAK_DARK, _LEAK_BRIGHT = 0.38, 0.55  # log contrast to the skin farther in
_LEAK_RIM, _LEAK_RIM_M = (
    0.12,
    0.006,
)  # log contrast of the shadow that hair throws on the skin beside it, its width
_LEAK_ON_M = 0.005  # how far hair that is told on skin is followed over a brow or a lid
_NEIGHBOURHOOD_M = 0.010
_UNLIT = (0.12, 0.28)  # of the skin's median luminance: deep shadow, none
_STAIN = (0.10, 0.20)  # log: a tint off the skin's that skin may have, that it has not
_MOLE_M = 0.003  # moles are as dark, but small


def texel_metres(chart: WorkingChart) -> float:
    """Median distance in metres between neighbouring texels of the part of the chart that faces front."""
    position = chart.position_head
    both = chart.inside[:, :-1] & chart.inside[:, 1:] & (chart.normal_head[:, :-1, 2] > 0.3)
    if not both.any():
        both = chart.inside[:, :-1] & chart.inside[:, 1:]
    step = np.linalg.norm(position[:, 1:] - position[:, :-1], axis=-1)[both]
    return float(np.median(step)) if step.size else 1e-3


def trusted(chart: WorkingChart, confidence: F32, log_ratio: F32, plain: F32, feature: F32) -> F32:
    """Feathered trust ``(W, W)`` in [0, 1] from ``confidence`` ``(W, W)``.

    ``log_ratio`` ``(W, W, 3)`` is the seen colour over what skin should show there; texels near the outer
    border that are far from the skin around them (a lock of hair, a bright wall) lose trust, except where
    ``plain`` ``(W, W)`` in [0, 1] says that a brow or lips must look different. Unseen texels in ``feature``
    ``(W, W)`` (lids, lips, nose) are holes in the face, whatever they are connected to.
    """
    texel = texel_metres(chart)
    sure = smoothstep((confidence - SURE[0]) / (SURE[1] - SURE[0])) * chart.inside
    seen = sure > 0.2
    if not seen.any():
        return np.zeros(confidence.shape, np.float32)
    holes = _small_holes(chart, chart.inside & ~seen) | (chart.inside & ~seen & (feature > 0.3))
    leak = _leaks(chart, seen, _distance(chart.inside & ~seen & ~holes) * texel, log_ratio, texel)
    # Brows and lashes may be dark, but not where hair that hangs beside them goes on over them.
    on_skin = leak & (plain > 0.7)
    leak &= on_skin | (_distance(on_skin) * texel < _LEAK_ON_M)
    # What does not belong moves the border inwards: its own blurred rim must go with it.
    outer = _distance((chart.inside & ~seen & ~holes) | leak) * texel
    inner = _distance(holes) * texel
    feather = smoothstep(outer / OUTER_FEATHER_M) * smoothstep(inner / INNER_FEATHER_M)
    return (sure * feather).astype(np.float32)


def better_across(
    chart: WorkingChart, rgb_linear: F32, log_ratio: F32, trust: F32, plain: F32, index: F32
) -> F32:
    """``(W, W)`` in [0, 1]: where a shadow stains ``plain`` skin that is lit on the face's other side.

    In deep shadow little light of another colour, and the sensor's noise, tint the skin; taking the light out
    would bring that up. A beard is dark on both sides and stays. ``rgb_linear`` ``(W, W, 3)`` is the seen
    colour, ``log_ratio`` that over what skin should show, ``index`` the other side's texels.
    """
    texel = texel_metres(chart)
    skin = (trust > 0.5) & (plain > 0.9)
    if not skin.any():
        return np.zeros(trust.shape, np.float32)
    sigma = _MOLE_M / texel
    bright = blur(rgb_linear @ LUMINANCE_REC709, sigma, trust)
    share = bright / max(float(np.median(bright[skin])), 1e-6)
    lit = smoothstep((share - _UNLIT[0]) / (_UNLIT[1] - _UNLIT[0]))
    tint = blur(log_ratio - log_ratio.mean(-1, keepdims=True), sigma, trust)
    off = np.linalg.norm(tint - np.median(tint[skin], axis=0), axis=-1)
    stained = smoothstep((off - _STAIN[0]) / (_STAIN[1] - _STAIN[0]))
    return plain * (1 - lit) * stained * remap((lit * trust).astype(np.float32), index)


def _leaks(
    chart: WorkingChart, seen: NDArray[np.bool_], depth_m: F32, log_ratio: F32, texel_m: float
) -> NDArray[np.bool_]:
    """Seen texels ``depth_m`` ``(W, W)`` metres within the outer border that look unlike the skin inside."""
    deep = seen & (depth_m > _LEAK_BAND_M)
    if deep.sum() < 100:
        return np.zeros_like(seen)
    everywhere = np.ones(seen.shape, np.float32)
    brightness = log_ratio.mean(-1)
    sigma = _NEIGHBOURHOOD_M / texel_m
    around = blur(brightness, sigma, deep.astype(np.float32))
    reach = blur(deep.astype(np.float32), sigma, everywhere)
    typical = np.where(reach > 0.02, around, np.median(brightness[deep]))
    smooth = blur(brightness, 0.0015 / texel_m, seen.astype(np.float32))
    odd: NDArray[np.bool_] = (
        seen
        & (depth_m < _LEAK_BAND_M)
        & ((smooth < typical - _LEAK_DARK) | (smooth > typical + _LEAK_BRIGHT))
    )
    rim = seen & (smooth < typical - _LEAK_RIM) & (_distance(odd) * texel_m < _LEAK_RIM_M)
    return odd | rim


def smoothstep(t: NDArray[np.floating[Any]]) -> F32:
    """3t² − 2t³ of ``t`` clipped to [0, 1]."""
    x = np.clip(np.asarray(t, np.float32), 0, 1)
    return (x * x * (3 - 2 * x)).astype(np.float32)


def _distance(barrier: NDArray[np.bool_]) -> F32:
    """Texels to the nearest ``barrier`` texel; large where there is none."""
    import cv2

    if not barrier.any():
        return np.full(barrier.shape, 1e6, np.float32)
    out: F32 = cv2.distanceTransform((~barrier).astype(np.uint8), cv2.DIST_L2, 5).astype(np.float32)
    return out


def _small_holes(chart: WorkingChart, unseen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    import cv2

    count, labels = cv2.connectedComponents(unseen.astype(np.uint8), connectivity=4)
    area = np.bincount(labels.ravel(), _texel_area(chart).ravel(), count)
    small = area < _SMALL_HOLE_M2
    small[0] = False
    out: NDArray[np.bool_] = small[labels]
    return out


def _texel_area(chart: WorkingChart) -> F32:
    """Surface area (m²) that each texel stands for, 0 outside; cut off where islands meet."""
    position = chart.position_head
    right = np.zeros_like(position)
    down = np.zeros_like(position)
    beside = chart.inside[:, :-1] & chart.inside[:, 1:]
    below = chart.inside[:-1] & chart.inside[1:]
    right[:, :-1] = np.where(beside[..., None], np.diff(position, axis=1), 0)
    down[:-1] = np.where(below[..., None], np.diff(position, axis=0), 0)
    area: F32 = np.linalg.norm(np.cross(right, down), axis=-1).astype(np.float32)
    limit = np.float32(20 * np.median(area[chart.inside]))
    return np.minimum(area, limit)
