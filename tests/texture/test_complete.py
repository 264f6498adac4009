"""Completion against a head whose skin and light are known everywhere."""

from __future__ import annotations

import ellipsoid_head as eh
import numpy as np
import pytest

from backend.artifacts import PartialUV, Run
from backend.texture.complete import complete

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
