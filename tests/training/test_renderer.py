"""The plain differentiable renderer: values against the rasteriser's own, gradients against differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.marcus.training.renderer import NvdiffrastRenderer, PlainRenderer
from backend.uvspace.numba_rasteriser import NumbaRasteriser

SIZE = 24


def scene(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    """Two tilted triangles, one before the other, and a sliver outside the picture."""
    places = torch.tensor(
        [[2.3, 3.1], [21.7, 5.2], [9.4, 20.8], [6.1, 1.9], [22.5, 18.3], [1.2, 14.6], [-9.0, -9.0]],
        dtype=dtype,
    )
    depth = torch.tensor([1.0, 1.4, 2.0, 3.1, 2.6, 3.4, 1.0], dtype=dtype)
    colours = torch.rand(7, 3, generator=torch.Generator().manual_seed(2), dtype=dtype)
    triangles = torch.tensor([[0, 1, 2], [3, 4, 5], [0, 3, 6]])
    return places[None], depth[None], colours[None], triangles


def test_pictures_are_the_rasterisers_interpolation() -> None:
    places, depth, colours, triangles = scene()
    picture, cover = PlainRenderer(triangles).draw(places, depth, colours, SIZE)
    vertices = np.concatenate([places[0].numpy(), depth[0].numpy()[:, None]], 1)
    faces = triangles.numpy().astype(np.int32)
    drawn = NumbaRasteriser().rasterise(vertices, faces, SIZE, SIZE)
    np.testing.assert_array_equal(cover[0, 0].numpy() > 0, drawn.covered)
    wanted = drawn.interpolate(colours[0].numpy(), faces)
    # The rasteriser snaps vertices to 1/2048 of a pixel.
    np.testing.assert_allclose(picture[0].permute(1, 2, 0), wanted, atol=2e-3)


def test_depth_decides_and_perspective_is_right() -> None:
    """A colour that is a linear function of the 3D point comes out as that function of the ray's point."""
    places, depth, _, triangles = scene()
    points = torch.cat([places * depth[..., None], depth[..., None]], -1)
    wanted_of = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64)
    values = (points * wanted_of).sum(-1, keepdim=True)
    picture, cover = PlainRenderer(triangles).draw(places, depth, values, SIZE)
    a, b, c = (points[0, k].numpy() for k in (0, 1, 2))
    normal = np.cross(b - a, c - a)
    for row, column in ((8, 10), (12, 9), (6, 15)):
        assert cover[0, 0, row, column] == 1
        ray = np.array([column + 0.5, row + 0.5, 1.0])
        hit = ray * (normal @ a) / (normal @ ray)
        assert float(picture[0, 0, row, column]) == pytest.approx(float(wanted_of[0].numpy() @ hit), rel=1e-6)


def test_gradients_are_finite_differences() -> None:
    places, depth, colours, triangles = scene()
    renderer = PlainRenderer(triangles)
    weights = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    inputs = [t.clone().requires_grad_() for t in (places, depth, colours)]
    _, cover = renderer.draw(places, depth, colours, SIZE)

    def measured(*given: torch.Tensor) -> torch.Tensor:
        return (weights * renderer.draw(*given, SIZE)[0]).sum()

    slopes = torch.autograd.grad(measured(*inputs), inputs)
    step = 1e-7  # too small for a pixel to change its owner
    for which, at in (
        (0, (0, 0, 0)),
        (0, (0, 2, 1)),
        (0, (0, 4, 0)),
        (1, (0, 1)),
        (1, (0, 5)),
        (2, (0, 3, 2)),
    ):
        ahead, behind = [
            [t.detach().clone() for t in inputs],
            [t.detach().clone() for t in inputs],
        ]
        ahead[which][at] += step
        behind[which][at] -= step
        for moved in (ahead, behind):
            assert torch.equal(renderer.draw(*moved, SIZE)[1], cover)
        difference = float(measured(*ahead) - measured(*behind)) / (2 * step)
        assert float(slopes[which][at]) == pytest.approx(difference, rel=1e-4, abs=1e-5)


def test_nothing_in_view_is_black() -> None:
    places, depth, colours, triangles = scene()
    picture, cover = PlainRenderer(triangles).draw(places + 1000, depth, colours, SIZE)
    assert float(picture.abs().max()) == 0
    assert float(cover.max()) == 0


@pytest.mark.gpu
def test_nvdiffrast_draws_the_same() -> None:
    places, depth, colours, triangles = (t.cuda() for t in scene(torch.float32))
    plain = PlainRenderer(triangles).draw(places, depth, colours, SIZE)
    fast = NvdiffrastRenderer(triangles, torch.device("cuda")).draw(places, depth, colours, SIZE)
    same = plain[1] == fast[1]
    assert float(same.float().mean()) > 0.98  # ties on edges are broken another way
    both = (plain[1] * fast[1]).expand_as(plain[0]) > 0
    torch.testing.assert_close(fast[0][both], plain[0][both], atol=5e-3, rtol=0)
