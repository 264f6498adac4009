"""Roughness, specular level and pore relief of facial skin by region.

The order follows measured faces (Weyrich et al. 2006, table of Torrance-Sparrow slopes by region): nose
and forehead are the glossiest skin, then chin and lids, cheeks and neck the most matte; wet lips are
glossier than any. Values are perceptual roughness (alpha = roughness²) and F0 / 0.08; skin's index of
refraction of 1.38 to 1.44 puts F0 near 0.028, a specular level of 0.35.
"""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32, F64
from backend.head.base import ParametricHead

DEFAULT = (0.54, 0.35)  # roughness, specular
BY_REGION: dict[str, tuple[float, float]] = {
    "forehead": (0.45, 0.36),
    "nose": (0.42, 0.37),
    "cheeks": (0.54, 0.35),
    "chin": (0.50, 0.35),
    "eyelids": (0.48, 0.35),
    "eyes": (0.48, 0.35),
    "lips": (0.38, 0.40),
    "ears": (0.52, 0.34),
    "neck": (0.58, 0.33),
    "scalp": (0.53, 0.34),
    "brows": (0.60, 0.28),
}
# Root-mean-square slope of pores and furrows, degrees: nose and cheeks have the widest pores. They
# are made up, so they cost accuracy by their square: this is what shading read from the photo can afford.
# Real skin has several times as much, most of it finer than a map of 1024 texels holds; its effect
# on highlights is in the roughness.
PORE_SLOPE_DEFAULT_DEG = 0.6
PORE_SLOPE_DEG: dict[str, float] = {
    "nose": 1.1,
    "cheeks": 0.8,
    "forehead": 0.7,
    "chin": 0.8,
    "eyelids": 0.4,
    "eyes": 0.3,
    "lips": 0.2,
    "ears": 0.4,
    "neck": 0.6,
    "scalp": 0.6,
    "brows": 0.5,
}
LIP_LINE_SLOPE_DEG = 1.5


def regional(head: ParametricHead) -> F32:
    """Roughness, specular, slope of pores and slope of lip lines (rise over run) ``(V, 4)``.

    A vertex in several regions takes their weighted mean; the rest of its weight is plain skin.
    """
    plain = _row(*DEFAULT, PORE_SLOPE_DEFAULT_DEG, 0.0)
    total = np.zeros((len(head.mean_vertices), 4))
    weight = np.zeros(len(head.mean_vertices))
    for name, (rough, spec) in BY_REGION.items():
        if name in head.regions:
            w = np.clip(head.regions[name], 0, 1).astype(np.float64)
            lines = LIP_LINE_SLOPE_DEG if name == "lips" else 0.0
            total += w[:, None] * _row(rough, spec, PORE_SLOPE_DEG[name], lines)
            weight += w
    rest = np.maximum(1 - weight, 0)
    mean: F32 = ((total + rest[:, None] * plain) / (weight + rest)[:, None]).astype(np.float32)
    return mean


def _row(roughness: float, specular: float, pores_deg: float, lines_deg: float) -> F64:
    return np.array([roughness, specular, np.tan(np.radians(pores_deg)), np.tan(np.radians(lines_deg))])
