"""Specular highlights on skin: what is brighter *and* paler than the skin around it.

Dichromatic model (Shafer 1985): seen colour = m·(diffuse chromaticity) + s·(light colour); after the
shading is divided out, the light's colour is white.
"""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32
from backend.colour import luminance
from backend.texture.grid import blur
from backend.texture.surface import SkinSurface

_STRENGTH = 0.8
_MARGIN = 1.06  # skin this much brighter than its surroundings is not yet a highlight
_SURROUND_M = 0.02
_SMOOTH_M = 0.002
_ABOVE_LOG = 0.05


def highlight(even: F32, skin_colour: F32, weight: F32, texel_m: float) -> F32:
    """White highlight ``(W, W)`` ≥ 0 to be subtracted from ``even`` ``(W, W, 3)``.

    ``skin_colour`` ``(W, W, 3)`` is the matte colour of the skin around each texel, ``weight`` ``(W, W)`` in
    [0, 1] says where plain skin is.
    """
    chroma = skin_colour / np.maximum(skin_colour.sum(-1, keepdims=True), 1e-4) * 3
    # Least squares of even ≈ m·chroma + s·1, per texel; singular for grey skin, hence the ridge.
    cc = (chroma * chroma).sum(-1) + 1e-3
    c1 = chroma.sum(-1)
    ce = (chroma * even).sum(-1)
    e1 = even.sum(-1)
    s = (cc * e1 - c1 * ce) / np.maximum(3 * cc - c1 * c1, 1e-3)
    excess = np.maximum(luminance(even) - _MARGIN * luminance(skin_colour), 0)
    pale = np.minimum(np.maximum(s, 0), excess) * weight
    # Gloss is smoother than skin: its fine structure is left where it is, as skin.
    smooth = blur(pale.astype(np.float32), max(_SMOOTH_M / texel_m, 0.5), np.ones_like(pale, np.float32))
    return (_STRENGTH * smooth).astype(np.float32)


def matte_colour(surface: SkinSurface, colour_v: F32, prior_v: F32, share: F32) -> F32:
    """Colour ``(V, 3)`` of the matte skin around each vertex: a surface low-pass that leans to the darker.

    ``prior_v`` is the albedo basis' colour, which fixes the chromaticity where a highlight is wide.
    """
    log_ratio = np.log(np.maximum(colour_v, 1e-3) / np.maximum(prior_v, 1e-3)).astype(np.float32)
    value, weight = surface.gather(log_ratio, share)
    weight = weight / max(float(weight.max()), 1e-9)
    # Where nothing was seen, the field is held weakly at the seen skin's own offset.
    centre = np.average(value, axis=0, weights=weight + 1e-9)
    value = np.where((weight > 1e-3)[:, None], value, centre)
    w = weight + 1e-3
    low_pass = surface.smoother(w, _SURROUND_M)
    field = low_pass(value)
    for _ in range(3):
        # Highlights lie above: clipped to just over the field, they pull it up no more.
        above = np.maximum((value - field).mean(-1, keepdims=True) - _ABOVE_LOG, 0)
        field = low_pass(value - above)
    return (np.exp(surface.scatter(field)) * prior_v).astype(np.float32)
