"""From a portrait to Gaussians and their picture, by tiny random networks: that the parts fit together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_poses import made_fit, photo_camera
from torch import nn

from backend.errors import BadInput
from backend.fica.atlas import build_atlas
from backend.fica.codec import TINY_CODEC, Codec
from backend.fica.completion import Completion, Sampling
from backend.fica.dit import CompletionDiT
from backend.fica.keep import with_seen
from backend.fica.maps import MASK, HeadMaps, frame_of
from backend.fica.path import Frames, Networks, agreed, completed, make_avatar, partial_of, resized_maps
from backend.fica.poses import PosedPortrait, posed_portrait
from backend.fica.prior import UniversalPrior
from backend.fica.refinement import TINY_REFINEMENT, RefinementNetwork
from backend.fica.semantic import ClipConfig, ClipEncoder, build_semantic
from backend.fica.sizes import dit_config, prior_config, semantic_config
from backend.fica.surface import surfels
from backend.fica.unwrap import DenseMaps
from backend.gaussians.numba_renderer import NumbaRenderer
from backend.head.base import ParametricHead

SEED = 5


@pytest.fixture(scope="module")
def frames(head: ParametricHead) -> Frames:
    return Frames(frame_of(build_atlas(head, 64)), frame_of(build_atlas(head, 128)))


@pytest.fixture(scope="module")
def networks(frames: Frames) -> Networks:
    """Random; the completion's last layer is filled so that it answers at all."""
    torch.manual_seed(1)
    transformer = CompletionDiT(dit_config("tiny", 64))
    nn.init.normal_(transformer.out.weight, std=0.02)
    return Networks(
        Sure(),  # type: ignore[arg-type]
        build_semantic(semantic_config("tiny")).eval(),
        Completion(Codec(TINY_CODEC), transformer).eval(),
        RefinementNetwork(TINY_REFINEMENT).eval(),
        UniversalPrior(prior_config("tiny", 128), frames.prior).eval(),
    )


class Sure(nn.Module):
    """A predictor that sees the surface everywhere, spread over the atlas, and says nothing of places."""

    def __init__(self, known: float = 1.0) -> None:
        super().__init__()
        self.known = known

    def forward(self, picture: torch.Tensor) -> DenseMaps:
        side = picture.shape[-1]
        at = (torch.arange(side) + 0.5) / side
        uv = torch.stack([at[None].expand(side, -1), 1 - at[:, None].expand(-1, side)])[None]
        flat = torch.zeros(1, 3, side, side)
        return DenseMaps(uv, flat, flat, torch.full((1, 1, side, side), self.known))


@pytest.fixture(scope="module")
def portrait(head: ParametricHead) -> PosedPortrait:
    photo = np.random.default_rng(0).random((240, 300, 3)).astype(np.float32)
    return posed_portrait(photo, made_fit(head, photo_camera()), build_atlas(head, 64), 64)


def test_a_portrait_becomes_gaussians_that_render(
    portrait: PosedPortrait, networks: Networks, frames: Frames, head: ParametricHead
) -> None:
    """With an untrained refinement and prior, the avatar is the completed mesh itself, on the finer atlas."""
    renderer, sampling = NumbaRenderer(), Sampling(3, "euler")
    avatar = make_avatar(portrait, networks, frames, renderer, SEED, sampling)
    made = avatar.decode(portrait.drive[0], portrait.camera)
    assert len(made.positions) == int((frames.prior.part >= 0).sum())
    picture = renderer.render(made, portrait.camera)
    assert picture.shape == (64, 64, 4)
    assert torch.isfinite(picture).all()
    assert float(picture[..., 3].mean()) > 0.1
    partial = partial_of(portrait, networks.predictor, frames.maps)
    maps = completed(portrait.picture, partial, networks, frames.maps, SEED, sampling)
    kept = agreed(portrait, networks.predictor, frames.maps)
    maps = with_seen(maps, kept, portrait.motion, frames.maps)
    maps = resized_maps(maps, frames.maps, frames.prior)
    mesh = surfels(maps.texture, maps.geometry, frames.prior)[0]
    torch.testing.assert_close(made.positions, mesh.positions, atol=1e-5, rtol=0)
    torch.testing.assert_close(made.colours_srgb, mesh.colours_srgb, atol=1e-5, rtol=0)


def test_a_seed_decides_and_a_portrait_is_heard(
    portrait: PosedPortrait, networks: Networks, frames: Frames
) -> None:
    def texture(seed: int, picture: torch.Tensor) -> torch.Tensor:
        partial = partial_of(replace(portrait, picture=picture), networks.predictor, frames.maps)
        return completed(picture, partial, networks, frames.maps, seed, Sampling(2, "euler")).texture

    base = texture(1, portrait.picture)
    torch.testing.assert_close(texture(1, portrait.picture), base, rtol=0, atol=0)
    assert (texture(2, portrait.picture) - base).abs().max() > 1e-3


def test_a_picture_without_a_head_is_refused_in_one_line(
    portrait: PosedPortrait, networks: Networks, frames: Frames
) -> None:
    blind = replace(networks, predictor=Sure(known=0.2))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="too little of a head"):
        partial_of(portrait, blind.predictor, frames.maps)


def test_only_what_agrees_with_the_pose_is_kept(portrait: PosedPortrait, frames: Frames) -> None:
    """The fit agrees with itself; places a few pixels off do not."""
    seen = partial_of(portrait, None, frames.maps)
    torch.testing.assert_close(agreed(portrait, None, frames.maps), seen)
    assert float(seen[:, MASK].mean()) > 0.1
    pixel_m = 1.2 / portrait.camera.focal_px
    for pixels, kept in ((1.0, 1.0), (4.0, 0.0)):
        off = replace(portrait.fitted, vertex=portrait.fitted.vertex + pixels * pixel_m)
        found = agreed(replace(portrait, fitted=off), None, frames.maps)[:, MASK].sum() / seen[:, MASK].sum()
        assert float(found) == pytest.approx(kept, abs=0.05)


def test_maps_keep_their_values_on_a_finer_atlas(frames: Frames, head: ParametricHead) -> None:
    coarse = HeadMaps(frames.maps.mean * 2 + 0.5, frames.maps.mean + 0.004)
    fine = resized_maps(coarse, frames.maps, frames.prior)
    off = (fine.geometry - frames.prior.mean - 0.004 * frames.prior.inside).abs()
    assert float(off.max()) < 1e-4
    inside = frames.prior.inside[0, 0] > 0
    painted = (fine.texture - (frames.prior.mean * 2 + 0.5))[0, :, inside].abs() / 2
    assert float(painted.median()) < 0.002  # metres: under a texel of the coarse atlas
    assert resized_maps(coarse, frames.maps, frames.maps) is coarse


def test_clip_takes_pictures_of_any_size() -> None:
    clip = ClipEncoder(ClipConfig(hidden=32, intermediate=48, layers=1, heads=2, pixels=28, width=24))
    assert clip(torch.rand(2, 3, 96, 96)).shape == (2, 24)
    assert not any(p.requires_grad for p in clip.parameters())
