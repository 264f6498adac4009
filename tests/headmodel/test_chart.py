"""The skin's chart on surfaces of which the best map is known."""

from __future__ import annotations

import numpy as np
import pytest

from synthdata.headmodel.chart import half_chart, singular_values
from synthdata.headmodel.flatten import signed_areas, split_quads
from synthdata.headmodel.slim import minimise_stretch, rest_frames


def sheet(n: int):
    """A flat sheet of n × n quads, x in [0, 1], y in [−1, 1]."""
    x, y = np.meshgrid(np.linspace(0, 1, n + 1), np.linspace(-1, 1, n + 1))
    first = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    quads = np.stack([first, first + 1, first + n + 2, first + n + 1], 1).astype(np.int32)
    return np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1), quads


def test_a_flat_sheet_comes_back_without_stretch_from_a_crooked_start():
    v, quads = sheet(8)
    t = split_quads(quads)
    crooked = v[:, :2] * [1.6, 0.7] + 0.15 * v[:, 1::-1] ** 2
    assert (signed_areas(crooked, t) > 0).all()
    fixed = np.zeros(crooked.shape, bool)
    fixed[0] = True
    out = minimise_stretch(crooked, t, rest_frames(v[t]), np.ones(len(t)), fixed, 60)
    assert np.abs(singular_values(v, out, t) - 1).max() < 0.01
    assert np.abs(singular_values(v, crooked, t) - 1).max() > 0.2


def test_a_flipped_start_is_refused():
    v, quads = sheet(3)
    t = split_quads(quads)
    fixed = np.zeros((len(v), 2), bool)
    with pytest.raises(ValueError, match="flipped"):
        minimise_stretch(v[:, :2] * [-1, 1], t, rest_frames(v[t]), np.ones(len(t)), fixed, 5)


def test_the_half_chart_of_a_dome_with_a_mouth_keeps_its_axis_and_flips_nothing():
    v, quads = sheet(14)
    v = v * 0.1
    v[:, 2] = 0.05 - 4 * v[:, 0] ** 2 - 2 * v[:, 1] ** 2
    middle = v[quads].mean(1)
    mouth_hole = (middle[:, 0] < 0.015) & (np.abs(middle[:, 1]) < 0.02)
    quads = quads[~mouth_hole]
    used, quads = np.unique(quads, return_inverse=True)
    quads = quads.reshape(-1, 4).astype(np.int32)
    v = v[used]
    front = np.flatnonzero(v[:, 0] == 0)
    gap = v[front][np.abs(v[front, 1]) < 0.03]
    low, high = gap[gap[:, 1] < 0, 1].max(), gap[gap[:, 1] > 0, 1].min()
    near = (v[:, 0] < 0.02) & (v[:, 1] >= low - 1e-9) & (v[:, 1] <= high + 1e-9)
    rim = np.flatnonzero(near)
    rim = rim[np.argsort(np.arctan2(v[rim, 1], v[rim, 0] + 1e-6))]
    uv = half_chart(v, quads, front, rim, np.zeros(len(v), bool), 20)
    assert (signed_areas(uv, split_quads(quads)) > 0).all()
    np.testing.assert_allclose(uv[front, 0], 0.5)
    assert (uv >= 0).all()
    assert (uv <= 1).all()
    assert np.ptp(uv[:, 1]) > 0.98  # from the square's bottom to its top
