"""The colour of skin: melanin and blood from place to place, through the layers, under hair and make-up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from synthdata.skin.chromophores import BLOOD_RANGE, MELANIN_RANGE, colour_table
from synthdata.skin.relief import Relief
from synthdata.skin.seen import Seen, smoothstep
from synthdata.skin.structure import BLOOD, MELANIN

HAIR_IN_SKIN = np.array(
    [1.0, 0.86, 0.76], np.float32
)  # absorption of hair roots through skin, which looks blue
VEIN_IN_SKIN = np.array(
    [1.0, 0.72, 0.40], np.float32
)  # of blood deep in it (Kienle et al. 1996): red is lost


def colour(seen: Seen, made: Relief) -> F32:
    """Linear albedo ``(N, 3)``."""
    melanin, blood = _contents(seen, made)
    albedo = _looked_up(melanin, blood)
    p = seen.parameters
    # Light is lost in pores and furrows, more than in open skin.
    hollow = np.clip(2.0 * made.pore_mm, 0, 0.30) + 0.06 * np.clip(-made.furrow, 0, 1)
    albedo *= (1 - hollow)[:, None] ** np.array([0.7, 1.0, 1.15], np.float32)
    blue, _ = seen.covered("blue_veins")
    deep = 0.16 * blue * (1 - min(3.0 * p.melanin, 0.85))
    root = np.zeros(len(deep), np.float32)
    if p.is_male:
        # Roots of a shaven beard show through, the darker the hair.
        dark = 1 - min(2.5 * float(np.mean(p.hair)), 0.9)
        shaven = np.float32(0.28 * dark * (0.35 + 0.65 * p.stubble))
        border = seen("beard") + 0.08 * seen.noise(9.0, 37) + 0.05 * seen.noise(3.0, 38)
        root += shaven * smoothstep(0.1, 0.9, border) * (1 - made.lips)
        root *= np.clip(1 + 0.12 * seen.noise(1.4, 31) + 0.10 * seen.noise(0.6, 32), 0, 2)
    albedo *= np.exp(-(deep[:, None] * VEIN_IN_SKIN + root[:, None] * HAIR_IN_SKIN))
    albedo = _made_up(seen, made, albedo)
    hair = np.asarray(p.hair, np.float32)
    tint = (1 + 0.12 * seen.noise(0.8, 33))[:, None] * hair
    for cover in (made.beard, made.brows, made.scalp):
        albedo += (0.92 * cover)[:, None] * (tint - albedo)
    dark_hole = (0.85 * seen("nostrils"))[:, None]
    albedo *= 1 - dark_hole * np.array([0.75, 0.88, 0.90], np.float32)
    return np.clip(albedo, 0.003, 0.92).astype(np.float32)


def _contents(seen: Seen, made: Relief) -> tuple[F32, F32]:
    """Melanosomes' share of the epidermis and blood's of the dermis ``(N,)``."""
    p = seen.parameters
    even = 1 - 0.7 * p.make_up.foundation
    uneven = np.float32((0.35 + 0.65 * p.mottling) * even)
    dark = min(p.melanin / 0.12, 1.0)

    log_melanin = (
        0.08 * seen("forehead")
        + (0.16 - 0.10 * dark) * seen("eyelids")
        + p.sun * 0.9 * (seen("sunny") - 0.45)
    )
    log_melanin += (1 - 0.55 * dark) * (0.08 + 0.50 * p.dark_circles * even) * seen("under_eye")
    log_melanin += 0.10 * seen("wings")
    log_melanin += dark * (0.14 * seen("moustache") + 0.08 * seen("chin") + 0.10 * seen("around_eye"))
    log_melanin -= 0.25 * seen("neck") * (1 - seen("sunny"))
    for wavelength, amount, salt in ((34, 0.050, 21), (12, 0.045, 22), (4.2, 0.045, 23), (1.5, 0.040, 24)):
        log_melanin += uneven * np.float32(amount) * seen.noise(wavelength, salt)
    # The more melanin there is, the more a change of it by a share changes the colour.
    log_melanin *= np.float32(1 - 0.6 * dark)
    # Blood shows at the nose, its wings, cheeks, ears and chin.
    red = np.float32((0.25 + 1.0 * p.redness) * even)
    blush = 0.75 * seen("cheeks") + 0.45 * seen("blush") + 1.0 * seen("nose") + 0.9 * seen("ears")
    blush += 0.9 * seen("wings") + 0.45 * seen("chin") + 0.15 * seen("forehead")
    log_blood = red * np.minimum(blush, 1.3) * (1 + 0.12 * seen.noise(7.5, 25))
    log_blood += 0.35 * seen("eyelids") + 0.5 * p.dark_circles * seen("under_eye")
    log_blood -= 0.12 * seen("forehead") + 0.15 * seen("neck")
    for wavelength, amount, salt in ((19, 0.08, 26), (6.3, 0.09, 27), (2.4, 0.08, 28), (1.0, 0.05, 29)):
        log_blood += uneven * np.float32(amount) * seen.noise(wavelength, salt)
    log_blood += np.clip(0.9 * made.fold_mm, 0, 0.4)

    # Lips: blood close below a thin layer with little melanin; in dark skin they keep more of it.
    mucous = np.maximum(made.lips, seen("mouth_inside"))
    log_melanin -= mucous * np.float32(0.30 - 0.15 * dark)
    log_blood += mucous * (1.45 - 0.25 * dark + 0.07 * seen.noise(3.0, 30)) * (1 - 0.15 * red)
    log_blood += 0.4 * seen("mouth_inside")

    melanin = np.float32(p.melanin) * np.exp(log_melanin)
    blood = np.float32(p.blood) * np.exp(log_blood)
    pigment, _ = seen.spots("pigment")
    ragged = np.clip(1 + 0.22 * seen.noise(0.8, 34) + 0.22 * seen.noise(9.0, 36), 0.2, 2)
    veil = np.float32(1 - 0.6 * p.make_up.foundation)
    melanin += veil * ragged * (pigment[:, MELANIN] + made.growths[:, MELANIN])
    blood += veil * (pigment[:, BLOOD] + made.growths[:, BLOOD])
    vein, _ = seen.covered("red_veins")
    blood += veil * np.float32(0.030) * vein
    return np.clip(melanin, *MELANIN_RANGE), np.clip(blood, *BLOOD_RANGE)


def _looked_up(melanin: F32, blood: F32) -> F32:
    table = colour_table()
    size = len(table)

    def place(value: F32, span: tuple[float, float]) -> tuple[NDArray[np.int64], F32]:
        at = np.log(value / span[0]) * ((size - 1) / np.log(span[1] / span[0]))
        low = np.clip(at.astype(np.int64), 0, size - 2)
        return low, np.asarray((at - low)[:, None], np.float32)

    i, s = place(melanin, MELANIN_RANGE)
    j, t = place(blood, BLOOD_RANGE)
    low = table[i, j] * (1 - t) + table[i, j + 1] * t
    high = table[i + 1, j] * (1 - t) + table[i + 1, j + 1] * t
    return np.asarray(np.exp(low * (1 - s) + high * s), np.float32)


def _made_up(seen: Seen, made: Relief, albedo: F32) -> F32:
    worn = seen.parameters.make_up
    patchy = np.clip(1 + 0.05 * seen.noise(1.2, 35), 0, 1.2)
    rouge = 0.55 * np.asarray(worn.lip_colour, np.float32) + np.float32(0.45) * albedo
    films = (
        (0.45 * worn.blush * seen("blush") * (1 - made.lips), rouge),
        (
            0.80 * worn.shadow * seen("eyelids") * (1 - seen("under_eye")),
            np.asarray(worn.shadow_colour, np.float32),
        ),
        (
            0.88 * worn.lips * made.lips * (1 - 0.5 * seen("mouth_inside")),
            np.asarray(worn.lip_colour, np.float32),
        ),
        (np.clip(seen.strongest("liner")[0], 0, 0.95), np.float32(0.006)),
    )
    for cover, pigment in films:
        albedo = albedo + (patchy * cover).clip(0, 1)[:, None] * (pigment - albedo)
    return np.asarray(albedo, np.float32)
