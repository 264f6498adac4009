"""Skins drawn at random: what goes together in people goes together in them."""

import dataclasses

import numpy as np
import pytest

from backend.colour import linear_to_lab
from synthdata.skin.chromophores import skin_linear
from synthdata.skin.parameters import DARKEST, LIGHTEST, OLDEST, YOUNGEST, MakeUp, sample_parameters

COUNT = 1500


@pytest.fixture(scope="module")
def people():
    return [sample_parameters(seed) for seed in range(COUNT)]


def _all(people, name):
    return np.array([getattr(p, name) for p in people], float)


def test_the_same_seed_is_the_same_person(people):
    assert sample_parameters(7) == people[7]
    assert len({dataclasses.astuple(p) for p in people[:100]}) == 100


def test_parameters_stay_in_their_ranges(people):
    for p in people:
        assert YOUNGEST <= p.age_years <= OLDEST
        assert LIGHTEST <= p.melanin <= DARKEST
        for name in ("redness", "freckles", "wrinkles", "pores", "oil", "sweat", "stubble", "dark_circles"):
            assert 0 <= getattr(p, name) <= 1, name


def test_tones_cover_all_classes_of_the_typology_angle(people):
    lab = linear_to_lab(skin_linear(_all(people, "melanin"), _all(people, "blood")))
    angle = np.degrees(np.arctan2(lab[:, 0] - 50, lab[:, 2]))
    share, _ = np.histogram(angle, [-90, -30, 10, 28, 41, 55, 90])  # dark, brown, tan … very light
    assert (share > 0.04 * COUNT).all()
    assert angle.max() < 68
    assert angle.min() > -78


def test_age_makes_wrinkles_grey_hair_and_spots(people):
    age = _all(people, "age_years")
    assert np.corrcoef(age, _all(people, "wrinkles"))[0, 1] > 0.8
    assert _all(people, "age_spots")[age < 35].mean() < 0.02
    assert _all(people, "blemishes")[age < 22].mean() > 2 * _all(people, "blemishes")[age > 45].mean()
    lightest = np.array([min(p.hair) for p in people])
    assert np.median(lightest[age > 72]) > 5 * np.median(lightest[age < 30])


def test_dark_skin_wrinkles_later_and_freckles_less(people):
    age, melanin = _all(people, "age_years"), _all(people, "melanin")
    light, dark = melanin < np.quantile(melanin, 0.25), melanin > np.quantile(melanin, 0.75)
    middle = (age > 40) & (age < 70)
    assert _all(people, "wrinkles")[dark & middle].mean() < _all(people, "wrinkles")[light & middle].mean()
    assert _all(people, "freckles")[dark].mean() < 0.4 * _all(people, "freckles")[light].mean()


def test_beards_are_mens_and_make_up_mostly_womens(people):
    worn = np.array([p.make_up != MakeUp() for p in people])
    male = _all(people, "is_male") > 0
    assert (_all(people, "stubble")[~male] == 0).all()
    assert (_all(people, "stubble")[male] > 0).mean() == pytest.approx(0.65, abs=0.06)
    assert worn[~male].mean() > 10 * worn[male].mean()
