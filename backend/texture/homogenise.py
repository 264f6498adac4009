"""Homogenisation: the photo's light taken out, so that the chart looks as under even white light.

In this order: SH shading with self-shadowing is divided out, highlights are subtracted, light that one
side of the face alone has (cast shadows) is balanced, and what is left of slow deviation from the
skin-albedo prior is shrunk. All of it is one smooth gain per texel, solved on the working grid and
applied at the map's resolution, so moles, beard, lips and make-up keep their detail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps, CompleteUV, EvenUV, HeadFit, Run
from backend.colour import LUMINANCE_REC709
from backend.geometry.light import GLOSS
from backend.head.base import ParametricHead
from backend.texture.albedo_prior import plain_skin, skin_prior
from backend.texture.asymmetry import large_structures
from backend.texture.folds import folds
from backend.texture.grid import (
    WorkingChart,
    blur,
    dilate,
    remap,
    safe_log,
    weighted_reduce,
    working_chart,
)
from backend.texture.highlights import highlight, matte_colour
from backend.texture.lighting import illumination, transfer_of
from backend.texture.mirror import mirror_index
from backend.texture.regions import region_map, to_chart, to_vertices
from backend.texture.surface import SkinSurface, skin_surface
from backend.texture.trust import smoothstep, texel_metres
from backend.uvspace.kernels import compiled, in_bands
from backend.uvspace.sampling import write_bilinear

_LEAST_MATTE = 0.25  # of what is seen: the least that is left when gloss is taken off
_SHADOW_RADIUS_M = 0.008  # one-sided features smaller than this are skin, larger ones light
_OFF_COLOUR = 0.3  # of what the face's colour differs from the fitted albedo's: the light's, not the skin's
_GLOSS_SIGMA = 0.008  # of GLOSS
_PERSON_LOG = 0.15  # spread of a channel's albedo over persons of one tone
_TINT_M = 0.015
_BELIEF_LOG = 0.2
_HARD_SHADOW_LOG = 0.6  # log difference of the two sides that no soft light makes
_HARD_SHADOW_SHARE = 0.15
_SLOW_M = 0.025  # slow deviation from the prior …
_SHRINK_DARK = 0.35  # … is reduced by this part (a beard may be there),
_SHRINK_BRIGHT = 0.6  # where it is brighter than the prior by this part (gloss, mostly)
_SHRINK_TINT = 0.65  # its colour: gloss pales, bounce warms
_PATCH_M = 0.004  # patches of this radius and larger, with their edges …
# … may deviate from the prior by this, in logarithm. Pale patches are gloss, red ones may be blushed skin,
# dark ones are shadow unless hair grows there.
_PATCH_BRIGHT, _PATCH_DARK, _PATCH_HAIR = 0.10, 0.15, 1.2
_PATCH_PALE, _PATCH_RED, _PATCH_GREEN = 0.05, 0.12, 0.06
_LIPS_APART = (
    0.15  # of the liberty that lips have beside the skin, what a part of them has beside all of them
)
_BEARD_PART = 0.2  # the region named beard is wider than any; this part of it a beard darkens …
_BEARD_DROP = np.array([0.25, 0.50])  # … by this (log): it begins to be one, it surely is one
_MAX_GAIN_LOG = 2.3  # a factor of ten where skin was seen, of a hundred elsewhere


def homogenise(complete: CompleteUV, fit: HeadFit, chart: ChartMaps, run: Run) -> EvenUV:
    """The chart under uniform white light of unit radiance (a white surface shows 1).

    Warns when a hard cast shadow had to be balanced.
    """
    head = fit.head
    work = working_chart(chart)
    corners = (head.triangles, work.face_id, work.barycentric)
    count = len(head.mean_vertices)
    inside = work.inside.astype(np.float32)
    full_inside = (chart.inside & (chart.face_id >= 0)).astype(np.float32)
    lit, _ = weighted_reduce(complete.rgb_linear, full_inside, work.factor)
    lit = dilate(lit, work.inside)
    seen, _ = weighted_reduce(complete.seen[..., None], full_inside, work.factor)
    seen = seen[..., 0]

    lit_v, mass = to_vertices(lit, seen * inside, *corners, count)
    _, whole = to_vertices(lit, inside, *corners, count)
    share = np.where(whole > 0, mass / np.maximum(whole, 1e-6), 0).astype(np.float32)
    light = illumination(transfer_of(fit), fit, lit_v, share)
    even = lit / np.maximum(to_chart(light.shading, *corners), 1e-3)
    even = np.where(work.inside[..., None], even, 0).astype(np.float32)
    # Gloss without a highlight: every place mirrors a little of all the light around.
    even = np.maximum(even - GLOSS, _LEAST_MATTE * even)
    run.progress("even-lit UV", 0.4)

    skin = skin_surface(head, fit.vertices_head)
    prior_v = skin_prior(fit, skin)
    even_v = (lit_v / np.maximum(light.shading, 1e-3)).astype(np.float32)
    even_v = np.maximum(even_v - GLOSS, _LEAST_MATTE * even_v)
    plain = plain_skin(head)
    matte = to_chart(matte_colour(skin, even_v, prior_v, share * plain), *corners)
    texel = texel_metres(work)
    plain_chart = to_chart(plain, *corners)
    gloss = highlight(even, matte, plain_chart * seen, texel)
    even = np.maximum(even - gloss[..., None], _LEAST_MATTE * even)
    run.progress("even-lit UV", 0.6)

    lips = region_map(head, ("lips",), work.face_id, work.barycentric)
    log_prior = safe_log(to_chart(prior_v, *corners))
    log_even = safe_log(even)
    log_even = log_even + _balance(work, log_even - log_prior, mirror_index(head, *corners[1:]), texel, run)
    run.progress("even-lit UV", 0.8)
    log_even = log_even - _slow_deviation(skin, log_even - log_prior, seen * inside, corners, whole)
    hair = _hair(head, work, log_even - log_prior, seen)
    lids = region_map(head, ("eyelids",), *corners[1:]) * (1 - lips)
    log_even = log_even - _implausible(log_even - log_prior, inside, seen, texel, lips, lids, hair)
    features = region_map(head, ("lips", "brows", "eyelids", "eyes", "lashes", "nostrils"), *corners[1:])
    log_even = log_even - folds(log_even - log_prior, inside, texel, features)

    tone = np.average(prior_v, axis=0, weights=plain + 1e-9)
    log_even = log_even - _level(log_even - log_prior, seen, plain_chart, inside, float(tone.min()))

    # What was filled in is in deep shadow where the fitted light says so, and has no noise to raise.
    most = (_MAX_GAIN_LOG * (2 - np.clip(seen, 0, 1)))[..., None]
    gain = np.clip(log_even - safe_log(lit), -most, most).astype(np.float32)
    gain = dilate(np.where(work.inside[..., None], gain, 0), work.inside)
    rgb, relit = _apply(complete.rgb_linear, gain, _typical(gain, seen * inside), work.factor)
    return EvenUV(rgb, relit)


def _level(residual: F32, seen: F32, plain: F32, inside: F32, darkest: float) -> F32:
    """Log ``(3,)`` by which seen plain skin is off the fitted albedo, which carries the believed tone.

    All of its brightness; of its colour, which is partly this person's, a part: the more, the lower
    ``darkest``, the albedo of the channel that reflects least.
    """
    use = (inside > 0) & (seen > 0.5) & (plain > 0.9)
    if not use.any():
        return np.zeros(3, np.float32)
    off = np.median(residual[use], axis=0)
    bright = off @ LUMINANCE_REC709
    # The gloss that was taken off is not exactly this skin's: in dark skin it is as much as the albedo.
    unsure = (_GLOSS_SIGMA / max(darkest, 1e-3) / _PERSON_LOG) ** 2
    return np.asarray(bright + (1 - (1 - _OFF_COLOUR) / (1 + unsure)) * (off - bright), np.float32)


def _balance(work: WorkingChart, residual: F32, index: F32, texel_m: float, run: Run) -> F32:
    """Log correction ``(W, W, 3)`` that makes the large structures of both sides alike."""
    valid = work.inside & (index[..., 0] >= 0)
    residual = dilate(residual, work.inside)
    difference = np.where(valid[..., None], residual - remap(residual, index), 0)
    difference = np.clip(difference, -3, 3).astype(np.float32)
    bright = (difference @ LUMINANCE_REC709)[..., None]
    weight = valid.astype(np.float32)
    # Brightness may change along a sharp edge; its colour changes slowly (skylight in a shadow).
    side = large_structures(bright, weight, work.inside, _SHADOW_RADIUS_M / texel_m)
    side = side + blur(difference - bright, _TINT_M / texel_m, weight)
    # TV-L1 is not exactly odd after its last iterations; the correction must be.
    side = 0.5 * (side - remap(dilate(side, work.inside), index))
    brightness = side @ LUMINANCE_REC709
    front = valid & (work.normal_head[..., 2] > 0.2)
    hard = np.abs(brightness) > _HARD_SHADOW_LOG
    if front.any() and float(hard[front].mean()) > _HARD_SHADOW_SHARE:
        run.warn(
            "A hard shadow covers part of the face; it was balanced by comparing both sides, "
            "so its edge may still show in the albedo."
        )
    # The side nearer to the prior is the one to believe: neither the shadow nor the burnt-out one.
    bright = residual @ LUMINANCE_REC709
    middle = blur(0.5 * (bright + remap(bright, index)), _SHADOW_RADIUS_M / texel_m, weight)
    middle = middle - np.median(middle[front]) if front.any() else middle
    own = 1 / (_BELIEF_LOG**2 + (middle + 0.5 * brightness) ** 2)
    other = 1 / (_BELIEF_LOG**2 + (middle - 0.5 * brightness) ** 2)
    out: F32 = (-side * (other / (own + other))[..., None]).astype(np.float32)
    return out


def _slow_deviation(
    skin: SkinSurface,
    residual: F32,
    weight: F32,
    corners: tuple[NDArray[np.int32], NDArray[np.int32], F32],
    whole: F32,
) -> F32:
    """The part ``(W, W, 3)`` of the residual's slow variation (not its mean) that is given up."""
    count = len(whole)
    value_v, mass = to_vertices(residual, weight, *corners, count)
    share = np.where(whole > 0, mass / np.maximum(whole, 1e-6), 0).astype(np.float32)
    value, own = skin.gather(value_v, share)
    own = own / max(float(own.max()), 1e-9)
    if own.sum() <= 0:
        return np.zeros_like(residual)
    mean = np.average(value, axis=0, weights=own * skin.area + 1e-15)
    value = np.where((own > 1e-3)[:, None], value - mean, 0)
    slow = skin.smooth(value, own + 1e-3, _SLOW_M)
    bright = (slow @ LUMINANCE_REC709)[:, None]
    part = np.where(bright > 0, _SHRINK_BRIGHT, _SHRINK_DARK)
    return to_chart(skin.scatter(part * bright + _SHRINK_TINT * (slow - bright)), *corners)


def _hair(head: ParametricHead, work: WorkingChart, residual: F32, seen: F32) -> F32:
    """Where ``(W, W)`` in [0, 1] hair may darken skin: brows, scalp, and a beard if this face has one.

    A beard darkens most of its region, against the cheeks above it; a shadow beside the nose does not.
    """
    place = (work.face_id, work.barycentric)
    always = region_map(head, ("brows", "eyelids", "eyes", "lashes", "scalp"), *place)
    region = region_map(head, ("beard",), *place)
    cheeks = region_map(head, ("cheeks", "nose"), *place) * (1 - region)
    bright = residual @ LUMINANCE_REC709
    here, above = (region > 0.5) & (seen > 0.5), (cheeks > 0.5) & (seen > 0.5)
    if here.sum() < 50 or above.sum() < 50:
        return np.maximum(always, region)
    drop = float(np.median(bright[above]) - np.quantile(bright[here], _BEARD_PART))
    return np.maximum(always, region * smoothstep((drop - _BEARD_DROP[0]) / np.ptp(_BEARD_DROP)))


def _implausible(
    residual: F32, inside: F32, seen: F32, texel_m: float, lips: F32, lids: F32, hair: F32
) -> F32:
    """What of the residual's patches ``(W, W, 3)`` no skin shows: glowing creases, shadows, coloured rims.

    ``lips`` and ``lids`` ``(W, W)`` in [0, 1] have more liberty as a whole: lips are redder than any basis,
    and both are painted.
    ``hair`` ``(W, W)`` in [0, 1] may be as dark as it likes.
    """
    use = (seen > 0.5) & (inside > 0)
    centre = np.median(residual[use], axis=0) if use.any() else np.zeros(3, np.float32)
    off = np.clip(residual - centre, -3, 3).astype(np.float32)
    # A blurred patch would leave a cast shadow's rim behind, dark within and bright without.
    patch = large_structures(dilate(off, inside > 0), inside, inside > 0, _PATCH_M / texel_m)
    patch = np.where(inside[..., None] > 0, patch + blur(off - patch, _PATCH_M / texel_m, inside), 0)
    # Lips have one colour, whatever it is, and so have lids: what a part of them alone shows is light.
    colours = [_median(patch, use & (part > 0.5)) for part in (lips, lids)]
    own = lips[..., None] * colours[0] + lids[..., None] * colours[1]
    kept = _believed(patch - own, np.maximum(hair, 0.4 * lips), _LIPS_APART * lips)
    kept = kept + lips[..., None] * _believed(colours[0], 0.4, 1.0)
    kept = kept + lids[..., None] * _believed(colours[1], 1.0, 1.0)
    out: F32 = (patch - kept).astype(np.float32)
    return out


def _median(value: F32, where: NDArray[np.bool_]) -> F32:
    return np.asarray(np.median(value[where], axis=0) if where.any() else np.zeros(3), np.float32)


def _believed(off: F32, hair: F32 | float, lips: F32 | float) -> F32:
    """What of ``off`` ``(..., 3)`` (log) skin can have, or lips and lids as a whole (1), or dark ``hair``."""
    bright = off @ LUMINANCE_REC709
    tint = off - bright[..., None]
    pale = 0.5 * (tint[..., 2] - tint[..., 0])
    rest = tint - pale[..., None] * np.array([-1, 0, 1], np.float32)
    kept_pale = _limited(pale, _PATCH_RED * (1 + 9 * lips), _PATCH_PALE * (1 + 2 * lips))
    kept_bright = _limited(
        bright, _PATCH_DARK + (_PATCH_HAIR - _PATCH_DARK) * hair, _PATCH_BRIGHT * (1 + lips)
    )
    green = np.asarray(_PATCH_GREEN * (1 + 3 * lips))[..., None]  # lips are pink as well as red
    kept = np.stack((kept_bright - kept_pale, kept_bright, kept_bright + kept_pale), -1)
    return np.asarray(kept + _limited(rest, green, green), np.float32)


def _limited(value: F32, below: F32 | float, above: F32 | float) -> F32:
    """``value`` that saturates smoothly at −``below`` and +``above``."""
    limit = np.where(value > 0, above, below)
    out: F32 = (limit * np.tanh(value / limit)).astype(np.float32)
    return out


def _typical(gain: F32, weight: F32) -> float:
    """Median log gain in luminance over what was seen: the exposure, which is not light structure."""
    use = weight > 0.5
    return float(np.median((gain @ LUMINANCE_REC709)[use])) if use.any() else 0.0


@compiled
def _apply_gain(
    rgb: NDArray[np.float32],
    gain: NDArray[np.float32],
    typical: float,
    factor: int,
    start: int,
    end: int,
    out: NDArray[np.float32],
    relit: NDArray[np.float32],
) -> None:
    here = np.zeros(3, np.float32)
    for r in range(start, end):
        for c in range(rgb.shape[1]):
            write_bilinear(gain, (c + 0.5) / factor, (r + 0.5) / factor, here)
            for k in range(3):
                out[r, c, k] = max(rgb[r, c, k], 0.0) * np.exp(here[k])
            bright = 0.2126 * here[0] + 0.7152 * here[1] + 0.0722 * here[2]
            relit[r, c] = 1 - np.exp(-2 * abs(bright - typical))


def _apply(rgb: F32, gain: F32, typical: float, factor: int) -> tuple[F32, F32]:
    out = np.empty_like(rgb)
    relit = np.empty(rgb.shape[:2], np.float32)
    smooth = np.ascontiguousarray(gain)
    in_bands(lambda start, end: _apply_gain(rgb, smooth, typical, factor, start, end, out, relit), len(rgb))
    return out, relit
