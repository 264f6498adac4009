"""Roughness and specular of skin: its oil and water, and the relief that texels are too coarse to hold."""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32
from synthdata.skin.relief import Relief
from synthdata.skin.seen import Seen, smoothstep

SKIN_SPECULAR = 0.35  # F0 0.028: refractive index 1.40


def gloss(seen: Seen, made: Relief) -> tuple[F32, F32]:
    """Perceptual roughness and specular ``(N,)``, in [0, 1]."""
    p = seen.parameters
    worn = p.make_up
    oily = np.clip(seen("nose") + 0.8 * seen("forehead") + 0.5 * seen("chin") + 0.3 * seen("blush"), 0, 1)
    oil = np.float32(p.oil) * (0.35 + 0.65 * oily)
    roughness = 0.52 - 0.16 * oil + 0.05 * seen("neck") - 0.04 * seen("eyelids")
    roughness += 0.018 * seen.noise(9.0, 41) + 0.018 * seen.noise(2.8, 42) + 0.012 * seen.noise(0.9, 43)
    roughness += 0.10 * worn.foundation * (1 - made.lips) * (1 - 0.5 * oil)
    specular = SKIN_SPECULAR * (1 + 0.25 * oil + 0.05 * seen.noise(5.0, 44))
    # Nothing shines out of pores and furrows.
    specular *= 1 - np.clip(5.0 * made.pore_mm, 0, 0.55) - 0.18 * np.clip(-made.furrow, 0, 1)
    specular *= 1 - np.clip(0.9 * made.fold_mm, 0, 0.35)

    wet_lips = 0.42 - 0.17 * worn.gloss
    roughness += made.lips * (wet_lips - roughness)
    specular += made.lips * (SKIN_SPECULAR * (1.0 + 0.5 * worn.gloss) - specular)
    film = np.float32(p.sweat) * smoothstep(-1.6, 1.6, seen.noise(8.0, 45) + 0.5 * seen.noise(2.5, 46))
    film *= np.clip(seen("face") + 0.6 * seen("neck"), 0, 1) * (0.45 + 0.55 * oily) * (1 - made.scalp)
    roughness += 0.75 * film * (0.27 - roughness)
    drop = smoothstep(0.01, 0.06, made.drops_mm)
    roughness += drop * (0.10 - roughness)
    specular += drop * (0.45 - specular)
    hair = np.maximum(np.maximum(made.beard, made.brows), made.scalp)
    roughness += hair * (0.50 - roughness)
    inside = seen("mouth_inside")
    roughness += inside * (0.25 - roughness)
    specular *= 1 - 0.7 * seen("nostrils")
    # A lobe as wide as the slopes that are lost: alpha² of GGX is about twice their variance.
    alpha = np.clip(roughness, 0.08, 0.9) ** 2
    wide = np.sqrt(np.sqrt(alpha**2 + 2 * made.lost_slope_variance))
    return (
        np.clip(wide, 0.08, 0.95).astype(np.float32),
        np.clip(specular, 0.02, 0.8).astype(np.float32),
    )
