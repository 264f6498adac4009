"""Skin-like detail for what the photo does not show, measured on the skin that it does show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps
from backend.texture.grid import WorkingChart, blur, log_luminance
from backend.texture.noise import skin_noise

WAVELENGTHS_M = (0.012, 0.006, 0.003, 0.0015, 0.00075, 0.000375)
# Of log luminance, per octave: above this it is shading, stubble or noise, not skin.
_MAX_SIGMA = (0.006, 0.008, 0.010, 0.010, 0.012, 0.010)
_DEFAULT_SIGMA = (0.006, 0.008, 0.010, 0.010, 0.008, 0.006)
_FINER = 0.7  # an octave finer than the last that could be measured, relative to the one before
_LOST, _HELD = 2.0, 4.0  # photo pixels to a wavelength: the photo shows none of the octave, all of it
_WIDEST_LOST_M = 0.001  # pores: what is wider is the photo's alone to tell, made up it costs likeness
_ENLARGED = (2.0, 4.0)  # map texels to a photo pixel between which what the photo lacks begins to be missed
_LEAST_TEXELS = 2.5  # to a wavelength that a grid can hold
_CLOSE_UP_TEXELS = 6.0  # to one that is measured on the map's own grid
_CLOSE_UP = 512  # map texels a side that are looked at there


@dataclass(frozen=True)
class Grain:
    """Amplitudes of log-luminance noise per octave, ready for ``noise.skin_noise``."""

    wavelengths_m: tuple[float, ...]
    amplitudes: tuple[float, ...]
    lost: tuple[
        float, ...
    ]  # which part of each octave, of pores' width or finer, no photo pixel shows: [0, 1]


@dataclass(frozen=True)
class Sample:
    """A piece of chart, ``R×C`` texels, on which octaves are measured."""

    position_head: F32  # (R, C, 3) metres
    inside: NDArray[np.bool_]
    log_brightness: F32  # (R, C)
    weight: F32  # (R, C) in [0, 1]: seen plain skin
    texel_m: float
    least_texels: float = _LEAST_TEXELS  # to a wavelength that is measured here


def measure(samples: Sequence[Sample], map_texel_m: float, pixel_m: float, seed: int) -> Grain:
    """Octave amplitudes that give noise the spread of the samples' log brightness.

    Each octave is measured on the first sample that holds it. Those that no sample or the photo holds, whose
    pixel is ``pixel_m`` wide on the skin, follow from the one before; those that the map cannot hold, whose
    texel is ``map_texel_m`` wide, are left out. Nothing counts as lost where a texel is about a pixel.
    """
    enlarged = _ramp(pixel_m / map_texel_m, *_ENLARGED)
    wavelengths, amplitudes, lost = [], [], []
    last = None
    for octave, wavelength in enumerate(WAVELENGTHS_M):
        if wavelength < _LEAST_TEXELS * map_texel_m:
            break
        share = enlarged * (1 - _ramp(wavelength / pixel_m, _LOST, _HELD))
        share = share if wavelength <= _WIDEST_LOST_M else 0.0
        sample = next((s for s in samples if wavelength >= s.least_texels * s.texel_m), None)
        if sample is not None and share < 0.5 and (sample.weight > 0.8).sum() > 400:
            last = _amplitude(sample, octave, seed)
        elif last is not None:
            last *= _FINER
        else:
            last = _DEFAULT_SIGMA[octave] / 0.25
        wavelengths.append(wavelength)
        amplitudes.append(float(last))
        lost.append(share)
    return Grain(tuple(wavelengths), tuple(amplitudes), tuple(lost))


def close_up(chart: ChartMaps, work: WorkingChart, rgb_linear: F32, weight: F32, texel_m: float) -> Sample:
    """The piece of the map ``rgb_linear`` ``(S, S, 3)`` that shows most of ``weight`` ``(W, W)``.

    ``texel_m`` is the map texel's side.
    """
    import cv2

    side = max(1, min(_CLOSE_UP // work.factor, work.size))
    around = cv2.boxFilter(
        weight, -1, (side, side), anchor=(0, 0), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    around = around[: work.size - side + 1, : work.size - side + 1]
    row, column = np.unravel_index(int(np.argmax(around)), around.shape)
    f = work.factor
    part = np.s_[row * f : (row + side) * f, column * f : (column + side) * f]
    near = weight[row : row + side, column : column + side].repeat(f, 0).repeat(f, 1)
    return Sample(
        np.ascontiguousarray(chart.position_head[part]),
        np.ascontiguousarray(chart.inside[part]),
        log_luminance(rgb_linear[part]),
        near,
        texel_m,
        _CLOSE_UP_TEXELS,
    )


def _ramp(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _amplitude(sample: Sample, octave: int, seed: int) -> float:
    wavelength = WAVELENGTHS_M[octave]
    texels = wavelength / sample.texel_m
    unit = skin_noise(sample.position_head, sample.inside, (wavelength,), (1.0,), seed + octave)
    seen = _spread(_band(sample.log_brightness, texels, sample.weight), sample.weight > 0.8)
    ours = _spread(_band(unit, texels, sample.inside.astype(np.float32)), sample.inside)
    return min(seen, _MAX_SIGMA[octave]) / max(ours, 1e-6)


def _band(image: F32, wavelength: float, weight: F32) -> F32:
    fine = blur(image, wavelength / 7, weight)
    return fine - blur(image, wavelength / 3, weight)


def _spread(band: F32, sample: NDArray[np.bool_]) -> float:
    """Robust standard deviation (median absolute deviation)."""
    values = band[sample]
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
