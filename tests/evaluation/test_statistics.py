"""Intervals against scipy's own bootstrap, and what a seed promises."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from backend.evaluation.statistics import mean_interval, paired_difference


@pytest.mark.parametrize("shape", [0.7, 5.0])
def test_the_interval_is_scipys_bca(shape: float) -> None:
    values = np.random.default_rng(0).gamma(shape, size=25)  # skewed: not the plain percentiles
    found = mean_interval(list(values))
    expected = stats.bootstrap((values,), np.mean, n_resamples=20000, method="BCa", random_state=1)
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.04 * width)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.04 * width)
    assert found.mean == pytest.approx(values.mean())
    plain = np.quantile(np.random.default_rng(2).choice(values, (20000, 25)).mean(1), [0.025, 0.975])
    assert found.high > plain[1]  # towards the long tail


def test_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        found = mean_interval(list(rng.normal(1.0, 2.0, size=40)))
        inside += found.low <= 1.0 <= found.high
    assert 0.90 <= inside / 200 <= 0.99


def test_photographs_of_one_head_are_not_independent() -> None:
    """Twelve heads five times each: the heads' spread counts, not that of sixty cases."""
    rng = np.random.default_rng(4)
    heads = rng.normal(size=12)
    values = np.repeat(heads, 5) + 0.01 * rng.normal(size=60)
    subjects = [f"head {i // 5}" for i in range(60)]
    clustered, naive = mean_interval(list(values), subjects), mean_interval(list(values))
    alone = mean_interval(list(values.reshape(12, 5).mean(1)))
    assert clustered.high - clustered.low == pytest.approx(alone.high - alone.low, rel=0.05)
    assert clustered.high - clustered.low > 1.7 * (naive.high - naive.low)
    assert clustered.count == 60


def test_unequal_numbers_of_photographs_keep_the_mean_over_cases() -> None:
    found = mean_interval([1.0, 1.0, 1.0, 5.0, 2.0], ["a", "a", "a", "b", "c"])
    assert found.mean == pytest.approx(2.0)
    assert found.low < 2.0 < found.high


def test_the_same_seed_gives_the_same_interval() -> None:
    values = list(np.random.default_rng(5).normal(size=20))
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_few_or_equal_values() -> None:
    assert mean_interval([3.0]) == mean_interval([3.0, 3.0], ["a", "a"]).__class__(3.0, None, None, 1)
    assert (mean_interval([1.0, 2.0]).low, mean_interval([1.0, 2.0]).high) == (None, None)
    same = mean_interval([2.0, 2.0, 2.0, 2.0])
    assert (same.low, same.high) == (2.0, 2.0)
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1.0, float("nan")])
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


def test_pairs_see_what_means_hide() -> None:
    """A gain of 0.1 in every case, under a spread of 1 between the cases."""
    rng = np.random.default_rng(6)
    a = rng.normal(size=30)
    b = a - 0.1 + 0.02 * rng.normal(size=30)
    pair = paired_difference(list(a), list(b))
    assert pair.is_certain
    assert pair.difference.mean == pytest.approx(-0.1, abs=0.02)
    assert pair.lower_in_b == 30
    apart = mean_interval(list(a)), mean_interval(list(b))
    assert apart[0].low < apart[1].high  # the separate intervals overlap


def test_noise_is_not_called_a_difference() -> None:
    a = np.random.default_rng(7).normal(size=40)
    pair = paired_difference(list(a), list(np.random.default_rng(8).permutation(a)))
    assert not pair.is_certain
    with pytest.raises(ValueError, match="two values"):
        paired_difference([1.0], [1.0, 2.0])
