"""Texture figures on charts and pictures whose answers are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
from ellipsoid_head import make_head

from backend.artifacts import Camera
from backend.colour import linear_to_srgb
from backend.evaluation.skin_tone_groups import SkinTone, compare_tones, tables
from backend.evaluation.texture_metrics import (
    albedo_error,
    bs_error,
    occluder_leak,
    seam_jump,
    seam_jump_of,
)
from backend.uvspace.chart import chart_maps
from backend.uvspace.seams import SeamPairs

SIZE = 128


@pytest.fixture(scope="module")
def head():
    return make_head()


@pytest.fixture(scope="module")
def chart(head):
    return chart_maps(head, head.mean_vertices, SIZE)


def test_even_and_mirrored_textures_have_no_bs_error(head, chart):
    assert bs_error(np.full((SIZE, SIZE, 3), 0.6), head) < 1e-3
    mirrored = 0.5 + 3 * np.abs(chart.position_head[..., :1]) * np.ones(3)
    assert bs_error(mirrored, head) < 0.3


def test_bs_error_of_a_side_light_is_the_mean_difference(head, chart):
    side = np.sign(chart.position_head[..., 0])
    lit = (0.5 + 0.1 * side)[..., None] * np.ones(3)
    # 2 · 0.1 · 255 grey levels, but near the middle and the seam, where the blur mixes both sides.
    assert 49.7 < bs_error(lit, head) < 51  # 49.2 if what lies beyond the chart were blurred in
    assert bs_error(lit * 0.5, head) == pytest.approx(bs_error(lit, head) / 2, rel=1e-4)


def test_bs_error_reads_luma_and_not_colour_or_pores(head, chart):
    side = np.sign(chart.position_head[..., 0])[..., None]
    same_luma = 0.5 + side * np.array([0.114, 0.0, -0.299])  # BT.601 weighs both ends alike
    assert bs_error(same_luma, head) < 0.05
    pores = 0.5 + np.random.default_rng(0).normal(0, 0.1, (SIZE, SIZE, 1)) * np.ones(3)
    assert bs_error(pores, head) < 8  # unblurred it would be 29


def test_bs_error_ignores_what_lies_beyond_the_chart(head, chart):
    texture = (0.5 + chart.position_head[..., :1]) * np.ones(3)
    padded = np.where(chart.inside[..., None], texture, 0.0)
    assert bs_error(padded, head) == pytest.approx(bs_error(texture, head), abs=1e-4)


def test_a_step_at_the_seam_is_found_and_a_smooth_map_has_none(head):
    u = (np.arange(SIZE) + 0.5) / SIZE
    ramp = np.broadcast_to(u[None, :, None], (SIZE, SIZE, 3))  # the seam joins u = 0.02 and 0.98
    found = seam_jump(ramp, head)
    assert found.across == pytest.approx(0.96 * 255, rel=0.02)
    assert found.beside == pytest.approx(255 / SIZE, rel=0.02)
    assert found.ratio > 100
    around = 0.5 + 0.2 * np.cos((u - 0.02) / 0.96 * 2 * np.pi)
    assert seam_jump(np.broadcast_to(around[None, :, None], (SIZE, SIZE, 3)), head).ratio < 2


def test_jump_is_across_the_seam_not_along_it():
    texture = np.zeros((10, 10, 3))
    texture[:, 5:] = 0.2
    texture[:, 6:] = 0.3
    one = np.array([[0.5, 0.55]])
    pairs = SeamPairs(one, one, np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0]]))
    found = seam_jump_of(texture, pairs)
    assert (found.across, found.beside) == pytest.approx((51.0, 25.5), abs=1e-3)
    empty = SeamPairs(*(np.zeros((0, 2)) for _ in range(4)))
    assert seam_jump_of(texture, empty) is None


def _front_camera():
    pose = np.c_[np.diag([1.0, -1.0, -1.0]), [0.0, 0.0, 0.8]]
    return Camera(400.0, (60.0, 80.0), 120, 160, pose)


def test_leak_counts_believed_texels_under_the_mask(head, chart):
    camera = _front_camera()
    facing = (chart.normal_head[..., 2] > 0.4) & chart.inside
    believed = np.where(facing, 0.9, 0.2).astype(np.float32)
    pixel, _ = camera.project(chart.position_head[facing])
    mask = np.zeros((160, 120), np.uint8)
    mask[:, 70:] = 1  # a curtain over the picture's right
    expected = float((pixel[:, 0] >= 70).mean())
    leak = occluder_leak(head, head.mean_vertices, believed, camera, mask)
    assert leak.of_texture == pytest.approx(expected)
    assert 0.05 < expected < 0.45
    assert leak.believed_texels == facing.sum()
    # The unwrap that saw the curtain, and the one that believes nothing.
    everywhere, _ = camera.project(chart.position_head)
    careful = np.where(everywhere[..., 0] < 70, believed, 0)
    assert occluder_leak(head, head.mean_vertices, careful, camera, mask).of_texture == 0
    assert occluder_leak(head, head.mean_vertices, 0 * believed, camera, mask).of_texture is None


def test_leak_is_measured_through_the_camera(head, chart):
    believed = ((chart.normal_head[..., 2] > 0.4) & chart.inside).astype(np.float32)
    mask = np.zeros((160, 120), np.uint8)
    mask[:60] = 255  # a fringe: above
    fringe = occluder_leak(head, head.mean_vertices, believed, _front_camera(), mask).of_texture
    beard = occluder_leak(head, head.mean_vertices, believed, _front_camera(), mask[::-1]).of_texture
    aside = replace(_front_camera(), principal_px=(1000.0, 80.0))
    assert fringe == pytest.approx(beard, abs=0.05)
    assert fringe > 0.1
    assert occluder_leak(head, head.mean_vertices, believed, aside, np.ones((160, 120))).of_texture == 0


def test_albedo_error_with_and_without_scales():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.1, 0.6, (40, 30, 3))
    mask = np.zeros((40, 30), np.uint8)
    mask[5:30, 4:20] = 7
    spoilt = np.where(mask[..., None] > 0, 0.5 * truth, 9.0)
    found = albedo_error(spoilt, truth, mask)
    inside = truth[mask > 0]
    assert found.absolute == pytest.approx(np.sqrt(np.mean((0.5 * inside) ** 2)))
    assert found.one_scale < 1e-12
    tinted = truth * [0.5, 1.0, 2.0]
    found = albedo_error(tinted, truth, mask)
    assert found.channel_scale < 1e-12
    assert found.one_scale > 0.05
    assert albedo_error(truth, truth, 0 * mask) is None


def test_one_scale_is_the_best_scale():
    rng = np.random.default_rng(1)
    own, truth = rng.uniform(0.1, 0.6, (2, 20, 20, 3))
    mask = np.ones((20, 20))
    best = min(np.sqrt(np.mean((s * own - truth) ** 2)) for s in np.linspace(0.2, 2, 2001))
    assert albedo_error(own, truth, mask).one_scale == pytest.approx(best, abs=1e-6)


def test_tone_is_measured_in_linear_light():
    truth = np.tile([0.45, 0.27, 0.19], (50, 1))
    assert compare_tones(truth, truth).delta_e_pixels == 0
    lighter = compare_tones(truth * 1.3, truth)
    assert lighter.ita_error_degrees > 5
    as_srgb = compare_tones(linear_to_srgb(truth), truth)
    assert as_srgb.delta_e > 10  # what a mix-up of sRGB and linear costs
    # A checker of lighter and darker skin has the truth's mean and none of its pixels.
    checker = truth * np.where(np.arange(50) % 2, 1.2, 0.8)[:, None]
    assert compare_tones(checker, truth).delta_e < 1e-6
    assert compare_tones(checker, truth).delta_e_pixels > 3


def test_tables_by_skin_tone_are_signed_and_show_the_gap():
    light, dark = np.tile([0.60, 0.42, 0.33], (4, 1)), np.tile([0.06, 0.035, 0.025], (4, 1))
    tones = [compare_tones(own, truth) for own, truth in ((light, light), (dark * 2, dark))]
    values = tables([(tone.truth_ita_degrees, tone) for tone in tones])
    assert values["skin_delta_e_2000_dark"] == pytest.approx(tones[1].delta_e)
    assert values["skin_ita_bias_dark_degrees"] > 5  # too light
    known = [v for name, v in values.items() if name.startswith("skin_delta_e_2000_") and v == 0]
    assert len(known) == 1  # the light head's group
    assert values["skin_delta_e_2000_tan"] is None
    assert values["skin_delta_e_2000_gap"] == pytest.approx(tones[1].delta_e)


def test_every_group_of_skin_tones_bears_its_own_name():
    """One made-up person a group; ITA is off by another known angle in each."""
    middles = {"very light": 60, "light": 48, "intermediate": 35, "tan": 20, "brown": -10, "dark": -50}
    off = dict(zip(middles, (1.0, -2.0, 4.0, -8.0, 16.0, 7.0), strict=True))
    tones = [(at, SkinTone(at, at + off[n], 10 + off[n], 0.0)) for n, at in middles.items()]
    values = tables(tones)
    for name, angle in off.items():
        slug = name.replace(" ", "_")
        assert values[f"skin_ita_bias_{slug}_degrees"] == pytest.approx(angle)
        assert values[f"skin_delta_e_2000_{slug}"] == pytest.approx(10 + angle)
    assert values["skin_ita_bias_gap_degrees"] == pytest.approx(24)  # brown against tan, signs kept
    assert values["skin_delta_e_2000_gap"] == pytest.approx(24)
    assert len(values) == 2 * len(middles) + 2
