"""A few seconds of gradient descent through the renderer, until the portrait view is nearly the photo.

Only what the photo shows is moved: colours freely, opacity and size a little, places hardly. Everything is
held to the decoder's values, so that other views keep together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from backend.artifacts import F32, HeadFit
from backend.gaussians.hair_mask import HairSeen, HeadWindow
from backend.gaussians.renderer import Gaussians, Renderer, over, view_colours
from backend.gaussians.surface import HAIR, BoundGaussians, placed, triangle_frames
from backend.uvspace.buffers import interpolate_at
from blender_addon import splat_sh

STEPS = 50
# Learning rates of Adam: display colour, opacity logit, log scale.
_RATES = {"colour": 0.02, "logit": 0.04, "scale": 0.012}
_HOLD = {
    "colour": 0.15,
    "logit": 0.02,
    "scale": 0.3,
}  # weight of the squared distance to the decoder's values
_COVER = 0.3  # weight of the coverage term
_GREY = 0.5
# Cosines between surface and view from which the photo is believed little, and wholly: what is seen aslant
# would take the colours of its neighbours on the other side of an outline.
_ASLANT, _FRONTAL = 0.34, 0.66
_HAIR_TRUST, _EAR_DOUBT = 0.6, 0.85


def match_photo(
    bound: BoundGaussians,
    window: HeadWindow,
    hair: HairSeen | None,
    fit: HeadFit,
    renderer: Renderer,
    known: F32,
    told: Callable[[float], None],
    steps: int = STEPS,
) -> BoundGaussians:
    """``bound`` with colours, opacities and sizes that make the photo's view nearly the photo.

    ``known`` ``(N,)`` in [0, 1] says how far a Gaussian's colour is the photo's already. ``told`` hears the
    share done. Raises: what ``told`` raises.
    """
    splats = placed(bound, fit.vertices_head, fit.head.triangles)
    camera = window.camera
    target, inside, cover, cover_known = (torch.from_numpy(a) for a in _wanted(window, hair))
    positions, rotations = torch.from_numpy(splats.positions), torch.from_numpy(splats.rotations)
    harmonics = torch.from_numpy(bound.sh)
    logits, scales = torch.from_numpy(bound.opacity_logits), torch.from_numpy(bound.log_scales)
    moved = {
        "colour": torch.zeros(len(bound), 3, requires_grad=True),
        "logit": torch.zeros(len(bound), requires_grad=True),
        "scale": torch.zeros(len(bound), 3, requires_grad=True),
    }
    adam = torch.optim.Adam([{"params": [moved[name]], "lr": rate} for name, rate in _RATES.items()])
    base = view_colours(harmonics, positions, camera)
    background = torch.full_like(target, _GREY)
    trust = torch.from_numpy(_trust(bound, splats.positions, fit, known))
    for step in range(steps):
        told(step / steps)
        adam.zero_grad()
        colours = (base + trust[:, None] * moved["colour"]).clamp_min(0)
        size, opacity = scales + trust[:, None] * moved["scale"], logits + trust * moved["logit"]
        seen = Gaussians(positions, size, rotations, opacity, colours)
        picture = renderer.render(seen, camera)
        shown = over(picture, background)
        off = (shown - target) * inside
        loss = (off.abs() + 2 * off**2).sum() / inside.sum()
        loss = loss + _COVER * ((picture[..., 3] - cover) ** 2 * cover_known).sum() / cover_known.sum()
        held: Tensor = torch.zeros(())
        for name, weight in _HOLD.items():
            held = held + weight * (moved[name] ** 2).mean()
        (loss + held).backward()  # type: ignore[no-untyped-call]
        adam.step()
        for rate in adam.param_groups:
            rate["lr"] *= 0.97
        with torch.no_grad():
            moved["scale"].clamp_(-0.35, 0.35)
            moved["logit"].clamp_(-2.5, 2.0)
    with torch.no_grad():
        sh = harmonics.clone()
        sh[:, 0] += trust[:, None] * moved["colour"] / splat_sh.C0
        opacity = logits + trust * moved["logit"]
        # The face never turns transparent where it is seen from aside: only hair may thin out.
        solid = torch.from_numpy((bound.part != HAIR) & (bound.opacity_logits > 0))
        opacity = torch.where(solid, torch.maximum(opacity, logits - 0.5), opacity)
    return replace(
        bound,
        sh=sh.numpy(),
        opacity_logits=opacity.numpy(),
        log_scales=(scales + trust[:, None] * moved["scale"]).detach().numpy(),
    )


def _trust(bound: BoundGaussians, positions: F32, fit: HeadFit, known: F32) -> F32:
    """How far the photo may move each Gaussian, ``(N,)`` in [0, 1]."""
    frames = triangle_frames(fit.vertices_head, fit.head.triangles[bound.triangle])
    normal = np.einsum("nij,nj->ni", frames, bound.normal)
    towards = fit.camera.centre_head - positions
    cosine = (normal * towards).sum(1) / np.linalg.norm(towards, axis=1)
    facing = np.clip((cosine - _ASLANT) / (_FRONTAL - _ASLANT), 0, 1)
    # Ears seldom lie where the photo has them; below the chin light and cloth differ from the fitted head's.
    regions = np.maximum(_EAR_DOUBT * fit.head.regions["ears"], fit.head.regions["neck"])[:, None]
    doubt = interpolate_at(bound.triangle, bound.barycentric, regions, fit.head.triangles)[:, 0]
    trust = np.where(bound.part == HAIR, _HAIR_TRUST, 1 - doubt) * facing
    # What the texture has from the photo is in its place; matched again it would take on its neighbours.
    return np.asarray(trust * (1 - known), np.float32)


def _wanted(window: HeadWindow, hair: HairSeen | None) -> tuple[F32, F32, F32, F32]:
    """What the picture should be, where it counts ``(H, W, 1)``, the coverage, and where that is known."""
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
    return target, inside[..., None], cover * np.where(free & ~mask, 0, 1).astype(np.float32), known
