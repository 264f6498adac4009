"""Skin-like detail for places that the photo does not show, measured on the skin that it does show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.texture.grid import WorkingChart, blur
from backend.texture.noise import skin_noise

WAVELENGTHS_M = (0.012, 0.006, 0.003, 0.0015, 0.00075)
# Of log luminance, per octave: above this it is shading, stubble or noise, not skin.
_MAX_SIGMA = (0.006, 0.008, 0.010, 0.010, 0.008)
_DEFAULT_SIGMA = (0.006, 0.008, 0.010, 0.010, 0.008)
_FINER = 0.7  # an octave finer than the working grid, relative to the one before


@dataclass(frozen=True)
class Grain:
    """Amplitudes of log-luminance noise per octave, ready for ``noise.skin_noise``."""

    wavelengths_m: tuple[float, ...]
    amplitudes: tuple[float, ...]


def measure(
    chart: WorkingChart, log_brightness: F32, weight: F32, texel_m: float, map_texel_m: float, seed: int
) -> Grain:
    """Octave amplitudes that give noise the spread of ``log_brightness`` ``(W, W)`` under ``weight``.

    ``texel_m`` and ``map_texel_m`` are the texel's sides of the working grid and of the map; octaves that
    the map cannot hold are left out.
    """
    wavelengths, amplitudes = [], []
    last = None
    sample = weight > 0.8
    for octave, wavelength in enumerate(WAVELENGTHS_M):
        if wavelength < 2.5 * map_texel_m:
            break
        unit = skin_noise(chart.position_head, chart.inside, (wavelength,), (1.0,), seed + octave)
        on_grid = wavelength >= 2.5 * texel_m
        if on_grid and sample.sum() > 400:
            seen = _spread(_band(log_brightness, wavelength / texel_m, weight), sample)
            ours = _spread(_band(unit, wavelength / texel_m, chart.inside.astype(np.float32)), chart.inside)
            sigma = min(seen, _MAX_SIGMA[octave])
            last = sigma / max(ours, 1e-6)
        elif last is not None:
            last *= _FINER
        else:
            last = _DEFAULT_SIGMA[octave] / 0.25
        wavelengths.append(wavelength)
        amplitudes.append(float(last))
    return Grain(tuple(wavelengths), tuple(amplitudes))


def _band(image: F32, wavelength: float, weight: F32) -> F32:
    fine = blur(image, wavelength / 7, weight)
    return fine - blur(image, wavelength / 3, weight)


def _spread(band: F32, sample: NDArray[np.bool_]) -> float:
    """Robust standard deviation (median absolute deviation)."""
    values = band[sample]
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
