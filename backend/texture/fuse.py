"""One chart from several photographs of a person: the first's texels, and the others' where it shows none.

Each photograph has its own light. What another one shows is first brought under the first's by the fitted
lights, then tinted by what both show: the ratio of their colours, smooth over the chart and carried on into
what the first does not see. Borders are blended over the first's falling confidence. Averaging where both
see would blur pores that the fits misplace by a texel or two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from backend.artifacts import F32, HeadFit, PartialUV, Run
from backend.shading import sh
from backend.texture.grid import blur, enlarge, fill_unknown, safe_log, weighted_reduce

OWN = (0.15, 0.5)  # confidence of the first photograph between which it takes over from the others
SHARED = 0.25  # least confidence of both where their colours are compared
TINT_TEXELS = 128  # side of the chart on which colours are compared
TINT_SIGMA = 4.0  # texels of it over which the ratio is smooth
MOST_TINT = 1.2  # of the logarithm: stronger disagreement is a shadow or hair, not light


def fuse(partials: Sequence[PartialUV], fits: Sequence[HeadFit], run: Run) -> PartialUV:
    """The first of ``partials`` completed by the others, all of one head and one chart size.

    Raises: ValueError for charts of different sizes, Cancelled.
    """
    fused, fit = partials[0], fits[0]
    size = fused.chart.size
    for number, (other, its_fit) in enumerate(zip(partials[1:], fits[1:], strict=True), start=1):
        if other.chart.size != size:
            raise ValueError("charts of different sizes cannot be fused")
        fused = _completed(fused, fit, other, its_fit)
        run.progress("fused UV", number / len(partials))
    return fused


def _completed(own: PartialUV, fit: HeadFit, other: PartialUV, its_fit: HeadFit) -> PartialUV:
    share = np.clip((own.confidence - OWN[0]) / (OWN[1] - OWN[0]), 0, 1)
    share = (share * share * (3 - 2 * share)).astype(np.float32)
    share[other.confidence <= 0] = 1.0
    relit = _relit(other, its_fit, own, fit)
    relit *= np.exp(_tint(own, other, relit))
    rgb = relit * (1 - share[..., None])
    rgb += own.rgb_linear * share[..., None]
    confidence = np.maximum(own.confidence, other.confidence * (1 - share))
    return replace(own, rgb_linear=rgb.astype(np.float32), confidence=confidence.astype(np.float32))


def _relit(other: PartialUV, its_fit: HeadFit, own: PartialUV, fit: HeadFit) -> F32:
    """``other``'s texels as the light of ``fit`` would show them, by the two irradiances."""
    rgb = other.rgb_linear.copy()
    seen = np.flatnonzero(other.confidence.ravel() > 0)
    there = sh.irradiance(its_fit.radiance_sh, other.chart.normal_head.reshape(-1, 3)[seen])
    here = sh.irradiance(fit.radiance_sh, own.chart.normal_head.reshape(-1, 3)[seen])
    low = 0.1 * float(np.mean(there)), 0.1 * float(np.mean(here))
    ratio = np.maximum(here, low[1]) / np.maximum(there, low[0])
    rgb.reshape(-1, 3)[seen] *= ratio.astype(np.float32)
    return rgb


def _tint(own: PartialUV, other: PartialUV, relit: F32) -> F32:
    """Logarithm of what ``relit`` must be multiplied by, ``(S, S, 3)``, smooth over the chart."""
    size = own.chart.size
    factor = max(1, size // TINT_TEXELS)
    both = np.minimum(own.confidence, other.confidence)
    both = np.where(both > SHARED, both, 0).astype(np.float32)
    ratio = np.where(both[..., None] > 0, safe_log(own.rgb_linear) - safe_log(relit), 0).astype(np.float32)
    small, weight = weighted_reduce(ratio, both, factor)
    if not (weight > 0).any():
        return np.zeros_like(own.rgb_linear)
    known = weight > 0
    middle = np.median(small[known], axis=0)
    small = np.clip(small, middle - MOST_TINT, middle + MOST_TINT)
    smooth = np.ascontiguousarray(blur(small, TINT_SIGMA, weight))
    fill_unknown(smooth, known)
    return enlarge(np.ascontiguousarray(smooth), size)
