"""Grain: the spread of seen skin, carried on into octaves that neither the grid nor the photo shows."""

from __future__ import annotations

import numpy as np
import pytest

from backend.texture.grain import _MAX_SIGMA, WAVELENGTHS_M, Sample, measure
from backend.texture.noise import skin_noise

SIDE, TEXEL_M = 256, 0.0003


def sample_of(sigma_of_octave: dict[int, float], least_texels: float = 2.5) -> Sample:
    """A flat patch of skin whose log brightness has noise of known spread in some octaves."""
    line = (np.arange(SIDE) + 0.5) * TEXEL_M
    position = np.stack([*np.meshgrid(line, line), np.full((SIDE, SIDE), 0.0837)], -1).astype(np.float32)
    inside = np.ones((SIDE, SIDE), bool)
    bright = np.zeros((SIDE, SIDE), np.float32)
    for octave, sigma in sigma_of_octave.items():
        one = skin_noise(position, inside, (WAVELENGTHS_M[octave],), (1.0,), 99)
        bright += sigma / one.std() * one
    return Sample(position, inside, bright, inside.astype(np.float32), TEXEL_M, least_texels)


def test_noise_gets_the_spread_of_the_skin_that_is_seen():
    low, high = (measure([sample_of({3: s})], 2e-4, 1e-4, 1).amplitudes[3] for s in (0.002, 0.004))
    assert high == pytest.approx(2 * low, rel=0.05)
    unit = skin_noise(
        sample_of({}).position_head, np.ones((SIDE, SIDE), bool), (WAVELENGTHS_M[3],), (1.0,), 7
    )
    assert high * unit.std() == pytest.approx(0.004, rel=0.3)


def test_hair_and_stubble_do_not_become_grain():
    wild = measure([sample_of({3: 0.2})], 2e-4, 1e-4, 1).amplitudes[3]
    tame = measure([sample_of({3: 0.5})], 2e-4, 1e-4, 1).amplitudes[3]
    assert wild == pytest.approx(tame)
    assert wild < 20 * _MAX_SIGMA[3]


def test_octaves_follow_the_map_and_the_photos_pixels():
    sample = [sample_of({3: 0.004, 4: 0.004})]
    fine, coarse = measure(sample, 0.0001, 0.0001, 1), measure(sample, 0.0007, 0.0001, 1)
    assert fine.wavelengths_m[-1] < coarse.wavelengths_m[-1]
    assert min(coarse.wavelengths_m) >= 2.5 * 0.0007
    assert max(fine.lost) == 0  # four pixels to the finest wavelength: all of it is in the photo
    blurred = measure(sample, 0.00005, 0.00025, 1)
    assert 0 < blurred.lost[4] < 1  # three pixels
    assert blurred.lost[5] == 1  # one and a half
    assert max(measure(sample, 0.0001, 0.002, 1).lost[:4]) == 0  # wider than pores
    assert max(measure(sample, 0.0001, 0.0002, 1).lost) == 0  # two texels to a pixel: as good as the photo
    # What the photo does not show is not taken for smooth: it follows from what it does.
    assert blurred.amplitudes[5] == pytest.approx(0.7 * blurred.amplitudes[4])


def test_finer_octaves_are_looked_for_close_up():
    far = sample_of({3: 0.001}, least_texels=9.0)  # too coarse for octaves below 2.7 mm
    near = sample_of({3: 0.006})
    alone, both = measure([far], 1e-4, 1e-4, 1), measure([far, near], 1e-4, 1e-4, 1)
    assert both.amplitudes[:3] == alone.amplitudes[:3]
    assert both.amplitudes[3] == measure([near], 1e-4, 1e-4, 1).amplitudes[3]
