"""The path on one page: portrait → UV_partial → completion → refinement → prior → Gaussians.

Feed-forward from end to end: nothing is optimised for the person. Networks are handed in; none ships.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from backend.artifacts import Camera
from backend.errors import BadInput
from backend.fica.completion import Completion, Sampling
from backend.fica.dense import DensePredictor
from backend.fica.maps import MASK, Frame, HeadMaps
from backend.fica.poses import PosedPortrait
from backend.fica.prior import Drive, UniversalPrior
from backend.fica.refinement import RefinementNetwork
from backend.fica.semantic import ClipEncoder, SmallSemanticEncoder
from backend.fica.surface import surfels
from backend.fica.unwrap import unwrap
from backend.gaussians.renderer import Gaussians, Renderer, over

LEAST_SEEN = 0.05  # share of the atlas that a portrait must show
GREY = 0.5  # behind the rendered mesh that the refinement looks at


@dataclass(frozen=True)
class Networks:
    """All four parts, in evaluation mode on one device."""

    predictor: DensePredictor
    semantic: ClipEncoder | SmallSemanticEncoder
    completion: Completion
    refinement: RefinementNetwork
    prior: UniversalPrior


@dataclass(frozen=True)
class Frames:
    """The head's atlas at the size of the maps and at the prior's."""

    maps: Frame
    prior: Frame


@dataclass(frozen=True)
class FicaAvatar:
    """A head that a drive turns into Gaussians; identity biases were made once."""

    maps: HeadMaps  # on the prior's atlas
    biases: list[Tensor]
    prior: UniversalPrior
    frame: Frame

    @torch.no_grad()
    def decode(self, drive: Tensor, camera: Camera) -> Gaussians:
        """Gaussians for one ``drive`` ``(56,)`` (weights, gaze in radians) as ``camera`` sees them."""
        centre = torch.as_tensor(camera.centre_head, dtype=drive.dtype, device=drive.device)
        view = torch.nn.functional.normalize(centre, dim=0)
        asked = Drive(drive[None, :-4], drive[None, -4:], view[None])
        decoded = self.prior.decode(asked, self.biases, self.frame)
        posed = self.maps.geometry + decoded.motion
        return self.prior.place(decoded, self.maps, posed, self.frame)[0]


@torch.no_grad()
def make_avatar(
    portrait: PosedPortrait,
    networks: Networks,
    frames: Frames,
    renderer: Renderer,
    seed: int,
    sampling: Sampling | None = None,
) -> FicaAvatar:
    """The avatar of one portrait; ``seed`` decides what the portrait does not show.

    Raises: BadInput, as ``completed``.
    """
    maps = completed(portrait.picture, networks, frames.maps, seed, sampling)
    refined = refined_maps(portrait, maps, networks.refinement, frames.maps, renderer)
    large = resized_maps(refined, frames.maps, frames.prior)
    return FicaAvatar(large, networks.prior.biases(large, frames.prior), networks.prior, frames.prior)


@torch.no_grad()
def completed(
    picture: Tensor, networks: Networks, frame: Frame, seed: int, sampling: Sampling | None = None
) -> HeadMaps:
    """Texture and geometry that the completion makes of pictures ``(B, 3, P, P)``.

    Raises: BadInput for a picture in which the predictor finds too little of a head.
    """
    partial = unwrap(picture, networks.predictor(picture), frame)
    seen = (partial[:, MASK] * frame.inside).sum((1, 2, 3)) / frame.inside.sum()
    if float(seen.min()) < LEAST_SEEN:
        raise BadInput(
            f"too little of a head is recognised ({float(seen.min()):.0%} of its surface); take a portrait "
            "of one person, not a profile"
        )
    noise = networks.completion.draw_noise(len(picture), torch.Generator().manual_seed(seed))
    told = networks.semantic(picture)
    return networks.completion.sample(partial, told, frame, noise.to(picture), sampling)


@torch.no_grad()
def refined_maps(
    portrait: PosedPortrait, maps: HeadMaps, network: RefinementNetwork, frame: Frame, renderer: Renderer
) -> HeadMaps:
    """``maps`` after one pass of the refinement, which sees the mesh drawn as the portrait's camera would."""
    mesh = surfels(maps.texture, maps.geometry + portrait.motion, frame)[0]
    drawn = over(renderer.render(mesh, portrait.camera), GREY).permute(2, 0, 1)[None]
    made: HeadMaps = network(maps, portrait.picture, drawn.to(portrait.picture), frame)
    return made


def resized_maps(maps: HeadMaps, before: Frame, after: Frame) -> HeadMaps:
    """Maps on an atlas of another size; a texel takes from texels of its own part alone."""
    if before.size == after.size:
        return maps
    inside = before.inside
    stacked = torch.cat(
        [maps.texture, before.coded(maps.geometry), inside.expand(len(maps.texture), -1, -1, -1)], 1
    )
    sums = torch.zeros_like(interpolate(stacked, size=(after.size, after.size)))
    for part in torch.unique(before.part[before.part >= 0]).tolist():
        mine = (before.part == part).to(stacked)
        wide = interpolate(
            stacked * mine, size=(after.size, after.size), mode="bilinear", align_corners=False
        )
        near = interpolate(stacked * mine, size=(after.size, after.size), mode="nearest")
        wide = torch.where(wide[:, -1:] > 1e-3, wide, near)
        sums = sums + wide * (after.part == part)
    mean = sums[:, :-1] / sums[:, -1:].clamp_min(1e-3)
    return HeadMaps(mean[:, :3] * after.inside, after.metres(mean[:, 3:]))
