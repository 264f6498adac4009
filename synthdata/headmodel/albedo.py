"""Skin albedo: melanin and haemoglobin over region maps, with details of CC0 skins, as mean and modes.

Skin reflectance is taken as base · exp(−melanin·ε_m − blood·ε_h) per channel in linear light.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

BASE = np.array([0.93, 0.80, 0.64])  # bloodless, melanin-free skin
MELANIN = np.array([0.55, 0.80, 1.15])
BLOOD = np.array([0.07, 0.46, 0.36])
HAIR_ABSORPTION = np.array([1.0, 1.18, 1.36])


def skin_colour(melanin: F64, blood: F64) -> F64:
    """Linear albedo ``(…, 3)`` of skin with relative melanin and blood content ``(…)``."""
    return np.asarray(BASE * np.exp(-melanin[..., None] * MELANIN - blood[..., None] * BLOOD))


def log_details(skins: F64, regions: dict[str, F64], plain: F64) -> F64:
    """What each skin ``(S, V, 3)`` has beyond its own mean colour, as log ratios; none under scalp hair."""
    log = np.log(np.maximum(skins, 2e-3))
    mean = np.average(log, axis=1, weights=plain)[:, None]
    keep = (1 - regions["scalp"]) * (1 - 0.6 * regions["neck"])
    return np.asarray(np.clip(log - mean, -1.2, 0.8) * keep[:, None])


def draw_population(regions: dict[str, F64], details: F64, count: int, rng: np.random.Generator) -> F64:
    """``count`` random albedos ``(count, V, 3)`` over all skin tones, real skins' ``details`` mixed in."""
    out = np.zeros((count, len(regions["face"]), 3))
    for k in range(count):
        tone = rng.beta(1.2, 1.7)
        melanin = 0.25 + 2.9 * tone**1.2
        blood = 0.45 + 0.45 * rng.random() + 0.3 * tone
        lips_blood, cheek_blood, nose_blood = rng.normal([0.35, 0.08, 0.10], [0.40, 0.15, 0.12])
        hair = np.clip(rng.normal(0.9 + 0.5 * tone, 0.40), 0.15, 2.0)
        stubble = np.clip(rng.normal(0.0, 0.20), 0, 1) * hair
        scalp = np.clip(rng.normal(0.05, 0.12), 0, 0.5) * hair
        shade = rng.normal(0.0, [0.06, 0.06, 0.06])
        m = melanin * (
            1 + shade[0] * regions["forehead"] + shade[1] * regions["neck"] + shade[2] * regions["eyelids"]
        )
        m = m + np.maximum(rng.normal(0.05 + 0.2 * tone, 0.1), 0.0) * regions["lips"]
        b = (
            blood
            + lips_blood * regions["lips"]
            + cheek_blood * regions["cheeks"]
            + nose_blood * regions["nose"]
            + 0.25 * rng.random() * regions["ears"]
        )
        mix = rng.dirichlet(np.full(len(details), 0.35)) * rng.uniform(0.6, 1.15)
        log = np.log(skin_colour(m, np.maximum(b, 0.1))) + np.tensordot(mix, details, 1)
        cover = 0.75 * hair * regions["brows"] + 0.7 * stubble * regions["beard"] + scalp * regions["scalp"]
        out[k] = np.exp(log - cover[:, None] * HAIR_ABSORPTION)
    return np.minimum(out, 0.95)


def principal_modes(samples: F64, count: int) -> tuple[F64, F64]:
    """Mean ``(V, 3)`` and ``count`` modes ``(count, V, 3)`` scaled to one standard deviation."""
    mean = samples.mean(0)
    flat = (samples - mean).reshape(len(samples), -1)
    variance, vectors = np.linalg.eigh(flat @ flat.T / len(samples))
    pick = np.argsort(variance)[::-1][:count]
    modes = vectors[:, pick].T @ flat / np.sqrt(len(samples))
    modes *= np.where(modes.sum(1) < 0, -1.0, 1.0)[:, None]
    return mean, modes.reshape(count, *mean.shape)


def iris_and_sclera(uv: F64) -> F64:
    """Linear albedo of an eyeball from its chart: radius 0.5 of the chart's half is the limbus."""
    r = np.linalg.norm((uv - 0.5) / 0.49, axis=1)
    sclera = np.array([0.72, 0.68, 0.64])
    iris = np.array([0.115, 0.058, 0.028])
    white = np.clip((r - 0.47) / 0.05, 0, 1)[:, None]
    black = np.clip((0.19 - r) / 0.03, 0, 1)[:, None]
    colour = iris * (1 - white) + sclera * white
    return np.asarray(colour * (1 - black) + 0.008 * black)
