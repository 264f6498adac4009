"""The colour model against what is published of skin's absorption and of measured skin."""

import numpy as np
import pytest

from backend.colour import linear_to_lab
from backend.head.skin_tones import skin_of_lightness
from synthdata.skin import chromophores as c

MELANIN = np.geomspace(0.006, 0.4, 12)


def _lab(melanin, blood):
    return linear_to_lab(c.skin_linear(np.asarray(melanin), np.asarray(blood)))


@pytest.mark.parametrize("blood", [0.008, 0.015, 0.025])
def test_more_melanin_is_darker_and_lowers_the_typology_angle(blood):
    lab = _lab(MELANIN, blood)
    angle = np.degrees(np.arctan2(lab[:, 0] - 50, lab[:, 2]))
    assert (np.diff(lab[:, 0]) < -0.5).all()
    assert (np.diff(angle) < 0).all()
    assert angle[0] > 50
    assert angle[-1] < -50


@pytest.mark.parametrize("melanin", [0.01, 0.03, 0.08])
def test_more_blood_is_redder_and_darker(melanin):
    lab = _lab(melanin, np.geomspace(0.006, 0.06, 8))
    erythema = np.log(c.skin_linear(np.full(8, melanin), np.geomspace(0.006, 0.06, 8)))
    assert (np.diff(lab[:, 0]) < 0).all()
    assert (np.diff(erythema[:, 0] - erythema[:, 1]) > 0).all()  # the erythema index: red over green


def test_oxygenated_blood_has_its_two_bands_and_other_blood_one():
    at = {int(w): k for k, w in enumerate(c.WAVELENGTH_NM)}
    oxygenated, other = (c.reflectance(0.01, 0.03, s) for s in (1.0, 0.0))
    assert oxygenated[at[540]] < oxygenated[at[560]] > oxygenated[at[580]]  # the "W" of healthy skin
    assert other[at[540]] > other[at[550]] < other[at[570]]


@pytest.mark.parametrize("isosbestic_nm", [500, 530, 570])
def test_both_kinds_of_haemoglobin_absorb_alike_at_the_isosbestic_points(isosbestic_nm):
    k = int(np.flatnonzero(isosbestic_nm == c.WAVELENGTH_NM)[0])
    a, b = c.absorption_blood(1.0)[k], c.absorption_blood(0.0)[k]
    assert a == pytest.approx(b, rel=0.03)


def test_the_observer_sees_d65_where_it_is():
    xyz = c._observer().T @ c._D65
    assert xyz[:2] / xyz.sum() == pytest.approx([0.3127, 0.3290], abs=0.003)
    assert c.linear_of_spectrum(np.ones(31)) == pytest.approx([1, 1, 1])


def test_tones_follow_the_curve_of_measured_faces():
    lab = _lab(np.repeat(MELANIN, 2), np.tile([0.014, 0.022], 12))
    usual = linear_to_lab(skin_of_lightness(lab[:, 0]))
    assert np.abs(lab - usual)[:, 1:].max() < 6
    assert np.abs(lab - usual)[:, 1:].mean() < 2.5


def test_reflectance_is_light_skins_and_dark_skins():
    # Around the means of the palest and the darkest group of skin measured by spectrophotometers.
    light, dark = c.reflectance(0.012, 0.014), c.reflectance(0.30, 0.014)
    at = [int(np.flatnonzero(w == c.WAVELENGTH_NM)[0]) for w in (450, 550, 650)]
    assert light[at] == pytest.approx([0.28, 0.35, 0.60], abs=0.08)
    assert dark[at] == pytest.approx([0.03, 0.04, 0.10], abs=0.04)
    assert (np.diff(dark) > -1e-3).all()  # melanin's slope drowns the bands of blood


def test_reflectance_stays_within_nothing_and_all():
    m, b = np.meshgrid(np.geomspace(*c.MELANIN_RANGE, 30), np.geomspace(*c.BLOOD_RANGE, 30))
    all_of_them = c.reflectance(m, b)
    assert (all_of_them > 0).all()
    assert (all_of_them < 1).all()
    assert np.isfinite(c.colour_table()).all()
