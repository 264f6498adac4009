"""Skin albedo: measured tones over region maps, with details of CC0 skins, as mean and modes.

A tone is a lightness L* with the a*, b* that faces of that lightness have; blood and melanin change it
from place to place as factors exp(−content·absorption) per channel of linear light.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.colour import RGB_TO_XYZ
from backend.head.skin_tones import skin_of_lightness

F64 = NDArray[np.float64]

MELANIN = np.array([0.55, 0.80, 1.00])
BLOOD = np.array([0.07, 0.46, 0.36])
HAIR_ABSORPTION = np.array([1.0, 1.08, 1.15])
NOSTRIL_SHADE = 1.4  # absorption painted into nostrils, which the mesh makes too shallow
# Luminance is what the first mode follows: mean and spread put 2.5 standard deviations at Y 0.04 and 0.50
# (L* 24 and 76), about where human facial skin ends.
LUMINANCE_MEAN, LUMINANCE_SPREAD = 0.272, 0.092
GAIN_SHARE = 0.85  # of the first mode, see `principal_modes`
CLIP_SIGMA = 2.5  # no mode alone leaves [0, 1] within so many standard deviations


def skin_colour(luminance: float, shift_ab: tuple[float, float] = (0.0, 0.0)) -> F64:
    """Linear albedo ``(3,)`` of skin of a ``luminance``, its a*, b* off the usual by ``shift_ab``."""
    lightness = 116 * np.cbrt(luminance) - 16
    share = min(lightness / 50.0, 1.0)  # dark skin varies less in chroma
    return skin_of_lightness(np.array(lightness), (share * shift_ab[0], share * shift_ab[1]))


def log_details(skins: F64, regions: dict[str, F64], plain: F64, calm: F64) -> F64:
    """What each skin ``(S, V, 3)`` has beyond its own mean colour, as log ratios; none under scalp hair.

    ``calm`` ``(V,)`` in [0, 1] says where the painters' colour is given up and their shading halved: round
    the mouth and on the ears, where registration is worst and the population has colours of its own.
    """
    log = np.log(np.maximum(skins, 2e-3))
    mean = np.average(log, axis=1, weights=plain)[:, None]
    detail = np.clip(log - mean, -1.2, 0.8)
    grey = detail.mean(2, keepdims=True)
    detail = (1 - 0.5 * calm[:, None]) * grey + (1 - calm[:, None]) * (detail - grey)
    keep = (1 - regions["scalp"]) * (1 - 0.6 * regions["neck"])
    return np.asarray(detail * keep[:, None])


def draw_population(regions: dict[str, F64], details: F64, count: int, rng: np.random.Generator) -> F64:
    """``count`` random albedos ``(count, V, 3)`` over all skin tones, real skins' ``details`` mixed in.

    Tones come in pairs about the mean, so that neither end of the range bends the first mode.
    """
    out = np.zeros((count, len(regions["face"]), 3))
    for k in range(count):
        score = np.sqrt(3) * (2 * (k // 2 + 0.5) / (count // 2) - 1) * (1 if k % 2 else -1)
        luminance = LUMINANCE_MEAN + LUMINANCE_SPREAD * score
        dark = float(np.clip(0.5 - 0.3 * score, 0, 1))
        lips_blood, cheek_blood, nose_blood = rng.normal([0.62, 0.07, 0.08], [0.25, 0.09, 0.08])
        hair = np.clip(rng.normal(1.0 + 0.2 * dark, 0.35), 0.2, 1.8)
        stubble = np.clip(rng.normal(0.0, 0.20), 0, 1) * hair
        scalp = np.clip(rng.normal(0.05, 0.12), 0, 0.5) * hair
        forehead, neck, lids = rng.normal(0.0, [0.06, 0.06, 0.06])
        lip_melanin = max(rng.normal(0.05 + 0.15 * dark, 0.08), 0.0)
        m = forehead * regions["forehead"] + neck * regions["neck"] + lids * regions["eyelids"]
        m = m + lip_melanin * regions["lips"]
        b = (
            max(lips_blood, 0.0) * regions["lips"]
            + cheek_blood * regions["cheeks"]
            + nose_blood * regions["nose"]
            + 0.12 * rng.random() * regions["ears"]
        )
        tone = skin_colour(luminance, (rng.normal(0, 1.2), rng.normal(0, 1.5)))
        mix = rng.dirichlet(np.full(len(details), 0.35)) * rng.uniform(0.6, 1.15)
        log = np.tensordot(mix, details, 1) - m[:, None] * MELANIN - b[:, None] * BLOOD
        cover = 0.8 * hair * regions["brows"] + 0.7 * stubble * regions["beard"] + scalp * regions["scalp"]
        cover = cover + NOSTRIL_SHADE * regions["nostrils"]
        out[k] = tone * np.exp(log - cover[:, None] * HAIR_ABSORPTION)
    return np.minimum(out, 0.95)


def principal_modes(samples: F64, count: int) -> tuple[F64, F64]:
    """Mean ``(V, 3)`` and ``count`` modes ``(count, V, 3)`` scaled to one standard deviation.

    The first mode is tone: between the samples' regression on their luminance and the mean times a gain.
    Regression alone runs out of blue before it is dark, as skin's tones lie on a bent curve; a gain keeps
    chroma down to black. What tone leaves over is taken apart by principal components, the chroma
    by which pale skin is less saturated first among them. No mode alone leaves [0, 1] within ±`CLIP_SIGMA`.
    """
    mean = samples.mean(0)
    offset = samples - mean
    score = offset.mean(1) @ RGB_TO_XYZ[1]
    spread = float(score.std())
    score = score / spread
    regression = np.tensordot(score, offset, 1) / len(samples)
    gain = mean * (spread / float(mean.mean(0) @ RGB_TO_XYZ[1]))
    tone = GAIN_SHARE * gain + (1 - GAIN_SHARE) * regression
    flat = (offset - score[:, None, None] * tone).reshape(len(samples), -1)
    variance, vectors = np.linalg.eigh(flat @ flat.T / len(samples))
    pick = np.argsort(variance)[::-1][: count - 1]
    modes = vectors[:, pick].T @ flat / np.sqrt(len(samples))
    modes *= np.where(modes.sum(1) < 0, -1.0, 1.0)[:, None]
    room = np.maximum(np.minimum(mean - 0.004, 0.995 - mean), 0.0) / CLIP_SIGMA
    every = np.concatenate([tone[None], modes.reshape(count - 1, *mean.shape)])
    return mean, np.clip(every, -room, room)


def iris_and_sclera(uv: F64) -> F64:
    """Linear albedo of an eyeball from its chart: radius 0.5 of the chart's half is the limbus."""
    r = np.linalg.norm((uv - 0.5) / 0.49, axis=1)
    sclera = np.array([0.72, 0.68, 0.64])
    iris = np.array([0.115, 0.058, 0.028])
    white = np.clip((r - 0.47) / 0.05, 0, 1)[:, None]
    black = np.clip((0.19 - r) / 0.03, 0, 1)[:, None]
    colour = iris * (1 - white) + sclera * white
    return np.asarray(colour * (1 - black) + 0.008 * black)
