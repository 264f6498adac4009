"""Means with honest intervals: bootstrap over subjects, and differences of what was measured in pairs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

ROUNDS = 20_000  # fewer leave the ends of a skewed sample uncertain by a twentieth of the width
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrapped 95 % interval; no ends (None) with fewer than 3 subjects."""

    mean: float
    low: float | None
    high: float | None
    count: int  # cases


@dataclass(frozen=True)
class Paired:
    """Differences b − a of the cases that both measured."""

    difference: Interval
    lower_in_b: int  # cases
    equal: int

    @property
    def is_certain(self) -> bool:
        """Whether the interval lies on one side of 0."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0)


def mean_interval(
    values: Sequence[float], subjects: Sequence[Hashable] | None = None, *, seed: int = 0
) -> Interval:
    """The mean of ``values`` with a bias-corrected, accelerated (BCa) bootstrap interval (Efron 1987).

    Photographs of one subject are not independent: whole subjects are drawn, ROUNDS times, when
    ``subjects`` names them (one per value). Everything random comes from ``seed``.
    Raises: ValueError when there is no value, or one is not finite.
    """
    x = np.asarray(values, np.float64)
    if len(x) == 0 or not np.isfinite(x).all():
        raise ValueError("an interval needs at least one value, all finite")
    sums, counts = _by_subject(x, subjects)
    mean, groups = float(x.mean()), len(sums)
    if groups < 3:
        return Interval(mean, None, None, len(x))
    leave_one_out = (sums.sum() - sums) / (counts.sum() - counts)
    if np.ptp(leave_one_out) <= 1e-12 * max(abs(mean), 1e-300):
        return Interval(mean, mean, mean, len(x))
    times = _draws(groups, seed)
    means = np.sort((times @ sums) / (times @ counts))
    low, high = _bca(means, mean, leave_one_out)
    return Interval(mean, low, high, len(x))


def paired_difference(
    a: Sequence[float], b: Sequence[float], subjects: Sequence[Hashable] | None = None, *, seed: int = 0
) -> Paired:
    """How ``b`` differs from ``a``, case by case (same order). Raises: ValueError as ``mean_interval``."""
    if len(a) != len(b):
        raise ValueError("pairs need two values for every case")
    difference = np.asarray(b, np.float64) - np.asarray(a, np.float64)
    return Paired(
        mean_interval([float(d) for d in difference], subjects, seed=seed),
        int((difference < 0).sum()),
        int((difference == 0).sum()),
    )


@lru_cache(maxsize=8)
def _draws(groups: int, seed: int) -> F64:
    """How often each of ``groups`` subjects is drawn, ``(ROUNDS, groups)``."""
    drawn = np.random.default_rng([seed, groups]).integers(groups, size=(ROUNDS, groups))
    flat = drawn + groups * np.arange(ROUNDS)[:, None]
    return np.bincount(flat.ravel(), minlength=ROUNDS * groups).reshape(ROUNDS, groups).astype(np.float64)


def _by_subject(x: F64, subjects: Sequence[Hashable] | None) -> tuple[F64, F64]:
    """Sum and number of the values of each subject."""
    if subjects is None:
        return x, np.ones(len(x))
    if len(subjects) != len(x):
        raise ValueError("subjects need one name for every value")
    names: dict[Hashable, int] = {}
    rows = np.array([names.setdefault(subject, len(names)) for subject in subjects])
    return np.bincount(rows, x).astype(np.float64), np.bincount(rows).astype(np.float64)


def _bca(ordered: F64, mean: float, leave_one_out: F64) -> tuple[float, float]:
    """The interval's ends from sorted bootstrap means and the jackknife's means."""
    from scipy.special import ndtr, ndtri

    # Ties count half, so that a coarse distribution is not called biased.
    below = (np.mean(ordered < mean) + np.mean(ordered <= mean)) / 2
    bias = float(ndtri(np.clip(below, 1 / len(ordered), 1 - 1 / len(ordered))))
    spread = leave_one_out.mean() - leave_one_out
    acceleration = float((spread**3).sum() / (6 * ((spread**2).sum()) ** 1.5))
    ends: list[float] = []
    for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z: Any = bias + ndtri(tail)
        at = ndtr(bias + z / (1 - acceleration * z))
        ends.append(float(np.quantile(ordered, float(at))))
    return ends[0], ends[1]
