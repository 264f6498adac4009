"""Who the skin belongs to: its parameters, and drawing them together as they go together in people."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

Colour = tuple[float, float, float]

YOUNGEST, OLDEST = 16.0, 85.0  # years
LIGHTEST, DARKEST = 0.006, 0.28  # melanosomes' share of the epidermis: 1–3 % light to 43 % dark (Jacques)
LIPSTICKS: tuple[Colour, ...] = (
    (0.30, 0.020, 0.030),
    (0.24, 0.045, 0.055),
    (0.16, 0.012, 0.035),
    (0.36, 0.110, 0.095),
    (0.28, 0.090, 0.085),
)
SHADOWS: tuple[Colour, ...] = (
    (0.050, 0.033, 0.028),
    (0.14, 0.08, 0.05),
    (0.045, 0.05, 0.07),
    (0.30, 0.20, 0.12),
)


@dataclass(frozen=True)
class MakeUp:
    """Films of pigment; covers in [0, 1], colours linear."""

    foundation: float = 0.0  # of the skin's unevenness that is evened out
    lips: float = 0.0
    lip_colour: Colour = LIPSTICKS[0]
    gloss: float = 0.0  # of the lips
    shadow: float = 0.0  # on the lids
    shadow_colour: Colour = SHADOWS[0]
    liner: float = 0.0  # along the lashes
    blush: float = 0.0


@dataclass(frozen=True)
class SkinParameters:
    """One skin. Amounts without a unit are in [0, 1]."""

    seed: int  # where things lie
    age_years: float = 35.0
    is_male: bool = False
    melanin: float = 0.02  # melanosomes' share of the epidermis, LIGHTEST to DARKEST
    blood: float = 0.016  # of the dermis' volume, cheeks and lips excepted
    sun: float = 0.4  # more melanin where the sun falls
    mottling: float = 0.5  # unevenness of both
    redness: float = 0.3  # of cheeks, nose and ears beyond the rest
    freckles: float = 0.0
    age_spots: float = 0.0
    moles: int = 12  # on head and neck
    blemishes: int = 2
    veins: float = 0.1  # small ones, red, on cheeks and nose; blue ones at the temples
    dark_circles: float = 0.3
    wrinkles: float = 0.2
    pores: float = 0.5
    oil: float = 0.4
    sweat: float = 0.0
    hair: Colour = (0.020, 0.012, 0.008)
    brows: float = 0.6
    stubble_mm: float = 0.0  # 0: no beard
    stubble: float = 0.0  # share of the beard's hairs that grow
    cropped_mm: float = 0.0  # hair on the scalp; 0: bald
    make_up: MakeUp = field(default_factory=MakeUp)


def sample_parameters(seed: int) -> SkinParameters:
    """A random skin; the same ``seed`` gives the same one. Ranges and sources: docs/skin.md."""
    rng = np.random.default_rng([seed, 0x5C1])
    age = float(rng.uniform(YOUNGEST, OLDEST)) if rng.random() < 0.5 else float(rng.triangular(16, 28, 70))
    is_male = bool(rng.random() < 0.5)
    tone = float(rng.random())  # 0 light, 1 dark; equal steps are about equal steps of lightness
    melanin = LIGHTEST * (DARKEST / LIGHTEST) ** (tone**1.1)
    light = float(np.clip(1 - 1.9 * tone, 0, 1))
    old = (age - 20) / 60

    # Wrinkles come a decade later in dark skin and scatter by habit and sun.
    wrinkles = _share(old + rng.normal(0, 0.10) - 0.16 * tone)
    red_haired = light > 0.5 and rng.random() < 0.08
    freckles = _share(rng.beta(1.2, 2.5)) if rng.random() < 0.06 + 0.45 * light or red_haired else 0.0
    freckles = _share(freckles * (1.5 if red_haired else 1.0) * (1.15 - 0.7 * max(old, 0)))
    age_spots = _share((old - 0.35) * rng.uniform(0.2, 1.6) * (0.35 + 0.65 * light))
    moles = int(rng.poisson(4 + 14 * rng.beta(1.2, 3.0) * (0.6 + 0.4 * light) + 10 * tone * max(old, 0)))
    acne = math.exp(-(((age - 18) / 9) ** 2))
    blemishes = int(rng.poisson(1 + 26 * acne * rng.beta(0.7, 2.0)))
    veins = _share(rng.beta(1.3, 4) * (0.3 + 0.9 * max(old, 0)) * (0.15 + 0.85 * light))
    oil = _share(rng.normal(0.50 + 0.08 * is_male - 0.28 * max(old, 0), 0.16))
    pores = _share(rng.normal(0.30 + 0.28 * oil + 0.12 * is_male + 0.15 * max(old, 0), 0.12))
    grey = _share((age - 48 + rng.normal(0, 9)) / 24)
    bearded = is_male and rng.random() < 0.65
    length = float(np.clip(rng.gamma(1.6, 0.5), 0.12, 3.0)) if bearded else 0.0
    return SkinParameters(
        seed=seed,
        age_years=age,
        is_male=is_male,
        melanin=float(melanin),
        blood=float(np.clip(0.015 * np.exp(rng.normal(0, 0.28)), 0.006, 0.035)),
        sun=_share(rng.beta(1.6, 2.2)),
        mottling=_share(rng.beta(2.2, 2.4) + 0.25 * max(old, 0)),
        redness=_share(rng.beta(1.6, 2.6) + 0.12 * light),
        freckles=freckles,
        age_spots=age_spots,
        moles=moles,
        blemishes=blemishes,
        veins=veins,
        dark_circles=_share(rng.beta(1.8, 3) + 0.12 * tone + 0.1 * max(old, 0)),
        wrinkles=wrinkles,
        pores=pores,
        oil=oil,
        sweat=_share(rng.uniform(0.2, 1.0)) if rng.random() < 0.10 else 0.0,
        hair=_hair(rng, tone, red_haired, grey),
        brows=_share(rng.normal(0.62 if is_male else 0.5, 0.15) - 0.25 * max(old - 0.6, 0)),
        stubble_mm=length,
        stubble=_share(rng.beta(3, 1.5) * (0.6 + 0.4 * min((age - 15) / 10, 1))) if bearded else 0.0,
        cropped_mm=float(rng.uniform(0.5, 5.0)) if rng.random() < 0.5 else 0.0,
        make_up=_make_up(rng, is_male, melanin),
    )


def _share(value: float) -> float:
    return float(np.clip(value, 0.0, 1.0))


def _hair(rng: np.random.Generator, tone: float, red_haired: bool, grey: float) -> Colour:
    """Linear: black to blond, the lighter the rarer beyond light skin, and greyed."""
    black, brown, blond, red, white = (
        np.array(c)
        for c in (
            (0.010, 0.008, 0.007),
            (0.040, 0.022, 0.012),
            (0.26, 0.17, 0.085),
            (0.16, 0.050, 0.016),
            (0.48, 0.47, 0.45),
        )
    )
    fair = rng.beta(1.1, 1.6) * max(1 - 2.2 * tone, 0.06)
    colour = red if red_haired else black + (brown - black) * min(3 * fair, 1)
    if not red_haired and fair > 1 / 3:
        colour = brown + (blond - brown) * 1.5 * (fair - 1 / 3)
    mixed = colour * (1 - grey) + white * grey
    return float(mixed[0]), float(mixed[1]), float(mixed[2])


def _make_up(rng: np.random.Generator, is_male: bool, melanin: float) -> MakeUp:
    if rng.random() > (0.02 if is_male else 0.5):
        return MakeUp()
    amount = rng.uniform(0.25, 1.0)
    lips = LIPSTICKS[int(rng.integers(len(LIPSTICKS)))]
    depth = float(np.clip(1.15 - 1.8 * melanin, 0.5, 1.15))
    return MakeUp(
        foundation=_share(amount * rng.uniform(0.2, 0.9)),
        lips=_share(amount * rng.uniform(0.3, 1.0)) if rng.random() < 0.8 else 0.0,
        lip_colour=(lips[0] * depth, lips[1] * depth, lips[2] * depth),
        gloss=_share(rng.beta(1, 2)),
        shadow=_share(amount * rng.uniform(0.1, 0.7)) if rng.random() < 0.6 else 0.0,
        shadow_colour=SHADOWS[int(rng.integers(len(SHADOWS)))],
        liner=_share(amount * rng.uniform(0.3, 1.0)) if rng.random() < 0.55 else 0.0,
        blush=_share(amount * rng.uniform(0.1, 0.8)),
    )
