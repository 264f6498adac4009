"""CIELAB, ITA and CIEDE2000 against published values, the groups and their gap."""

import numpy as np
import pytest

from backend.colour import srgb_to_linear
from backend.evaluation.skin_tone import (
    delta_e_2000,
    group_gap,
    ita_degrees,
    ita_group,
    lab_of_linear,
    mean_by_group,
)

# Sharma, Wu and Dalal 2005, table 1: L1 a1 b1, L2 a2 b2, ΔE00.
SHARMA = np.array(
    [
        (50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425),
        (50.0, 3.1571, -77.2803, 50.0, 0.0, -82.7485, 2.8615),
        (50.0, 2.8361, -74.02, 50.0, 0.0, -82.7485, 3.4412),
        (50.0, -1.3802, -84.2814, 50.0, 0.0, -82.7485, 1.0),
        (50.0, -1.1848, -84.8006, 50.0, 0.0, -82.7485, 1.0),
        (50.0, -0.9009, -85.5211, 50.0, 0.0, -82.7485, 1.0),
        (50.0, 0.0, 0.0, 50.0, -1.0, 2.0, 2.3669),
        (50.0, -1.0, 2.0, 50.0, 0.0, 0.0, 2.3669),
        (50.0, 2.49, -0.001, 50.0, -2.49, 0.0009, 7.1792),
        (50.0, 2.49, -0.001, 50.0, -2.49, 0.001, 7.1792),
        (50.0, 2.49, -0.001, 50.0, -2.49, 0.0011, 7.2195),
        (50.0, 2.49, -0.001, 50.0, -2.49, 0.0012, 7.2195),
        (50.0, -0.001, 2.49, 50.0, 0.0009, -2.49, 4.8045),
        (50.0, -0.001, 2.49, 50.0, 0.001, -2.49, 4.8045),
        (50.0, -0.001, 2.49, 50.0, 0.0011, -2.49, 4.7461),
        (50.0, 2.5, 0.0, 50.0, 0.0, -2.5, 4.3065),
        (50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492),
        (50.0, 2.5, 0.0, 61.0, -5.0, 29.0, 22.8977),
        (50.0, 2.5, 0.0, 56.0, -27.0, -3.0, 31.903),
        (50.0, 2.5, 0.0, 58.0, 24.0, 15.0, 19.4535),
        (50.0, 2.5, 0.0, 50.0, 3.1736, 0.5854, 1.0),
        (50.0, 2.5, 0.0, 50.0, 3.2972, 0.0, 1.0),
        (50.0, 2.5, 0.0, 50.0, 1.8634, 0.5757, 1.0),
        (50.0, 2.5, 0.0, 50.0, 3.2592, 0.335, 1.0),
        (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
        (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.263),
        (61.2901, 3.7196, -5.3901, 61.4292, 2.248, -4.962, 1.8731),
        (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
        (22.7233, 20.0904, -46.694, 23.0331, 14.973, -42.5619, 2.0373),
        (36.4612, 47.858, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
        (90.8027, -2.0831, 1.441, 91.1528, -1.6435, 0.0447, 1.4441),
        (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
        (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
        (2.0776, 0.0795, -1.135, 0.9033, -0.0636, -0.5514, 0.9082),
    ]
)


def test_delta_e_meets_the_published_pairs():
    found = delta_e_2000(SHARMA[:, :3], SHARMA[:, 3:6])
    assert np.abs(found - SHARMA[:, 6]).max() < 6e-5
    assert np.allclose(delta_e_2000(SHARMA[:, 3:6], SHARMA[:, :3]), found)


def test_lab_of_srgb_primaries_and_white():
    linear = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], float)
    expected = [
        [100, 0, 0],
        [53.24, 80.09, 67.20],
        [87.73, -86.18, 83.18],
        [32.30, 79.19, -107.86],
        [0, 0, 0],
    ]
    assert np.abs(lab_of_linear(linear) - expected).max() < 0.02


def test_lab_agrees_with_scikit_image_on_random_srgb():
    colour = pytest.importorskip("skimage.color")
    srgb = np.random.default_rng(0).random((200, 3))
    assert np.abs(lab_of_linear(srgb_to_linear(srgb)) - colour.rgb2lab(srgb)).max() < 0.02


def test_middle_grey_is_taken_as_linear_light():
    # L* of 18 % grey is 49.5; read as sRGB it would be 18.6.
    assert lab_of_linear(np.full(3, 0.18))[0] == pytest.approx(49.496, abs=0.01)


@pytest.mark.parametrize(
    ("lab", "angle", "group"),
    [
        ((70, 10, 10), 63.435, "very light"),
        ((65, 10, 15), 45.0, "light"),
        ((60, 10, 15), 33.690, "intermediate"),
        ((55, 10, 15), 18.435, "tan"),
        ((50, 10, 15), 0.0, "brown"),
        ((35, 10, 15), -45.0, "dark"),
    ],
)
def test_angle_and_its_group(lab, angle, group):
    assert ita_degrees(np.array(lab, float)) == pytest.approx(angle, abs=1e-3)
    assert ita_group(angle) == group


def test_a_limit_belongs_to_the_darker_group():
    groups = [ita_group(a) for a in (55.0, 41.0, 28.0, 10.0, -30.0)]
    assert groups == ["light", "intermediate", "tan", "brown", "dark"]


def test_gap_is_between_means_of_groups_not_between_cases():
    cases = [(60.0, 1.0), (58.0, 3.0), (-40.0, 6.0), (-50.0, 10.0), (20.0, 4.0)]
    means = mean_by_group(cases)
    assert means == {"very light": 2.0, "tan": 4.0, "dark": 8.0}
    assert list(means) == ["very light", "tan", "dark"]
    assert group_gap(means) == 6.0
    assert group_gap({"tan": 4.0}) is None
