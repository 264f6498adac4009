"""What the fitted albedo basis says of this person's skin, as far as it can be believed.

The basis is linear. Where the photograph shows a face, its coefficients are held by what is seen; far from
there, at the neck and behind the ears, the same coefficients may leave every skin's colours, and drive the
blue of dark skin below zero.
"""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32, F64, HeadFit
from backend.colour import LUMINANCE_REC709
from backend.head.base import ParametricHead
from backend.texture.surface import SkinSurface

_PRIOR_SOFTNESS_M = 0.010
_DARKEST = 0.005  # albedo
# How far (log) a place may be off the face's tone, beyond what it is on the mean head: plain skin, features.
_OFF_BRIGHT, _OFF_TINT = (0.6, 2.0), (0.12, 0.5)
_FACE = 0.5  # weight from which a vertex tells the face's tone
COLOURED = ("lips", "brows")  # regions whose colour is not that of the skin around them
_NOT_PLAIN_SKIN = ("lips", "brows", "eyes", "eyelids", "lashes", "nostrils", "scalp")


def fitted_albedo(fit: HeadFit) -> F32:
    """The fitted albedo basis' colour ``(V, 3)``, without what no skin shows: see ``believable``."""
    return believable(fit.head, fit.head.albedo(fit.albedo_coefficients))


def skin_prior(fit: HeadFit, skin: SkinSurface) -> F32:
    """``fitted_albedo`` ``(V, 3)``, softened where nothing but skin is.

    A linear basis may carry the outline of a beard or a hairline that this person does not have.
    """
    albedo = fitted_albedo(fit)
    value, weight = skin.gather(albedo, np.ones(len(albedo), np.float32))
    soft = skin.scatter(skin.smooth(value, np.minimum(weight, 1.0), _PRIOR_SOFTNESS_M))
    feature = np.zeros(len(albedo), np.float32)
    for name in COLOURED:
        if name in fit.head.regions:
            feature = np.maximum(feature, np.clip(fit.head.regions[name], 0, 1))
    on_skin = (skin.node >= 0)[:, None]
    out = np.where(on_skin, soft + feature[:, None] * (albedo - soft), albedo)
    return np.clip(out, _DARKEST, 1).astype(np.float32)


def believable(head: ParametricHead, albedo: F32) -> F32:
    """``albedo`` ``(V, 3)`` whose pattern over the skin stays near that of the mean head.

    The face's tone is the person's and stays. What a place of skin differs from it by, beyond what it does
    on the mean head, saturates, in brightness and in colour; lips, brows and lids have more liberty. Other
    parts than skin stay as they are.
    """
    plain = plain_skin(head)
    on_skin = np.zeros(len(albedo), bool)
    on_skin[head.triangles[head.triangle_part == 0]] = True
    mean = np.log(np.maximum(head.albedo_mean, _DARKEST)).astype(np.float64)
    ratio = np.log(np.maximum(albedo, _DARKEST)) - mean
    off = ratio - _tone(head, ratio, plain * on_skin)
    bright = (off @ LUMINANCE_REC709)[:, None]
    liberty = 1 - plain[:, None]
    kept = _limited(bright, _OFF_BRIGHT, liberty) + _limited(off - bright, _OFF_TINT, liberty)
    return np.where(on_skin[:, None], np.exp(mean + ratio - off + kept), albedo).astype(np.float32)


def _tone(head: ParametricHead, ratio: F64, skin: F32) -> F64:
    """Median ``(3,)`` of ``ratio`` ``(V, 3)`` over the face's plain skin, or all plain skin."""
    face = skin * np.clip(head.regions.get("face", np.ones_like(skin)), 0, 1)
    use = face > _FACE
    median: F64 = np.median(ratio[use if use.any() else skin > 0], axis=0)
    return median


def _limited(value: F64, limits: tuple[float, float], liberty: F32) -> F64:
    """``value`` that saturates smoothly at a limit between the two, by ``liberty`` in [0, 1]."""
    limit = limits[0] + (limits[1] - limits[0]) * liberty
    out: F64 = limit * np.tanh(value / limit)
    return out


def plain_skin(head: ParametricHead) -> F32:
    """Per-vertex weight ``(V,)`` in [0, 1] of skin without features of another colour."""
    weight = np.ones(len(head.mean_vertices), np.float32)
    for name in _NOT_PLAIN_SKIN:
        if name in head.regions:
            weight *= 1 - np.clip(head.regions[name], 0, 1)
    return weight
