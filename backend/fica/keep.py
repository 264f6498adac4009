"""What the portrait shows is kept: completed maps with its own colours and places laid back onto them.

Diffusion in latents loses what its autoencoder cannot hold, and draws anew what was seen. As inpainting puts
known pixels back, seen texels are taken from UV_partial; how far they differ from the completion fades out
into what was not seen, so that no border shows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from backend.fica.maps import MASK, NORMAL, RGB, VERTEX, Frame, HeadMaps, unsigned

MOST_APART_M = 0.03  # a texel seen farther from where the completion has it was unwrapped wrongly
_FADE = 0.6  # of a difference, for each doubling of the distance to what is seen
_NEAR, _AT_ONCE = 8, 1024  # texels of skin that an inner one follows; texels looked up together
_LEAST = 1e-3  # share of a coarse texel that must be seen to say anything


def with_seen(maps: HeadMaps, partial: Tensor, motion: Tensor, frame: Frame) -> HeadMaps:
    """``maps`` with what ``partial`` ``(B, 10, S, S)`` (``unwrap.unwrap``) shows of them.

    ``motion`` ``(B, 3, S, S)`` metres moves the neutral surface to the portrait's expression. Partial maps
    without normals, as the paper's ablation has them, say nothing of places either.
    """
    neutral = frame.metres(partial[:, VERTEX]) - motion
    told = (partial[:, NORMAL].abs().sum(1, keepdim=True) > 0).to(partial)
    astray = told * ((neutral - maps.geometry).norm(dim=1, keepdim=True) > MOST_APART_M)
    seen = partial[:, MASK] * frame.inside * (1 - astray)
    colours = carried_on(unsigned(partial[:, RGB]) - maps.texture, seen, frame)
    places = carried_on(neutral - maps.geometry, seen * told, frame)
    places = inner_parts_along(places, seen * told, frame)
    return HeadMaps((maps.texture + colours).clamp(0, 1) * frame.inside, maps.geometry + places)


def inner_parts_along(places: Tensor, seen: Tensor, frame: Frame) -> Tensor:
    """``places`` ``(B, 3, S, S)`` with unseen texels of eyes, teeth, gums and the like moved as the seen skin
    nearest to them on the mean head: left behind, they would come through it.
    """
    at = frame.mean.flatten(2)[0].T  # (S², 3)
    part = frame.part.flatten()
    out = places.flatten(2).clone()
    for row in range(len(places)):
        shown = seen[row].flatten() > 0
        inner = torch.nonzero((part > 0) & ~shown)[:, 0]
        skin = torch.nonzero((part == 0) & shown)[:, 0]
        if len(skin) < _NEAR:
            continue
        for start in range(0, len(inner), _AT_ONCE):
            some = inner[start : start + _AT_ONCE]
            nearest = torch.cdist(at[some], at[skin]).topk(_NEAR, largest=False).indices
            out[row][:, some] = places[row].flatten(1)[:, skin[nearest]].mean(2)
    return out.reshape_as(places)


def carried_on(difference: Tensor, seen: Tensor, frame: Frame) -> Tensor:
    """``difference`` ``(B, C, S, S)`` where ``seen`` ``(B, 1, S, S)`` is 1; elsewhere the mean of what is
    seen near by on the same part, the fainter the farther off.
    """
    b, c, side, _ = difference.shape
    parts = torch.unique(frame.part[frame.part >= 0])
    own = (frame.part == parts[:, None, None]).to(difference)[None, :, None]  # (1, K, 1, S, S)
    weight = (seen[:, None] * own).flatten(0, 1)
    total = (difference[:, None] * seen[:, None] * own).flatten(0, 1)
    levels = [(total, weight)]
    while levels[-1][0].shape[-1] % 2 == 0:
        levels.append((avg_pool2d(levels[-1][0], 2), avg_pool2d(levels[-1][1], 2)))
    total, weight = levels[-1]
    spread = total / (weight + _LEAST)
    for total, weight in reversed(levels[:-1]):
        wide = interpolate(spread, scale_factor=2, mode="bilinear", align_corners=False)
        spread = total + _FADE * wide * (1 - weight)
    made: Tensor = (spread.reshape(b, len(parts), c, side, side) * own).sum(1)
    return made
