"""Frames, footprints and quaternions of a position map against closed forms and SciPy."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from backend.fica.atlas import Atlas
from backend.fica.losses import laplacian, ssim
from backend.fica.maps import Frame, frame_of
from backend.fica.surface import (
    SPREAD,
    THICKNESS,
    base_log_scales,
    normal_map,
    product,
    quaternions,
    surface_frames,
    surfels,
)
from backend.head.base import ParametricHead
from backend.uvspace.normals import vertex_normals


def plane(size: int, cut: bool = False) -> tuple[torch.Tensor, Frame]:
    """x to the right 2 mm a texel, y up 1 mm a texel, z 0; with ``cut`` two parts side by side."""
    column, row = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="xy")
    position = torch.stack([0.002 * column, -0.001 * row, torch.zeros(size, size)]).float()[None]
    part = torch.zeros(size, size, dtype=torch.long)
    if cut:
        part[:, size // 2 :] = 1
        position[:, 2, :, size // 2 :] = 0.5
    return position, Frame(
        torch.ones(1, 1, size, size), part, torch.arange(size * size), torch.zeros(1, 3, size, size)
    )


def test_frames_of_a_plane_are_its_axes_up_to_the_very_edge() -> None:
    position, frame = plane(6, cut=True)
    made = surface_frames(position, frame)
    torch.testing.assert_close(made.rotation[0], torch.eye(3).expand(36, 3, 3), atol=1e-4, rtol=0)
    wanted = torch.log(torch.tensor([0.002, 0.001])).expand(36, 2)
    torch.testing.assert_close(made.log_extent[0], wanted, atol=1e-4, rtol=0)


def test_flat_gaussians_have_the_texels_extent() -> None:
    scales = torch.exp(base_log_scales(torch.log(torch.tensor([[0.002, 0.001]]))))[0]
    torch.testing.assert_close(
        scales, torch.tensor([SPREAD * 0.002, SPREAD * 0.001, THICKNESS * SPREAD * 0.001])
    )


def test_normals_of_the_head_are_those_of_its_mesh(atlas: Atlas, head: ParametricHead) -> None:
    frame = frame_of(atlas)
    normals = normal_map(frame.mean, frame)[0].permute(1, 2, 0).numpy()
    wanted = atlas.on_texels(vertex_normals(head.mean_vertices, head.triangles))
    skin = atlas.part == 0
    cosine = (normals * wanted).sum(-1)[skin] / np.linalg.norm(wanted, axis=-1)[skin]
    assert np.median(cosine) > 0.99
    assert (cosine > 0.5).mean() > 0.95


def test_quaternions_are_scipys_wherever_they_turn() -> None:
    turns = Rotation.random(200, random_state=0)
    made = quaternions(torch.from_numpy(turns.as_matrix())).numpy()
    wanted = turns.as_quat()[:, [3, 0, 1, 2]]
    np.testing.assert_allclose(np.abs((made * wanted).sum(1)), 1, atol=1e-9)
    after = product(torch.from_numpy(wanted[:100]), torch.from_numpy(wanted[100:])).numpy()
    both = (turns[:100] * turns[100:]).as_quat()[:, [3, 0, 1, 2]]
    np.testing.assert_allclose(np.abs((after * both).sum(1)), 1, atol=1e-9)


def test_surfels_have_gradients_in_texture_and_geometry(atlas: Atlas) -> None:
    frame = frame_of(atlas)
    texture = torch.rand(1, 3, 64, 64, requires_grad=True)
    geometry = frame.mean.clone().requires_grad_(True)
    (one,) = surfels(texture, geometry, frame)
    assert len(one.positions) == int(atlas.inside.sum())
    (
        one.positions.sum() + one.log_scales.sum() + (one.rotations[:, 1] ** 2).sum() + one.colours_srgb.sum()
    ).backward()
    for leaf in (texture, geometry):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
        assert (leaf.grad.abs().sum((0, 1)) > 0)[torch.from_numpy(atlas.inside)].float().mean() > 0.99


def test_laplacian_of_a_parabola_is_a_quarter_of_its_second_derivative() -> None:
    position, frame = plane(8)
    across = torch.arange(8).float()
    bent = position.clone()
    bent[:, 2] = across**2
    inner = laplacian(bent, frame)[0, 2, 1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.full((6, 6), -0.5))
    flat = laplacian(position, frame)[0, :, 1:-1, 1:-1]
    torch.testing.assert_close(flat, torch.zeros(3, 6, 6), atol=1e-6, rtol=0)


def test_ssim_is_scikit_images() -> None:
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(0)
    a = rng.random((40, 36, 3))
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)
    _, full = structural_similarity(
        a, b, channel_axis=2, data_range=1, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    wanted = full[5:-5, 5:-5].mean()
    made = ssim(*(torch.from_numpy(x.transpose(2, 0, 1))[None] for x in (a, b)))
    assert abs(float(made) - wanted) < 1e-3
