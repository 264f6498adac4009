"""The path on one page: portrait → UV_partial → completion → what is seen → refinement → prior → Gaussians.

Feed-forward from end to end: nothing is optimised for the person. Networks are handed in; none ships.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from backend.artifacts import Camera
from backend.errors import BadInput
from backend.fica.completion import Completion, Sampling
from backend.fica.dense import DensePredictor
from backend.fica.keep import with_seen
from backend.fica.maps import MASK, Frame, HeadMaps
from backend.fica.poses import PosedPortrait
from backend.fica.prior import Drive, UniversalPrior
from backend.fica.refinement import RefinementNetwork
from backend.fica.semantic import ClipEncoder, SmallSemanticEncoder
from backend.fica.surface import surfels
from backend.fica.unwrap import unwrap
from backend.gaussians.renderer import Gaussians, Renderer, over

LEAST_SEEN = 0.05  # share of the atlas that a portrait must show
AGREES = 0.03  # of a picture's side, between where a place projects and where it is seen
GREY = 0.5  # behind the rendered mesh that the refinement looks at


@dataclass(frozen=True)
class Networks:
    """All four parts, in evaluation mode on one device."""

    predictor: DensePredictor | None  # None: the fit that posed the portrait says what it shows
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

    @classmethod
    @torch.no_grad()
    def of(cls, maps: HeadMaps, prior: UniversalPrior, frame: Frame) -> FicaAvatar:
        """The avatar of ``maps`` on the prior's atlas."""
        return cls(maps, prior.biases(maps, frame), prior, frame)

    def decode(self, drive: Tensor, camera: Camera) -> Gaussians:
        """Gaussians for one ``drive`` ``(56,)`` (weights, gaze in radians) as ``camera`` sees them."""
        centre = torch.as_tensor(camera.centre_head, dtype=drive.dtype, device=drive.device)
        return self.decode_views(drive, torch.nn.functional.normalize(centre, dim=0)[None])[0]

    @torch.no_grad()
    def decode_views(self, drive: Tensor, views: Tensor) -> list[Gaussians]:
        """Gaussians for one ``drive`` from each of ``views`` ``(K, 3)``, unit, from the head to the eye; they
        differ in their colours alone.
        """
        rows = drive.expand(len(views), -1)
        decoded = self.prior.decode(Drive(rows[:, :-4], rows[:, -4:], views), self.biases, self.frame)
        return self.prior.place(decoded, self.maps, self.maps.geometry + decoded.motion, self.frame)


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

    Raises: BadInput, as ``partial_of``.
    """
    partial = partial_of(portrait, networks.predictor, frames.maps)
    maps = completed(portrait.picture, partial, networks, frames.maps, seed, sampling)
    maps = with_seen(maps, agreed(portrait, networks.predictor, frames.maps), portrait.motion, frames.maps)
    refined = refined_maps(portrait, maps, networks.refinement, frames.maps, renderer)
    large = resized_maps(refined, frames.maps, frames.prior)
    return FicaAvatar.of(large, networks.prior, frames.prior)


@torch.no_grad()
def partial_of(portrait: PosedPortrait, predictor: DensePredictor | None, frame: Frame) -> Tensor:
    """UV_partial ``(1, 10, S, S)`` by ``predictor``, or by the portrait's own fit.

    Raises: BadInput for a picture in which too little of a head is found.
    """
    dense = portrait.fitted if predictor is None else predictor(portrait.picture)
    partial = unwrap(portrait.picture, dense, frame)
    seen = (partial[:, MASK] * frame.inside).sum((1, 2, 3)) / frame.inside.sum()
    if float(seen.min()) < LEAST_SEEN:
        raise BadInput(
            f"too little of a head is recognised ({float(seen.min()):.0%} of its surface); take a portrait "
            "of one person, not a profile"
        )
    return partial


@torch.no_grad()
def agreed(portrait: PosedPortrait, predictor: DensePredictor | None, frame: Frame) -> Tensor:
    """UV_partial of the pixels whose places project to where they are seen: what may be kept as it is."""
    dense = portrait.fitted if predictor is None else predictor(portrait.picture)
    side = portrait.picture.shape[-1]
    places = dense.vertex[0].flatten(1).T.double().cpu().numpy()
    at = np.stack(np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5), -1).reshape(-1, 2)
    off = np.linalg.norm(portrait.camera.project(places)[0] - at, axis=1).reshape(side, side)
    near = torch.from_numpy(off < AGREES * side).to(dense.known)[None, None]
    return unwrap(portrait.picture, replace(dense, known=dense.known * near), frame)


@torch.no_grad()
def completed(
    picture: Tensor,
    partial: Tensor,
    networks: Networks,
    frame: Frame,
    seed: int,
    sampling: Sampling | None = None,
) -> HeadMaps:
    """Texture and geometry that the completion makes of pictures ``(B, 3, P, P)`` and their UV_partial."""
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
