"""Absolute skin tone from what the eyes, the hue and the exposure tell, against faces of known albedo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.geometry.tone import believe_tone, skin_of_lightness
from backend.photo.eye_whites import EyeWhite

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
GREY = np.ones(3)


def face(lightness, light=GREY, lids=0.75, gloss=0.04, opening=1.0):
    """Both eyes and 200 pixels of a face of ``lightness``: sclera × lids, and skin with its gloss."""
    albedo = skin_of_lightness(np.array([float(lightness)]))[0]
    skin = light * (albedo + gloss)
    eye = EyeWhite(light * lids * np.array([0.72, 0.68, 0.64]), skin, opening, 2.4, None)
    pixels = skin * np.linspace(0.5, 1.3, 200)[:, None]
    return albedo, (eye, eye), pixels


@pytest.mark.parametrize("lightness", [28, 40, 52, 62, 70])
@pytest.mark.parametrize("strength", [0.8, 1.6])
def test_skin_is_told_by_the_white_beside_it_however_the_photo_is_exposed(lightness, strength):
    albedo, eyes, pixels = face(lightness, strength * GREY)
    found = believe_tone(eyes, pixels)
    assert found.eyes == 2
    assert found.colour_linear @ LUMINANCE == pytest.approx(albedo @ LUMINANCE, rel=0.32)


def test_dark_skin_in_strong_light_is_not_light_skin_in_weak_light():
    dark, light = face(30, 3.0 * GREY), face(70, 0.55 * GREY)
    seen = [pixels.mean(0) @ LUMINANCE for _, _, pixels in (dark, light)]
    assert seen[0] == pytest.approx(seen[1], rel=0.6)  # the photo shows them nearly alike
    found = [believe_tone(eyes, pixels).colour_linear @ LUMINANCE for _, eyes, pixels in (dark, light)]
    assert found[1] > 4 * found[0]


def test_a_squint_shades_the_white_and_does_not_make_the_skin_light():
    albedo, eyes, pixels = face(40, lids=0.35, opening=0.65)
    wide = [replace(eye, opening=1.0) for eye in eyes]
    told, misled = (believe_tone(e, pixels).colour_linear @ LUMINANCE for e in (eyes, wide))
    assert told == pytest.approx(albedo @ LUMINANCE, rel=0.25)
    assert misled > 1.2 * told


def test_light_from_above_shades_the_white_below_the_brow_and_does_not_make_the_skin_light():
    albedo, eyes, pixels = face(45, lids=0.5)  # the brow takes a third of the white's light
    blackest_lids, black_lids, dark_lids, usual_lids, bright_lids = (
        believe_tone([replace(eye, lid=lid) for eye in eyes], pixels).colour_linear @ LUMINANCE
        for lid in (0.01, 0.15, 0.23, 0.46, 0.9)
    )
    truth = albedo @ LUMINANCE
    assert abs(np.log(dark_lids / truth)) < abs(np.log(usual_lids / truth))
    assert dark_lids < usual_lids < bright_lids
    assert blackest_lids == black_lids  # no shadow is so deep: they are painted


def test_a_shadow_over_one_eye_is_not_dark_skin():
    albedo, (eye, _), pixels = face(62)
    # The nose shades the skin below one eye, and not its white, which lies higher.
    shaded = replace(eye, skin=0.3 * eye.skin)
    found = believe_tone((eye, shaded), pixels).colour_linear @ LUMINANCE
    assert found == pytest.approx(albedo @ LUMINANCE, rel=0.15)


def test_the_far_eye_of_a_turned_face_shows_lids_and_is_not_asked():
    _, (eye, _), pixels = face(40)
    far = replace(eye, white=0.5 * eye.white, width=0.7 * eye.width)
    near = believe_tone((far, eye), pixels).colour_linear
    assert near == pytest.approx(believe_tone((eye, eye), pixels).colour_linear, rel=0.05)


def test_the_colour_of_the_light_is_partly_seen_in_the_eyes():
    warm = np.array([1.25, 1.0, 0.75])
    _, eyes, pixels = face(60, warm)
    told = believe_tone(eyes, pixels).light_log
    assert told[0] > 0.03
    assert told[2] < -0.03
    assert np.abs(told).max() < np.abs(np.log(warm)).max()  # the camera has taken out most of it already
    assert told.sum() == pytest.approx(0, abs=1e-12)


def test_whites_are_a_little_redder_than_they_are_and_do_not_make_the_light_red():
    _, eyes, pixels = face(60)
    reddened = [replace(eye, white=eye.white * np.exp([0.05, 0.0, -0.05])) for eye in eyes]
    assert np.abs(believe_tone(reddened, pixels).light_log).max() < 0.005
    assert believe_tone(eyes, pixels).light_log[2] > 0.01  # whites as white as that need bluish light


def test_an_outline_that_shows_lids_is_no_white_and_leaves_the_belief_wide():
    _, eyes, pixels = face(60)
    lids = [replace(eye, white=eye.skin * 0.8) for eye in eyes]
    unseen, seen = believe_tone(lids, pixels), believe_tone(eyes, pixels)
    assert unseen.eyes == 0
    assert unseen.sigma_lightness > 1.3 * seen.sigma_lightness
    assert believe_tone((), pixels).colour_linear == pytest.approx(unseen.colour_linear)


def test_hue_tells_brown_from_pale_where_no_eye_is_seen():
    found = [believe_tone((), face(at)[2]).colour_linear @ LUMINANCE for at in (45, 70)]
    assert found[0] < found[1]


def test_without_anything_seen_the_belief_is_the_middle_of_all_tones():
    found = believe_tone((), np.zeros((0, 3)))
    assert found.sigma_lightness > 12
    assert 0.1 < found.colour_linear @ LUMINANCE < 0.25


def test_average_skin_is_skin_at_every_lightness():
    lightness = np.linspace(15, 82, 50)
    colours = skin_of_lightness(lightness)
    assert (np.diff(colours @ LUMINANCE) > 0).all()
    assert (colours[:, 0] > colours[:, 1]).all()
    assert (colours[:, 1] > colours[:, 2]).all()
    assert colours @ LUMINANCE == pytest.approx(((lightness + 16) / 116) ** 3, rel=5e-3)
