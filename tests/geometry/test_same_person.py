"""Whether photographs show one person: rates on drawn people, order, doubt, skin tone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.geometry.same_person import Told, log_odds_same
from backend.geometry.tone import ToneBelief
from backend.head.skin_tones import skin_of_lightness

K = 30
SIGMA = 0.5  # of people


def told(rng: np.random.Generator, identity: np.ndarray, noise: float = 0.06) -> Told:
    """A photograph that shows some directions of ``identity`` well and others hardly."""
    direction = np.linalg.qr(rng.normal(size=(K, K)))[0]
    sigma = noise * np.exp(rng.uniform(0, 2, K))
    information = (direction / sigma**2) @ direction.T
    seen = identity + direction @ (sigma * rng.normal(size=K))
    return Told(information, information @ seen)


def tone(lightness: float, sigma_log: float = 0.3) -> ToneBelief:
    return ToneBelief(skin_of_lightness(np.array([lightness]))[0], sigma_log, 8.0, np.zeros(3), 2)


def test_odds_tell_one_person_from_two_however_far_all_lie_off_the_mean():
    rng = np.random.default_rng(1)
    for common in (0.0, 0.4):  # the network's bias, the same in every photograph
        same, other = [], []
        for _ in range(60):
            one, two = common + SIGMA * np.sqrt(0.5) * rng.normal(size=(2, K))
            first = told(rng, one)
            same.append(log_odds_same(first, told(rng, one)))
            other.append(log_odds_same(first, told(rng, two)))
        assert np.mean(np.array(same) > 0) > 0.9
        assert np.mean(np.array(other) < 0) > 0.9


def test_order_does_not_matter_and_doubt_weakens_the_verdict():
    rng = np.random.default_rng(2)
    one, two = SIGMA * rng.normal(size=(2, K))
    a, b = told(rng, one, 0.2), told(rng, two, 0.2)
    odds = log_odds_same(a, b)
    assert odds < -1
    np.testing.assert_allclose(log_odds_same(b, a), odds, atol=1e-9)
    doubted = replace(b, information=b.information / 30, vector=b.vector / 30)
    assert odds < log_odds_same(a, doubted)
    assert abs(log_odds_same(a, replace(b, information=b.information * 0, vector=b.vector * 0))) < 1e-6


def test_skin_tone_tells_people_apart_and_its_uncertainty_counts():
    rng = np.random.default_rng(3)
    one = SIGMA * rng.normal(size=K)
    a, b = told(rng, one, 0.3), told(rng, one, 0.3)
    shape = log_odds_same(a, b)
    assert log_odds_same(a, b, tone(65), tone(64)) > shape
    assert log_odds_same(a, b, tone(65), tone(30)) < shape - 2
    vague = log_odds_same(a, b, tone(65), tone(30, sigma_log=2.0))
    assert abs(vague - shape) < 0.5
    assert log_odds_same(a, b, tone(80, 0.01), tone(20, 0.01)) > shape - 5  # one wrong cue is not proof
