"""Keyframes made calm: noise goes, motion stays where and as large as it was, gaps are held."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from backend.drive.smoothing import (
    EASE_S,
    WEIGHTS,
    calmed,
    calmed_rotations,
    held,
    held_rotations,
    rotation_log,
)
from backend.geometry.state import rotation_exp

TIMES = np.arange(120) / 30


def test_stillness_loses_its_noise() -> None:
    rng = np.random.default_rng(0)
    noisy = 0.4 + 0.02 * rng.normal(size=(120, 8))
    calm = calmed(noisy, TIMES, WEIGHTS)
    assert calm.std() < 0.6 * noisy.std()
    assert abs(calm.mean() - 0.4) < 0.005


def test_a_blink_keeps_its_height_and_its_moment() -> None:
    """A closing in a tenth of a second and an opening in two: no lag, hardly lower."""
    blink = np.clip(1 - np.abs(TIMES - 2.0) / 0.12, 0, 1)[:, None]
    calm = calmed(blink, TIMES, WEIGHTS)
    assert calm.max() > 0.75
    centre = (calm[:, 0] * TIMES).sum() / calm.sum()
    assert abs(centre - 2.0) < 1 / 60


def test_slow_motion_is_not_delayed() -> None:
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * 0.5 * TIMES)[:, None]
    inner = slice(20, 100)
    shifts = range(-4, 5)
    calm = calmed(wave, TIMES, WEIGHTS)
    errors = [np.abs(np.roll(calm, -k, 0)[inner] - wave[inner]).mean() for k in shifts]
    assert shifts[int(np.argmin(errors))] == 0
    assert min(errors) < 0.02


def test_gaps_hold_the_last_value_and_ease_into_the_next() -> None:
    values = np.linspace(0, 1, 120)[:, None]
    seen = np.ones(120, bool)
    seen[:5] = seen[40:80] = seen[110:] = False
    out = held(values, seen, TIMES)
    assert (out[:5] == values[5]).all()
    assert (out[110:] == values[109]).all()
    still = TIMES[40:80] < TIMES[80] - EASE_S
    assert (out[40:80][still] == values[39]).all()
    assert (np.diff(out[:, 0]) >= 0).all()
    assert np.abs(np.diff(out[:, 0])).max() < 0.15
    assert np.array_equal(out[seen], values[seen])


def test_rotations_are_smoothed_as_rotations() -> None:
    rng = np.random.default_rng(3)
    truth = Rotation.from_euler("YX", np.stack([0.6 * np.sin(TIMES), 0.3 * np.cos(TIMES)], 1))
    noisy = (Rotation.from_rotvec(0.01 * rng.normal(size=(120, 3))) * truth).as_matrix()
    calm = calmed_rotations(noisy, TIMES)
    np.testing.assert_allclose(
        calm @ np.swapaxes(calm, 1, 2), np.broadcast_to(np.eye(3), calm.shape), atol=1e-9
    )

    def off(rotations) -> float:
        return float((Rotation.from_matrix(rotations) * truth.inv()).magnitude().mean())

    assert off(calm) < 0.75 * off(noisy)
    seen = np.ones(120, bool)
    seen[50:60] = False
    assert np.allclose(held_rotations(noisy, seen, TIMES)[51], noisy[49], atol=1e-9)


def test_the_logarithm_undoes_the_exponential() -> None:
    vector = np.array([0.3, -0.7, 1.1])
    np.testing.assert_allclose(rotation_log(rotation_exp(vector)), vector, atol=1e-12)
