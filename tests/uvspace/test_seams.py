"""Padding, filling, sampling and seams on charts whose answers are known."""

from __future__ import annotations

import numpy as np
from chart_meshes import cylinder, head_from_mesh, lattice, sphere
from scipy.ndimage import distance_transform_edt, map_coordinates

from backend.colour import srgb_to_linear
from backend.uvspace.chart import chart_raster
from backend.uvspace.sampling import ImagePyramid, linear_light, sample_bilinear
from backend.uvspace.seams import dilate, level_seams, push_pull_fill, sample_chart, seam_pairs


def test_tube_seam_pairs_left_and_right_edges() -> None:
    tube = cylinder()
    pairs = seam_pairs(tube, 128)
    left, right = pairs.uv[:, 0] < 0.5, pairs.uv[:, 0] > 0.5
    np.testing.assert_allclose(pairs.uv[left, 0], 0.05, atol=1e-6)
    np.testing.assert_allclose(pairs.uv[right, 0], 0.95, atol=1e-6)
    np.testing.assert_allclose(pairs.uv_across[left, 0], 0.95, atol=1e-6)
    np.testing.assert_allclose(pairs.uv[:, 1], pairs.uv_across[:, 1], atol=1e-6)
    np.testing.assert_allclose(pairs.inward[left], [[1, 0]] * left.sum(), atol=1e-6)
    np.testing.assert_allclose(pairs.inward_across[left], [[-1, 0]] * left.sum(), atol=1e-6)
    assert left.sum() == right.sum()
    # About one a texel: 0.9 of 128 rows, both ways.
    assert 0.9 * 128 * 2 <= len(pairs.uv) <= 0.9 * 128 * 2 + 2 * 9
    # Both are one place in space: the back of the tube, whose height v gives.
    gaps = np.diff(np.sort(pairs.uv[left, 1]))
    assert gaps.max() <= 1.01 / 128


def test_a_sheet_has_no_seam() -> None:
    triangles, _, uvs = lattice(4, 4)
    sheet = head_from_mesh("sheet", np.c_[uvs, np.zeros(len(uvs))], triangles, uvs, triangles)
    assert len(seam_pairs(sheet, 64).uv) == 0
    image = np.random.default_rng(0).uniform(size=(64, 64, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        level_seams(image, np.ones((64, 64), bool), seam_pairs(sheet, 64), 8), image
    )


def test_levelled_seam_meets_halfway_and_leaves_the_rest() -> None:
    tube = cylinder()
    inside = chart_raster(tube, 128).covered
    ramp = np.broadcast_to(((np.arange(128) + 0.5) / 128)[None, :, None], (128, 128, 1)).astype(np.float32)
    pairs = seam_pairs(tube, 128)
    levelled = level_seams(np.where(inside[..., None], ramp, 0), inside, pairs, 20)
    rows = slice(20, 108)
    before = abs(ramp[rows, 8, 0] - ramp[rows, 119, 0]).max()
    after = abs(levelled[rows, 8, 0] - levelled[rows, 119, 0]).max()
    assert before > 0.8
    assert after < 0.05
    np.testing.assert_array_equal(levelled[:, 40:88], np.where(inside[..., None], ramp, 0)[:, 40:88])


def test_dilation_repeats_the_closest_border_texel() -> None:
    ball = sphere()
    inside = chart_raster(ball, 96).covered & (np.hypot(*(np.mgrid[:96, :96] - 48)) < 30)
    own = np.stack(np.mgrid[:96, :96], -1).astype(np.float32)
    filled = dilate(np.where(inside[..., None], own, -1), inside)
    np.testing.assert_array_equal(filled[inside], own[inside])
    exact = distance_transform_edt(~inside)
    got = np.linalg.norm(filled - own, axis=-1)
    assert (filled >= 0).all()
    assert (got - exact).max() < 0.7  # the distance transform's 5×5 mask is not exactly Euclidean
    near = dilate(np.where(inside[..., None], own, -1), inside, reach_texels=4)
    assert (near[exact > 5] == -1).all()
    assert (near[(exact > 0) & (exact < 3)] >= 0).all()


def test_push_pull_keeps_what_is_known_and_fills_smoothly() -> None:
    y, x = np.mgrid[:61, :83].astype(np.float32)
    plane = np.stack([x / 83, 0.2 + 0.5 * y / 61], -1)
    known = np.random.default_rng(1).uniform(size=plane.shape[:2]) < 0.2
    known[25:35, 30:45] = False
    filled = push_pull_fill(np.where(known[..., None], plane, 9), known)
    np.testing.assert_allclose(filled[known], plane[known], atol=1e-6)
    assert np.abs(filled - plane).max() < 0.12
    assert filled.max() <= 1.0
    assert (push_pull_fill(plane, np.zeros_like(known)) == 0).all()


def test_sampling_matches_scipy_and_honours_v_up() -> None:
    image = np.random.default_rng(2).uniform(size=(20, 30, 2)).astype(np.float32)
    xy = np.random.default_rng(3).uniform(0.5, [29.5, 19.5], (200, 2))
    expected = np.stack(
        [map_coordinates(image[..., c], [xy[:, 1] - 0.5, xy[:, 0] - 0.5], order=1) for c in range(2)], -1
    )
    np.testing.assert_allclose(sample_bilinear(image, xy), expected, atol=1e-6)
    chart = np.zeros((4, 4, 1), np.float32)
    chart[0, 0] = 1  # top row: v near 1
    assert sample_chart(chart, np.array([0.125, 0.875]))[0] == 1
    assert sample_chart(chart, np.array([0.125, 0.125]))[0] == 0


def test_pyramid_keeps_coordinates_at_every_level() -> None:
    y, x = np.mgrid[:64, :96].astype(np.float32) + 0.5
    pyramid = ImagePyramid.build(np.stack([x, y], -1))
    xy = np.random.default_rng(4).uniform(20, 44, (100, 2))
    for level in (0.0, 0.5, 1.0, 2.3):
        np.testing.assert_allclose(pyramid.sample(xy, np.full(100, level)), xy, atol=1e-4)
    assert pyramid.height[-1] == pyramid.width[-1] == 1


def test_linear_light_by_table() -> None:
    values = np.random.default_rng(5).uniform(size=(40, 50, 3)).astype(np.float32)
    values[0, 0] = (0, 1, 0.04045)
    np.testing.assert_allclose(linear_light(values), srgb_to_linear(values), atol=1e-6)
