"""Roughness and specular level of facial skin by region.

The order follows measured faces (Weyrich et al. 2006, table of Torrance-Sparrow slopes by region): nose
and forehead are the glossiest skin, then chin and lids, cheeks and neck the most matte; wet lips are
glossier than any. Values are perceptual roughness (alpha = roughness²) and F0 / 0.08; skin's index of
refraction of 1.38 to 1.44 puts F0 near 0.028, a specular level of 0.35.
"""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32
from backend.head.base import ParametricHead

DEFAULT = (0.50, 0.34)  # roughness, specular
BY_REGION: dict[str, tuple[float, float]] = {
    "forehead": (0.44, 0.37),
    "nose": (0.40, 0.40),
    "cheeks": (0.51, 0.34),
    "chin": (0.47, 0.35),
    "eyelids": (0.44, 0.36),
    "eyes": (0.44, 0.36),
    "lips": (0.32, 0.44),
    "ears": (0.48, 0.34),
    "neck": (0.55, 0.30),
    "scalp": (0.50, 0.32),
    "brows": (0.58, 0.26),
}
# Pore relief (metres, peak) by region: oily skin of nose and cheeks has the widest pores.
PORES_DEFAULT = 6e-6
PORES_BY_REGION: dict[str, float] = {
    "nose": 14e-6,
    "cheeks": 11e-6,
    "forehead": 9e-6,
    "chin": 10e-6,
    "eyelids": 3e-6,
    "eyes": 2e-6,
    "lips": 1e-6,
    "ears": 3e-6,
    "neck": 7e-6,
    "scalp": 5e-6,
    "brows": 4e-6,
}


def regional(head: ParametricHead) -> F32:
    """Roughness, specular and pore relief in metres ``(V, 3)`` from the head's region weights.

    A vertex in several regions takes their weighted mean; the rest of its weight is plain skin.
    """
    plain = np.array([*DEFAULT, PORES_DEFAULT])
    total = np.zeros((len(head.mean_vertices), 3))
    weight = np.zeros(len(head.mean_vertices))
    for name, (rough, spec) in BY_REGION.items():
        if name in head.regions:
            w = np.clip(head.regions[name], 0, 1).astype(np.float64)
            total += w[:, None] * np.array([rough, spec, PORES_BY_REGION[name]])
            weight += w
    rest = np.maximum(1 - weight, 0)
    mean: F32 = ((total + rest[:, None] * plain) / (weight + rest)[:, None]).astype(np.float32)
    return mean
