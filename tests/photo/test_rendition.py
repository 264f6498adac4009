"""Night, burnt-out, black-and-white, toned and strongly coloured photographs: named, and made usable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from backend.artifacts import Observation, Photo, Run
from backend.colour import linear_to_srgb, srgb_to_linear
from backend.photo.rendition import hue_from_skin, is_monochrome, made_usable


def lit(photo: Photo, gain: tuple[float, float, float]) -> Photo:
    linear = srgb_to_linear(photo.rgb_srgb) * np.float32(gain)
    return replace(photo, rgb_srgb=linear_to_srgb(np.minimum(linear, 1.0)).astype(np.float32))


def toned(photo: Photo, tone: tuple[float, float, float]) -> Photo:
    grey = photo.rgb_srgb @ np.float32([0.3, 0.59, 0.11])
    levels = np.round(255 * np.clip(grey[..., None] * np.float32(tone), 0, 1)) / 255
    return replace(photo, rgb_srgb=levels.astype(np.float32))


def two_colours(photo: Photo) -> Photo:
    across = np.linspace(0, 1, photo.width, dtype=np.float32)[None, :, None]
    gain = (1 - across) * np.float32([1.4, 0.15, 0.5]) + across * np.float32([0.1, 0.4, 1.6])
    linear = srgb_to_linear(photo.rgb_srgb) * gain
    return replace(photo, rgb_srgb=linear_to_srgb(np.minimum(linear, 1.0)).astype(np.float32))


def skin_colours(photo: Photo, skin: np.ndarray) -> np.ndarray:
    return srgb_to_linear(photo.rgb_srgb[skin > 0.9])


def test_a_usual_photograph_stays_as_it_is(astronaut: Photo, astronaut_seen: Observation) -> None:
    run = Run()
    for photo in (astronaut, lit(astronaut, (1.0, 0.85, 0.65)), lit(astronaut, (0.4, 0.4, 0.4))):
        again, skin = made_usable(photo, astronaut_seen.skin_mask, run)
        assert again is photo
        assert skin is astronaut_seen.skin_mask
    assert run.warnings == []


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda p: toned(p, (1.0, 1.0, 1.0)), "black and white or toned"),
        (lambda p: toned(p, (1.05, 0.93, 0.75)), "black and white or toned"),
        (lambda p: lit(p, (1.3, 0.06, 0.05)), "strong colours"),
        (lambda p: lit(p, (0.08, 0.15, 1.6)), "strong colours"),
        (two_colours, "strong colours"),
    ],
)
def test_where_hue_says_nothing_the_skin_gets_a_skins_hue(
    astronaut: Photo, astronaut_seen: Observation, spoil: Callable[[Photo], Photo], line: str
) -> None:
    spoilt, run = spoil(astronaut), Run()
    usable, skin = made_usable(spoilt, astronaut_seen.skin_mask, run)
    assert len(run.warnings) == 1
    assert line in run.warnings[0]
    colours = skin_colours(usable, skin)
    assert hue_from_skin(colours) < 0.5
    # What is bright stays bright: the same shading, without the colour.
    before = np.log(skin_colours(spoilt, skin).sum(1) + 1e-3)
    assert np.corrcoef(before, np.log(colours.sum(1) + 1e-3))[0, 1] > 0.98
    backdrop = usable.rgb_srgb[astronaut_seen.skin_mask == 0]
    assert float(np.ptp(backdrop, axis=-1).max()) < 1e-3  # grey: eyes' whites stay white


def test_only_pictures_without_hues_of_their_own_are_monochrome(astronaut: Photo) -> None:
    face = slice(40, 200), slice(150, 300)
    assert is_monochrome(toned(astronaut, (1, 1, 1)).rgb_srgb[face])
    assert is_monochrome(toned(astronaut, (1.05, 0.93, 0.75)).rgb_srgb[face])
    assert not is_monochrome(astronaut.rgb_srgb[face])
    assert not is_monochrome(lit(astronaut, (1.0, 0.8, 0.5)).rgb_srgb[face])


def test_night_is_brightened(astronaut: Photo, astronaut_seen: Observation) -> None:
    dark = lit(astronaut, (0.01, 0.01, 0.01))
    noise = np.random.default_rng(0).normal(0, 0.02, dark.rgb_srgb.shape)
    dark = replace(dark, rgb_srgb=np.clip(dark.rgb_srgb + noise, 0, 1).astype(np.float32))
    run = Run()
    usable, skin = made_usable(dark, astronaut_seen.skin_mask, run)
    assert any("almost black" in line for line in run.warnings)
    assert 0.05 < float(np.median(skin_colours(usable, skin))) < 0.4
    truth, found = astronaut.rgb_srgb[skin > 0.9].mean(1), usable.rgb_srgb[skin > 0.9].mean(1)
    assert np.corrcoef(truth, found)[0, 1] > np.corrcoef(truth, dark.rgb_srgb[skin > 0.9].mean(1))[0, 1]


def test_burnt_out_pixels_are_no_skin(astronaut: Photo, astronaut_seen: Observation) -> None:
    run = Run()
    burnt = lit(astronaut, (6.0, 6.0, 6.0))
    usable, skin = made_usable(burnt, astronaut_seen.skin_mask, run)
    assert any("burnt out" in line for line in run.warnings)
    assert skin[burnt.rgb_srgb.min(-1) >= 0.99].max() == 0
    assert hue_from_skin(skin_colours(usable, skin)) < 0.5  # its red channel is full: no hue of its own
