"""The universal prior: biases, what an untrained one shows, what moves what, the warm-up."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from backend.fica.atlas import Atlas
from backend.fica.maps import Frame, HeadMaps, frame_of
from backend.fica.prior import MOST_LOG_SCALE, Drive, UniversalPrior, without_residual
from backend.fica.sizes import prior_config
from backend.fica.surface import surface_frames, surfels


@pytest.fixture
def frame(atlas: Atlas) -> Frame:
    return frame_of(atlas)


@pytest.fixture
def prior(frame: Frame) -> UniversalPrior:
    torch.manual_seed(0)
    return UniversalPrior(prior_config("tiny", 64), frame)


def awake(prior: UniversalPrior) -> UniversalPrior:
    for branch in (prior.geometry_branch, prior.colour_branch):
        nn.init.normal_(branch.last.weight, std=0.3)
    return prior


def head_maps(frame: Frame, seed: int = 0) -> HeadMaps:
    chance = torch.Generator().manual_seed(seed)
    texture = torch.rand(1, 3, 64, 64, generator=chance) * frame.inside
    return HeadMaps(texture, frame.mean + 0.003 * torch.randn(1, 3, 1, 1, generator=chance))


def drive(smile: float = 0.0, gaze: float = 0.0, view: tuple[float, float, float] = (0, 0, 1)) -> Drive:
    return Drive(torch.full((1, 52), smile), torch.full((1, 4), gaze), torch.tensor([view]).float())


def test_biases_have_every_levels_shape_and_are_the_persons_own(prior: UniversalPrior, frame: Frame) -> None:
    one, two = (prior.biases(head_maps(frame, seed), frame) for seed in (0, 1))
    for level, (bias, width) in enumerate(zip(one, prior.config.widths, strict=True)):
        assert bias.shape == (1, 2 * width, 8 << level, 8 << level)
        assert (bias - two[level]).abs().max() > 1e-4


def test_untrained_it_shows_the_textured_mesh(prior: UniversalPrior, frame: Frame) -> None:
    maps = HeadMaps(head_maps(frame).texture, frame.mean)
    (made,) = prior(maps, drive(0.5), frame)
    (mesh,) = surfels(maps.texture, maps.geometry, frame)
    for name in ("positions", "log_scales", "opacity_logits", "colours_srgb"):
        torch.testing.assert_close(getattr(made, name), getattr(mesh, name), atol=1e-5, rtol=1e-5)
    same = (torch.nn.functional.normalize(made.rotations, dim=1) * mesh.rotations).sum(1).abs()
    torch.testing.assert_close(same, torch.ones_like(same), atol=1e-5, rtol=0)


def test_view_moves_colours_alone_and_expression_and_gaze_move_all(
    prior: UniversalPrior, frame: Frame
) -> None:
    awake(prior)
    maps = head_maps(frame)
    (base,) = prior(maps, drive(), frame)
    (aside,) = prior(maps, drive(view=(1, 0, 0)), frame)
    torch.testing.assert_close(aside.positions, base.positions)
    torch.testing.assert_close(aside.log_scales, base.log_scales)
    assert (aside.colours_srgb - base.colours_srgb).abs().max() > 1e-3
    for other in (drive(smile=0.7), drive(gaze=0.3)):
        (moved,) = prior(maps, other, frame)
        assert (moved.positions - base.positions).abs().max() > 1e-5
        assert (moved.colours_srgb - base.colours_srgb).abs().max() > 1e-4


def test_sizes_stay_within_their_bound_of_the_remembered_texels(prior: UniversalPrior, frame: Frame) -> None:
    nn.init.normal_(prior.geometry_branch.last.weight, std=30.0)
    decoded = prior.decode(drive(1.0), prior.biases(head_maps(frame), frame), frame)
    assert decoded.log_scale.abs().max() <= MOST_LOG_SCALE
    assert decoded.log_scale.abs().max() > 0.9 * MOST_LOG_SCALE
    still = without_residual(decoded)
    assert still.offset.abs().max() == 0
    assert still.log_scale.abs().max() == 0
    assert (still.turn - torch.tensor([1.0, 0, 0, 0])).abs().max() == 0
    torch.testing.assert_close(still.colour, decoded.colour)


def test_the_running_average_goes_to_what_it_is_shown(prior: UniversalPrior, frame: Frame) -> None:
    twice = 2 * frame.mean
    for _ in range(200):
        prior.remember_sizes(twice, frame)
    wanted = surface_frames(twice, frame).log_extent[0]
    torch.testing.assert_close(prior.mean_log_extent, wanted, atol=1e-3, rtol=0)


def test_offsets_run_along_the_surfaces_own_axes(prior: UniversalPrior, frame: Frame) -> None:
    """One millimetre along the normal of a surface turned by 90° is one along the turned normal."""
    from dataclasses import replace

    maps = head_maps(frame)
    decoded = prior.decode(drive(), prior.biases(maps, frame), frame)
    up = torch.zeros_like(decoded.offset)
    up[..., 2] = 0.001
    turn = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])

    def shift(geometry: Tensor) -> Tensor:
        plain = prior.place(decoded, maps, geometry, frame)[0].positions
        return prior.place(replace(decoded, offset=up), maps, geometry, frame)[0].positions - plain

    before = shift(frame.mean)
    after = shift(torch.einsum("ij,bjhw->bihw", turn, frame.mean))
    torch.testing.assert_close(before.norm(dim=1), torch.full((len(before),), 0.001), atol=1e-6, rtol=0)
    close = (after - before @ turn.T).norm(dim=1) < 1e-5
    assert close.float().mean() > 0.98  # the others have neighbours along one axis alone


def test_a_gradient_reaches_every_weight_through_the_renderer(prior: UniversalPrior, frame: Frame) -> None:
    import numpy as np

    from backend.artifacts import Camera
    from backend.gaussians.numba_renderer import NumbaRenderer

    awake(prior)
    pose = np.column_stack([np.diag([1.0, -1.0, -1.0]), [0, 0, 1.0]])
    camera = Camera(60.0, (12.0, 12.0), 24, 24, pose)
    (made,) = prior(head_maps(frame), drive(0.3, 0.1), frame)
    NumbaRenderer().render(made, camera).square().mean().backward()  # type: ignore[no-untyped-call]
    for name, parameter in prior.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
