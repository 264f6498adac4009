"""Completion against a head whose skin and light are known everywhere."""

from __future__ import annotations

from dataclasses import replace

import ellipsoid_head as eh
import numpy as np
import pytest

from backend.artifacts import PartialUV, Run
from backend.texture import grain
from backend.texture.complete import complete
from backend.texture.grid import working_chart
from backend.texture.mirror import mirror_index
from backend.texture.trust import better_across

SIZE = 256


@pytest.fixture(scope="module")
def scene():
    head = eh.make_head()
    chart = eh.make_chart(head, SIZE)
    light = eh.directional_light((0.7, 0.4, 0.8), 0.5, 1.2)
    lit = eh.shade(eh.skin_albedo(SIZE), chart, light)
    return head, chart, light, lit


def test_the_hidden_half_is_nearer_to_the_truth_than_a_flat_fill(scene):
    head, chart, light, lit = scene
    partial = eh.half_seen(chart, lit)
    done = complete(partial, eh.make_fit(head, light), Run())
    hidden = chart.inside & (partial.confidence == 0)
    flat = np.median(lit[partial.confidence > 0.5], axis=0)
    error = np.abs(done.rgb_linear - lit)[hidden].mean()
    assert error < 0.35 * np.abs(flat - lit)[hidden].mean()


def test_the_mirrored_brow_appears_on_the_side_that_was_not_seen(scene):
    head, chart, light, lit = scene
    lon, lat = eh.chart_coordinates(SIZE)
    partial = eh.half_seen(chart, lit, yaw=1.0)
    brow = chart.inside & (np.abs(lon + 0.4) < 0.1) & (np.abs(lat - 0.3) < 0.02)
    beside = chart.inside & (np.abs(lon + 0.4) < 0.1) & (np.abs(lat - 0.5) < 0.04)
    assert partial.confidence[brow].max() == 0
    done = complete(partial, eh.make_fit(head, light), Run()).rgb_linear
    assert done[brow].mean() < 0.6 * done[beside].mean()


def test_seen_texels_come_from_the_photo_and_seen_says_so(scene):
    head, chart, light, lit = scene
    partial = eh.half_seen(chart, lit)
    done = complete(partial, eh.make_fit(head, light), Run())
    sure = done.seen >= 0.999
    assert sure.sum() > 0.5 * (partial.confidence > 0.9).sum()
    assert np.array_equal(done.rgb_linear[sure], partial.rgb_linear[sure])
    assert not done.seen[partial.confidence == 0].any()


def test_a_map_finer_than_the_photo_keeps_its_colours_and_gets_the_grain_that_it_lacks(scene, monkeypatch):
    monkeypatch.setattr(grain, "_WIDEST_LOST_M", 0.05)  # this small chart holds nothing as fine as pores
    head, chart, light, lit = scene
    partial = replace(eh.half_seen(chart, lit), texels_per_pixel=8.0)
    done = complete(partial, eh.make_fit(head, light), Run())
    sure = done.seen >= 0.999
    ratio = np.log(done.rgb_linear[sure] / partial.rgb_linear[sure])
    assert 1e-3 < ratio.std() < 0.03
    assert abs(ratio.mean()) < 2e-3
    assert np.ptp(ratio, axis=1).max() < 1e-4  # brightness, not colour


def test_a_texel_that_the_photo_lost_leaves_no_speck_on_the_other_side():
    # On a map finer than the working grid, where the other side lends its finest band.
    size = 1024
    head = eh.make_head()
    chart = eh.make_chart(head, size)
    light = eh.directional_light((0.7, 0.4, 0.8), 0.5, 1.2)
    lit = eh.shade(np.broadcast_to(eh.SKIN, (size, size, 3)).astype(np.float32), chart, light)
    whole = eh.half_seen(chart, lit)
    lost = np.zeros((size, size), bool)
    lost[400:600:20, ::20] = True
    lost &= whole.confidence > 0.9
    assert lost.sum() > 50
    rgb, confidence = (np.where(lost[..., None], 0, whole.rgb_linear), np.where(lost, 0, whole.confidence))
    holed = replace(whole, rgb_linear=rgb.astype(np.float32), confidence=confidence.astype(np.float32))
    fit = eh.make_fit(head, light)
    kept, made = (complete(partial, fit, Run()).rgb_linear for partial in (whole, holed))
    hidden = chart.inside & (whole.confidence == 0)
    assert np.abs(np.log(made[hidden] / kept[hidden])).max() < 0.2


def test_no_border_shows_where_the_photo_ends(scene):
    head, chart, light, _ = scene
    # Even skin: the only steps that could appear are made by the fill.
    lit = eh.shade(np.broadcast_to(eh.SKIN, (SIZE, SIZE, 3)).astype(np.float32), chart, light)
    # The photo is 15 % brighter than the fitted light says.
    partial = eh.half_seen(chart, 1.15 * lit)
    done = complete(partial, eh.make_fit(head, light), Run()).rgb_linear[..., 1]
    across = np.abs(np.diff(np.log(np.maximum(done, 1e-3)), axis=1))
    both = chart.inside[:, 1:] & chart.inside[:, :-1]
    truth = np.abs(np.diff(np.log(np.maximum(lit[..., 1], 1e-3)), axis=1))
    assert np.percentile(across[both], 99.9) < np.percentile(truth[both], 99.9) + 0.04


def test_a_dark_lock_of_hair_at_the_border_is_not_believed(scene):
    head, chart, light, lit = scene
    lon, lat = eh.chart_coordinates(SIZE)
    partial = eh.half_seen(chart, lit, yaw=0.0)
    lock = (partial.confidence > 0) & (np.abs(lon) > 1.05) & (np.abs(lat) < 0.5)
    assert lock.sum() > 100
    photo = partial.rgb_linear.copy()
    photo[lock] *= 0.15
    done = complete(PartialUV(chart, photo, partial.confidence, 2.0), eh.make_fit(head, light), Run())
    assert np.median(done.rgb_linear[lock] / lit[lock]) > 0.8


def test_a_lock_is_followed_over_the_brow_that_it_hangs_on(scene):
    head, chart, light, lit = scene
    lon, lat = eh.chart_coordinates(SIZE)
    partial = eh.half_seen(chart, lit, yaw=0.0)
    confidence = np.where(lon > 0.65, 0, partial.confidence).astype(np.float32)  # hair hides the rest
    lock = (confidence > 0.5) & (lon > 0.52) & (lat > 0.0) & (lat < 0.6)
    tail = lock & (np.abs(lat - 0.3) < 0.02)
    other = (partial.confidence > 0.5) & (lon < -0.52) & (lon > -0.65) & (np.abs(lat - 0.3) < 0.02)
    photo = partial.rgb_linear.copy()
    photo[lock] *= 0.15
    done = complete(PartialUV(chart, photo, confidence, 2.0), eh.make_fit(head, light), Run())
    assert done.seen[tail].max() < 0.5
    assert done.seen[other].mean() > 0.9  # the same brow without a lock


def test_the_shadow_that_a_lock_throws_on_the_skin_beside_it_goes_with_it(scene):
    head, chart, light, lit = scene
    partial = eh.half_seen(chart, lit, yaw=0.0)
    lon, lat = eh.chart_coordinates(SIZE)
    low = (partial.confidence > 0) & (np.abs(lat) < 0.5)
    lock, rim = low & (np.abs(lon) > 1.05), low & (np.abs(np.abs(lon) - 0.99) < 0.06)
    outer = rim & (np.abs(lon) < 1.0)  # 4 to 9 mm from the lock
    photo = lit.copy()
    photo[lock] *= 0.15
    photo[rim] *= np.array([0.8, 0.7, 0.68], np.float32)
    done = complete(replace(partial, rgb_linear=photo), eh.make_fit(head, light), Run())
    assert done.seen[outer].mean() < 0.3
    assert np.median(done.rgb_linear[rim] / lit[rim]) > 0.9


def test_hair_of_another_tint_stays_where_it_is_seen(scene):
    head, chart, light, lit = scene
    lon, lat = eh.chart_coordinates(SIZE)
    partial = eh.half_seen(chart, lit, yaw=0.0)
    seen = partial.confidence > 0.1
    stubble = seen & (np.abs(lon) > 0.8) & (np.abs(lat) < 0.5)
    photo = partial.rgb_linear.copy()
    photo[stubble] *= np.array([0.72, 0.95, 0.85], np.float32)
    fit = eh.make_fit(head, light)
    shaven = complete(partial, fit, Run())
    done = complete(PartialUV(chart, photo, partial.confidence, 2.0), fit, Run())
    hidden = chart.inside & (partial.confidence == 0) & (np.abs(lat) < 0.4)

    def greener(where):
        red, green = 0, 1
        ratio = shaven.rgb_linear[where] / done.rgb_linear[where]
        return np.median(np.log(ratio[:, red] / ratio[:, green]))

    seen_off = greener(stubble & (done.seen > 0.9))
    assert seen_off > 0.2
    behind = greener(hidden & (np.abs(lon) > 2.5))  # the light itself is found a little greener
    assert greener(hidden & (np.abs(lon) > 1.7) & (np.abs(lon) < 2.0)) - behind < 0.25 * seen_off


def test_a_stained_shadow_is_left_to_the_other_side_where_that_is_lit(scene):
    head, chart, _, _ = scene
    work = working_chart(chart)
    index = mirror_index(head, work.face_id, work.barycentric)
    lon = work.position_head[..., 0]
    trust = (work.inside & (work.normal_head[..., 2] > 0.2)).astype(np.float32)
    plain = np.ones_like(trust)
    skin = np.broadcast_to(eh.SKIN, (*trust.shape, 3)).astype(np.float32)

    def left_out(dark, stain=(1.4, 1.0, 0.7)):
        seen = np.where(dark[..., None], 0.04 * np.array(stain) * skin, skin).astype(np.float32)
        ratio = np.log(seen) - np.log(skin)
        return better_across(work, seen, ratio, trust, plain, index)

    right = (lon < -0.03) & (trust > 0)
    assert np.quantile(left_out(right)[right & (lon < -0.04)], 0.1) > 0.9
    assert left_out(right)[lon > 0].max() < 0.1
    assert left_out(right, stain=(1.0, 1.0, 1.0)).max() < 0.1  # homogenisation can do with that
    beard = (np.abs(lon) > 0.03) & (work.position_head[..., 1] < 0) & (trust > 0)
    assert left_out(beard)[beard].mean() < 0.05
    mole = np.linalg.norm(work.position_head - [-0.04, 0.02, 0.08], axis=-1) < 0.0015
    assert left_out(mole).max() < 0.1


def test_every_texel_is_filled_and_finite(scene):
    head, chart, light, lit = scene
    done = complete(eh.half_seen(chart, lit), eh.make_fit(head, light), Run())
    assert np.isfinite(done.rgb_linear).all()
    assert done.rgb_linear.min() > 0
    assert 0 <= done.seen.min() <= done.seen.max() <= 1


def test_a_photo_of_nothing_still_gives_skin_and_says_so(scene):
    head, chart, light, lit = scene
    nothing = PartialUV(chart, np.zeros_like(lit), np.zeros(chart.face_id.shape, np.float32), 1.0)
    run = Run()
    done = complete(nothing, eh.make_fit(head, light), run)
    assert np.isfinite(done.rgb_linear).all()
    assert run.warnings
    assert np.abs(done.rgb_linear - lit)[chart.inside].mean() < 0.05


def test_the_seed_decides_the_grain_and_nothing_else_does(scene):
    head, chart, light, lit = scene
    partial = eh.half_seen(chart, lit)
    fit = eh.make_fit(head, light)
    first = complete(partial, fit, Run(seed=4)).rgb_linear
    assert np.array_equal(first, complete(partial, fit, Run(seed=4)).rgb_linear)
    other = complete(partial, fit, Run(seed=5)).rgb_linear
    assert not np.array_equal(first, other)
    assert np.abs(first - other).max() < 0.1
