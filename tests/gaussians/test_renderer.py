"""The compiled renderer against its plain twin, the tests' numpy rasteriser and finite differences."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from made_gaussians import camera, made
from splat_reference import Camera as ReferenceCamera
from splat_reference import ball
from splat_reference import render as reference

from backend.artifacts import Camera
from backend.errors import Missing
from backend.gaussians.gsplat_renderer import GsplatRenderer
from backend.gaussians.numba_renderer import NumbaRenderer
from backend.gaussians.plain_renderer import PlainRenderer
from backend.gaussians.renderer import Gaussians, as_seen, over, view_colours
from blender_addon.splat_sh import colours_srgb

PARAMETERS = [f.name for f in fields(Gaussians)]


def graded(gaussians: Gaussians) -> Gaussians:
    return Gaussians(*(getattr(gaussians, n).clone().requires_grad_(True) for n in PARAMETERS))


def loss(picture: torch.Tensor) -> torch.Tensor:
    """A sum that weighs every pixel and channel, coverage too, differently."""
    weights = torch.cos(torch.arange(picture.numel(), dtype=picture.dtype)).reshape(picture.shape)
    return (weights.to(picture.device) * picture).sum() + (picture**2).sum()


@pytest.mark.parametrize("size_m", [0.0005, 0.01, 0.05])
def test_pictures_equal_the_twins(size_m: float) -> None:
    gaussians = made(300, size_m=size_m)
    view = camera()
    drawn, twin = NumbaRenderer().render(gaussians, view), PlainRenderer().render(gaussians, view)
    assert twin[..., 3].max() > 0.2  # something is there to compare
    assert float((drawn - twin).abs().max()) < 2e-4
    assert -10 * np.log10(float(((drawn - twin) ** 2).mean())) > 90


def test_pictures_equal_the_numpy_rasterisers() -> None:
    """An implementation that shares no line: the one that Blender's pictures are held against."""
    splats = ball(500, 2)
    pose = np.eye(3, 4)
    pose[2, 3] = 4.0
    view = Camera(90.0, (24.0, 24.0), 48, 48, pose)
    drawn = NumbaRenderer().render(as_seen(splats, view), view).numpy()
    other = reference(
        splats, ReferenceCamera(view.centre_head, np.eye(3), 90.0, 48), projected=True, display=True
    )
    difference = np.abs(drawn - other)
    # The reference never closes a pixel, and a footprint of 1/255 may fall on either side of the cut.
    assert np.quantile(difference, 0.995) < 1e-3
    assert difference.max() < 5e-3


def test_gradients_equal_autograd_of_the_twin() -> None:
    gaussians, view = made(200, 3), camera()
    ours, twin = graded(gaussians), graded(replace(gaussians))
    loss(NumbaRenderer().render(ours, view)).backward()
    loss(PlainRenderer().render(twin, view)).backward()
    for name in PARAMETERS:
        got, wanted = getattr(ours, name).grad, getattr(twin, name).grad
        assert float(wanted.abs().max()) > 0
        assert float((got - wanted).norm() / wanted.norm()) < 2e-3, name


@pytest.mark.parametrize("name", PARAMETERS)
def test_gradients_equal_finite_differences(name: str) -> None:
    """Of the compiled picture, along random directions; wide soft Gaussians with edges off the screen."""
    gaussians = replace(made(6, 5, size_m=0.2), opacity_logits=torch.full((6,), -1.0))
    view = camera()
    tracked = graded(gaussians)

    def smooth(picture: torch.Tensor) -> torch.Tensor:
        return (picture[..., :3].double() ** 2).mean() + 0.3 * picture[..., 3].double().mean()

    smooth(NumbaRenderer().render(tracked, view)).backward()
    value = getattr(gaussians, name)
    direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    direction /= direction.norm()
    step = 5e-3 if name == "positions" else 2e-2
    ends = [
        float(
            smooth(
                NumbaRenderer().render(replace(gaussians, **{name: value + sign * step * direction}), view)
            )
        )
        for sign in (1, -1)
    ]
    slope = (ends[0] - ends[1]) / (2 * step)
    expected = float((getattr(tracked, name).grad * direction).sum())
    assert slope == pytest.approx(expected, rel=0.03, abs=1e-5)


def test_order_of_the_gaussians_does_not_matter() -> None:
    gaussians, view = made(150, 7), camera()
    turned = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    shuffled = Gaussians(*(getattr(gaussians, n)[turned] for n in PARAMETERS))
    assert torch.equal(NumbaRenderer().render(gaussians, view), NumbaRenderer().render(shuffled, view))


def test_what_cannot_be_seen_is_left_out() -> None:
    """Behind the camera, beside the picture, fully transparent: no light, no gradient, no error."""
    view = camera()
    behind = view.centre_head - 0.3 * view.world_to_camera[2, :3]
    beside = view.world_to_camera[0, :3] * 5.0
    gaussians = graded(
        replace(
            made(3),
            positions=torch.tensor(np.stack([behind, beside, np.zeros(3)]), dtype=torch.float32),
            opacity_logits=torch.tensor([5.0, 5.0, -20.0]),
        )
    )
    picture = NumbaRenderer().render(gaussians, view)
    loss(picture).backward()
    assert float(picture.detach().abs().max()) == 0
    assert all(float(getattr(gaussians, n).grad.abs().max()) == 0 for n in PARAMETERS)


def test_one_opaque_gaussian_covers_and_the_background_shows_beside_it() -> None:
    gaussians = Gaussians(
        positions=torch.zeros(1, 3),
        log_scales=torch.full((1, 3), float(np.log(0.02))),
        rotations=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        opacity_logits=torch.tensor([20.0]),
        colours_srgb=torch.tensor([[0.8, 0.2, 0.1]]),
    )
    view = Camera(200.0, (32.0, 32.0), 64, 64, np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.5]]))
    picture = NumbaRenderer().render(gaussians, view)
    shown = over(picture, 0.5)
    assert torch.allclose(shown[0, 0], torch.full((3,), 0.5))
    # The projected standard deviation is 0.02 · 200 / 0.5 = 8 px, widened by 0.1 px² both ways, and
    # as much paler: its light stays the same.
    expected = 64 / (64 + 0.1) * np.exp(-(0.5**2 + 8.5**2) / 2 / (64 + 0.1))
    assert float(picture[31, 40, 3]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_view_colours_are_the_harmonics(degree: int) -> None:
    splats = ball(50, degree)
    view = camera()
    towards = splats.positions - view.centre_head
    expected = colours_srgb(splats.sh, towards / np.linalg.norm(towards, axis=1, keepdims=True))
    got = view_colours(torch.tensor(splats.sh), torch.tensor(splats.positions), view)
    assert np.allclose(got.numpy(), expected, atol=1e-5)


def test_gsplat_says_what_is_missing() -> None:
    try:
        import gsplat  # noqa: F401

        is_there = torch.cuda.is_available()
    except ImportError:
        is_there = False
    if is_there:
        pytest.skip("gsplat and CUDA are present")
    with pytest.raises(Missing, match=r"extra `gpu`|numba renderer"):
        GsplatRenderer()


@pytest.mark.gpu
def test_gsplat_draws_the_same_picture_with_the_same_gradients() -> None:
    pytest.importorskip("gsplat")
    gaussians, view = made(300), camera()
    ours = graded(gaussians)
    theirs = Gaussians(*(getattr(gaussians, n).cuda().requires_grad_(True) for n in PARAMETERS))
    drawn, other = NumbaRenderer().render(ours, view), GsplatRenderer().render(theirs, view)
    assert float((drawn - other.cpu()).abs().quantile(0.999)) < 2e-3
    loss(drawn).backward()
    loss(other).backward()
    for name in PARAMETERS:
        got, wanted = getattr(theirs, name).grad.cpu(), getattr(ours, name).grad
        assert float((got - wanted).norm() / wanted.norm()) < 0.02, name
