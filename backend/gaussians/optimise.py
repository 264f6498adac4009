"""A few seconds of gradient descent through the renderer, until the portrait view is nearly the photo.

Only what the photo shows is moved: colours freely, opacity and size a little, places not at all. Everything
is held to the decoder's values, so that other views keep together. The first steps see the photo at half its
size: there a step costs a third, and colours come near all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera, HeadFit
from backend.gaussians.adam import Adam
from backend.gaussians.hair_mask import HairSeen, HeadWindow
from backend.gaussians.surface import HAIR, BoundGaussians, placed, triangle_frames
from backend.gaussians.tile_renderer import GaussianArrays, draw, gradients_of
from backend.uvspace.buffers import interpolate_at
from backend.uvspace.rasterise import cropped_camera
from blender_addon import splat_sh

STEPS = 50
HALF_SIZE_STEPS = 30  # of them, the first
# Learning rates of Adam: display colour, opacity logit, log scale; each step's are _SLOWER the last one's.
_RATES = {"colour": 0.02, "logit": 0.04, "scale": 0.012}
_SLOWER = 0.97
# How far they may go; colours as far as the photo draws them.
_LIMITS = {"logit": (-2.5, 2.0), "scale": (-0.35, 0.35)}
# Weights of the squared distance to the decoder's values.
_HOLD = {"colour": 0.15, "logit": 0.02, "scale": 0.3}
_COVER = 0.3  # weight of the coverage term
_GREY = 0.5
_SHARE_PX = 1e-3  # what a Gaussian covers of the picture, below which it is left as it is
# Cosines between surface and view from which the photo is believed little, and wholly: what is seen aslant
# would take the colours of its neighbours on the other side of an outline. Skin away from eyes and mouth is
# believed only from nearer to the front: what the texture has not of it already lies at outlines mostly.
_ASLANT, _FRONTAL = 0.34, 0.66
_SKIN_ASLANT, _SKIN_FRONTAL = 0.5, 0.8
_RIMS = ("eyelids", "lips", "nostrils")
_HAIR_TRUST, _EAR_DOUBT = 0.6, 0.85


@dataclass(frozen=True)
class Wanted:
    """What the picture of ``camera`` should be."""

    camera: Camera
    rgb_srgb: F32  # (H, W, 3)
    inside: F32  # (H, W) 1 where that counts, else 0
    cover: F32  # (H, W) coverage in [0, 1]
    cover_known: F32  # (H, W) 1 where that is known, else 0

    def halved(self) -> Wanted:
        """The same at half the size; what does not lie wholly inside does not count."""
        import cv2

        height, width = (side // 2 for side in self.inside.shape)
        whole = [
            a[: 2 * height, : 2 * width] for a in (self.rgb_srgb, self.inside, self.cover, self.cover_known)
        ]
        rgb, inside, cover, known = (
            cv2.resize(a, (width, height), interpolation=cv2.INTER_AREA) for a in whole
        )
        return Wanted(
            cropped_camera(self.camera, 0.0, 0.0, width, height, 0.5),
            rgb,
            (inside > 0.99).astype(np.float32),
            cover,
            (known > 0.99).astype(np.float32),
        )


def match_photo(
    bound: BoundGaussians,
    window: HeadWindow,
    hair: HairSeen | None,
    fit: HeadFit,
    known: F32,
    told: Callable[[float], None],
) -> BoundGaussians:
    """``bound`` with colours, opacities and sizes that make the photo's view nearly the photo.

    ``known`` ``(N,)`` in [0, 1] says how far a Gaussian's colour is the photo's already. ``told`` hears the
    share done. Raises: what ``told`` raises.
    """
    splats = placed(bound, fit.vertices_head, fit.head.triangles)
    large = wanted(window, hair)
    small = large.halved()
    whole = GaussianArrays(
        splats.positions,
        bound.log_scales,
        splats.rotations,
        bound.opacity_logits,
        _colours(bound.sh, splats.positions, large.camera),
    )
    drawn = _drawn(whole, large.camera)  # the others cost time and change nothing
    base = whole.taken(drawn)
    trust = _trust(bound, splats.positions, fit, known)[drawn]
    count = len(drawn)
    moved = {
        "colour": np.zeros((count, 3), np.float32),
        "logit": np.zeros(count, np.float32),
        "scale": np.zeros((count, 3), np.float32),
    }
    adam = Adam(moved, _RATES)
    for step in range(STEPS):
        told(step / STEPS)
        to = gradients(base, moved, trust, small if step < HALF_SIZE_STEPS else large, count / len(bound))
        adam.step(to)
        adam.slow(_SLOWER)
        for name, (low, high) in _LIMITS.items():
            np.clip(moved[name], low, high, out=moved[name])
    there = applied(base, moved, trust)
    sh = bound.sh[drawn]
    sh[:, 0] += trust[:, None] * moved["colour"] / np.float32(splat_sh.C0)
    # The face never turns transparent where it is seen from aside: only hair may thin out.
    solid = ((bound.part != HAIR) & (bound.opacity_logits > 0))[drawn]
    opacity = np.where(
        solid, np.maximum(there.opacity_logits, base.opacity_logits - 0.5), there.opacity_logits
    )
    return replace(
        bound,
        sh=_with(bound.sh, drawn, sh),
        opacity_logits=_with(bound.opacity_logits, drawn, opacity),
        log_scales=_with(bound.log_scales, drawn, there.log_scales),
    )


def applied(base: GaussianArrays, moved: dict[str, F32], trust: F32) -> GaussianArrays:
    """``base`` moved as far as ``trust`` ``(N,)`` lets it."""
    return replace(
        base,
        colours_srgb=np.maximum(base.colours_srgb + trust[:, None] * moved["colour"], 0),
        opacity_logits=base.opacity_logits + trust * moved["logit"],
        log_scales=base.log_scales + trust[:, None] * moved["scale"],
    )


def gradients(
    base: GaussianArrays, moved: dict[str, F32], trust: F32, goal: Wanted, share: float
) -> dict[str, F32]:
    """Gradients of the objective in what is ``moved``, written out.

    The objective: mean over pixels inside of |d| + 2 d², d the picture over grey less the photo, summed over
    channels; _COVER times the mean square of the coverage's error; _HOLD times the mean square of what is
    moved, times ``share``, which Gaussians taking part are of all.
    """
    there = applied(base, moved, trust)
    seen = draw(there, goal.camera)
    cover = seen.picture[..., 3]
    off = (seen.picture[..., :3] + (1 - cover[..., None]) * np.float32(_GREY) - goal.rgb_srgb) * goal.inside[
        ..., None
    ]
    given = np.empty_like(seen.picture)
    given[..., :3] = (np.sign(off) + 4 * off) / goal.inside.sum()
    given[..., 3] = -_GREY * given[..., :3].sum(2)
    given[..., 3] += 2 * _COVER / goal.cover_known.sum() * (cover - goal.cover) * goal.cover_known
    to = gradients_of(seen, given)
    by_name = {
        "colour": trust[:, None] * to.colours_srgb * (there.colours_srgb > 0),
        "logit": trust * to.opacity_logits,
        "scale": trust[:, None] * to.log_scales,
    }
    return {
        name: np.asarray(gradient + 2 * _HOLD[name] * share / max(1, gradient.size) * moved[name], np.float32)
        for name, gradient in by_name.items()
    }


def _drawn(splats: GaussianArrays, camera: Camera) -> NDArray[np.int64]:
    """Indices of the Gaussians that have a share in the picture: not behind others, not outside it."""
    seen = draw(splats, camera)
    red = np.zeros_like(seen.picture)
    red[..., 0] = 1  # a gradient of one in red: what comes back to a colour is what it covers
    return np.flatnonzero(gradients_of(seen, red).colours_srgb[:, 0] > _SHARE_PX)


def _colours(sh: F32, positions: F32, camera: Camera) -> F32:
    towards = positions - camera.centre_head
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    return splat_sh.colours_srgb(sh, towards).astype(np.float32)


def _with(values: F32, index: NDArray[np.int64], changed: F32) -> F32:
    """A copy of ``values`` with those at ``index`` replaced."""
    copy = values.copy()
    copy[index] = changed
    return copy


def _trust(bound: BoundGaussians, positions: F32, fit: HeadFit, known: F32) -> F32:
    """How far the photo may move each Gaussian, ``(N,)`` in [0, 1]."""
    frames = triangle_frames(fit.vertices_head, fit.head.triangles[bound.triangle])
    normal = np.einsum("nij,nj->ni", frames, bound.normal)
    towards = fit.camera.centre_head - positions
    cosine = (normal * towards).sum(1) / np.linalg.norm(towards, axis=1)
    regions = fit.head.regions
    # Ears seldom lie where the photo has them; below the chin light and cloth differ from the fitted head's.
    doubted = np.maximum(_EAR_DOUBT * regions["ears"], regions["neck"])
    rims = np.maximum.reduce([regions[name] for name in _RIMS])
    doubt, rim = interpolate_at(
        bound.triangle, bound.barycentric, np.stack([doubted, rims], 1), fit.head.triangles
    ).T
    facing = np.clip((cosine - _ASLANT) / (_FRONTAL - _ASLANT), 0, 1)
    aslant = np.clip((cosine - _SKIN_ASLANT) / (_SKIN_FRONTAL - _SKIN_ASLANT), 0, 1)
    facing = np.where(bound.part == 0, rim * facing + (1 - rim) * aslant, facing)
    trust = np.where(bound.part == HAIR, _HAIR_TRUST, 1 - doubt) * facing
    # What the texture has from the photo is in its place; matched again it would take on its neighbours.
    return np.asarray(trust * (1 - known), np.float32)


def wanted(window: HeadWindow, hair: HairSeen | None) -> Wanted:
    """What the window's picture should be."""
    import cv2

    mask = np.zeros(window.skin.shape, bool) if hair is None else hair.mask
    small, wide = np.ones((5, 5), np.uint8), np.ones((9, 9), np.uint8)
    head = window.drawn.covered & (window.person > 0.5) & window.in_photo
    head = cv2.morphologyEx((head | mask).astype(np.uint8), cv2.MORPH_CLOSE, small)
    inside = cv2.erode(head, np.ones((7, 7), np.uint8)) * (window.person > 0.5)
    # Bare neck that the skin mask leaves out may be cloth: there the photo is not believed.
    believed = (
        (window.skin > 0.3) | mask | (cv2.morphologyEx((window.skin > 0.3).astype(np.uint8), 3, wide) > 0)
    )
    closed = cv2.morphologyEx(believed.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((41, 41), np.uint8))
    inside = (inside * closed).astype(np.float32)
    if hair is not None:
        inside[mask & ~hair.clean] = 0  # background between strands
    cover = (window.drawn.covered | mask).astype(np.float32)
    rim = cv2.dilate(cover, wide) - cv2.erode(cover, wide)
    free = (window.person < 0.3) & window.in_photo
    known = np.where(cover > 0, (rim < 0.5) | mask, free | (rim < 0.5)).astype(np.float32)
    known *= window.in_photo
    target = np.where(inside[..., None] > 0, window.rgb_srgb, _GREY).astype(np.float32)
    cover *= np.where(free & ~mask, 0, 1).astype(np.float32)
    return Wanted(window.camera, target, inside, cover, known)
