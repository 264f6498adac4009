"""Refinement: at first it changes nothing; key points, losses and gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from backend.artifacts import Camera
from backend.fica.atlas import Atlas
from backend.fica.losses import deviation
from backend.fica.maps import HeadMaps, frame_of
from backend.fica.refinement import TINY_REFINEMENT, RefinementNetwork
from backend.fica.training.refinement import project, sampled
from backend.fica.training.samples import camera_of, camera_tensor
from backend.head.base import ParametricHead
from backend.head.correspondences import points68


def _maps(atlas: Atlas) -> HeadMaps:
    frame = frame_of(atlas)
    texture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * frame.inside
    return HeadMaps(texture, frame.mean + 0.002 * frame.inside)


def test_untrained_it_changes_nothing(atlas: Atlas) -> None:
    frame, maps = frame_of(atlas), _maps(atlas)
    network = RefinementNetwork(TINY_REFINEMENT)
    made = network(maps, torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64), frame)
    torch.testing.assert_close(made.texture, maps.texture)
    torch.testing.assert_close(made.geometry, maps.geometry, atol=1e-6, rtol=0)
    assert deviation(made, maps, frame).item() < 1e-4


def test_portrait_and_rendering_are_both_looked_at_and_told_apart(atlas: Atlas) -> None:
    torch.manual_seed(0)
    frame, maps = frame_of(atlas), _maps(atlas)
    network = RefinementNetwork(TINY_REFINEMENT)
    nn.init.normal_(network.last.weight, std=0.2)
    one, two = torch.rand(2, 1, 3, 64, 64)
    base = network(maps, one, two, frame).texture
    for other in (
        network(maps, one, one, frame),
        network(maps, two, two, frame),
        network(maps, two, one, frame),
    ):
        assert (other.texture - base).abs().max() > 1e-4


def test_key_points_of_the_true_surface_are_the_cameras(atlas: Atlas, head: ParametricHead) -> None:
    """Sampled from the position map and projected in torch: within a texel of the exact points."""
    pose = np.column_stack([np.diag([1.0, -1.0, -1.0]), [0.01, 0.02, 1.0]])
    camera = Camera(150.0, (30.0, 34.0), 64, 64, pose)
    points = points68(head)
    uv = (points.barycentric[..., None] * atlas.corner_uvs[points.triangle]).sum(1)
    places = points.positions(head.mean_vertices, head.triangles)
    wanted, _ = camera.project(places)
    numbers = camera_tensor(camera)[None]
    exact = project(torch.from_numpy(places)[None], numbers)[0]
    np.testing.assert_allclose(exact.numpy(), wanted, atol=1e-9)
    made = sampled(frame_of(atlas).mean, torch.from_numpy(uv)[None].float())[0]
    off = np.linalg.norm(made.numpy() - places, axis=1)
    assert np.median(off) < 0.002
    again = camera_of(numbers[0], 64)
    np.testing.assert_allclose(again.world_to_camera, camera.world_to_camera)
    assert again.principal_px == camera.principal_px


def test_deviation_hears_texture_bend_and_normals(atlas: Atlas) -> None:
    frame, maps = frame_of(atlas), _maps(atlas)
    lighter = HeadMaps(maps.texture + 0.3 * frame.inside, maps.geometry)
    torch.testing.assert_close(deviation(lighter, maps, frame), torch.tensor(0.3), atol=1e-4, rtol=0)
    shifted = HeadMaps(maps.texture, maps.geometry + 0.01)
    assert float(deviation(shifted, maps, frame)) < 1e-3  # a shift neither bends nor turns
    rough = HeadMaps(maps.texture, maps.geometry + 0.001 * torch.randn_like(maps.geometry))
    assert float(deviation(rough, maps, frame)) > 0.02
