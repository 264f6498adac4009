"""Skin albedo: melanin and haemoglobin over region maps, as a linear mean and modes.

Skin reflectance is taken as base · exp(−melanin·ε_m − blood·ε_h) per channel in linear light.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

BASE = np.array([0.93, 0.80, 0.72])  # bloodless, melanin-free skin
MELANIN = np.array([0.45, 0.74, 1.00])
BLOOD = np.array([0.07, 0.46, 0.36])
HAIR_ABSORPTION = np.array([1.0, 1.18, 1.36])


def skin_colour(melanin: F64, blood: F64) -> F64:
    """Linear albedo ``(…, 3)`` of skin with relative melanin and blood content ``(…)``."""
    return np.asarray(BASE * np.exp(-melanin[..., None] * MELANIN - blood[..., None] * BLOOD))


def draw_population(regions: dict[str, F64], count: int, rng: np.random.Generator) -> F64:
    """``count`` random albedos ``(count, V, 3)`` over all skin tones."""
    out = np.zeros((count, len(regions["face"]), 3))
    for k in range(count):
        tone = rng.beta(1.3, 1.8)
        melanin = 0.35 + 3.0 * tone**1.3
        blood = 0.75 + 0.5 * rng.random() + 0.3 * tone
        lips_blood, cheek_blood, nose_blood = rng.normal([1.3, 0.18, 0.22], [0.45, 0.15, 0.15])
        lips_melanin = rng.normal(0.12 + 0.25 * tone, 0.12)
        hair = np.clip(rng.normal(1.0 + 0.5 * tone, 0.45), 0.15, 2.2)
        stubble = np.clip(rng.normal(0.05, 0.22), 0, 1) * hair
        scalp = np.clip(rng.normal(0.05, 0.12), 0, 0.5) * hair
        shade = rng.normal([0.0, 0.0, 0.05, 0.05], [0.08, 0.08, 0.08, 0.10])
        m = np.full(len(regions["face"]), melanin)
        m += melanin * (
            shade[0] * regions["forehead"]
            + shade[1] * regions["neck"]
            + shade[2] * regions["eyelids"]
            + shade[3] * regions["ears"] * 0.5
        )
        m += lips_melanin * regions["lips"]
        b = (
            blood
            + lips_blood * regions["lips"]
            + cheek_blood * regions["cheeks"]
            + nose_blood * regions["nose"]
            + 0.35 * regions["ears"] * rng.random()
        )
        colour = skin_colour(m, np.maximum(b, 0.1))
        cover = hair * regions["brows"] + stubble * regions["beard"] * 0.7 + scalp * regions["scalp"]
        out[k] = colour * np.exp(-cover[:, None] * HAIR_ABSORPTION)
    return out


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
