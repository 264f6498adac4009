"""Who looks like what: hair, beard, glasses, hats, clothes, as they go together. No arrays, no Blender."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from synthdata.cycles.clothes import GARMENTS, OutfitPlan
from synthdata.cycles.eyewear import GlassesPlan
from synthdata.cycles.face_hair import FacePlan
from synthdata.cycles.hair import HairPlan
from synthdata.cycles.headwear import HatPlan
from synthdata.skin.parameters import SkinParameters

Colour = tuple[float, float, float]
GLASSES_SHARE, HAT_SHARE, SCARF_SHARE, HAND_SHARE = 0.33, 0.20, 0.12, 0.03

_MEN = {
    "buzz": 2,
    "crop": 5,
    "quiff": 3,
    "side part": 4,
    "tousled": 3,
    "slick back": 2,
    "curls": 1.5,
    "long": 0.5,
    "bald": 1.5,
}
_WOMEN = {
    "bob": 2.5, "bob with fringe": 1.5, "long": 3, "long with fringe": 2, "long waves": 3, "long curls": 2,
    "shoulder": 3, "bun": 2, "tail": 2.5, "bun with fringe": 1.2, "tousled": 1, "crop": 0.6,
}  # fmt: skip
_COILY_MEN = {"buzz": 3, "coils": 5, "afro": 1.5, "bald": 1.5, "crop": 0.5}
_COILY_WOMEN = {"coils": 2, "afro": 3, "long curls": 3, "bun": 3, "tail": 1, "long": 1.5, "bob": 1.5}
_TOO_HIGH = ("bun", "bun with fringe", "curls", "long curls")
_CLOTHS: tuple[Colour, ...] = (
    (0.015, 0.016, 0.019), (0.60, 0.59, 0.57), (0.022, 0.035, 0.085), (0.11, 0.015, 0.025),
    (0.13, 0.14, 0.15), (0.32, 0.27, 0.20), (0.03, 0.06, 0.045), (0.05, 0.11, 0.24),
    (0.35, 0.08, 0.06), (0.42, 0.33, 0.10),
    (0.25, 0.33, 0.42), (0.06, 0.035, 0.025), (0.40, 0.22, 0.25), (0.17, 0.20, 0.11),
)  # fmt: skip
_FRAMES: tuple[tuple[Colour, bool], ...] = (
    ((0.010, 0.010, 0.011), False), ((0.075, 0.030, 0.012), False), ((0.55, 0.40, 0.22), True),
    ((0.35, 0.36, 0.38), True), ((0.035, 0.036, 0.040), True), ((0.03, 0.06, 0.14), False),
    ((0.14, 0.015, 0.02), False),
)  # fmt: skip
_CLEAR: Colour = (0.97, 0.98, 0.97)
_TINTS: tuple[Colour, ...] = (
    (0.10, 0.10, 0.10),
    (0.20, 0.12, 0.06),
    (0.10, 0.16, 0.13),
    (0.45, 0.34, 0.25),
    (0.30, 0.36, 0.50),
)


@dataclass(frozen=True)
class Fabric:
    """A cloth."""

    colour_linear: Colour
    second_linear: Colour
    pattern: str  # "plain", "stripes", "speckle", "knit", "check"; "polished": what buttons are of
    scale_m: float  # of the pattern


@dataclass(frozen=True)
class Looks:
    """What stays with a person."""

    hair: HairPlan | None  # None: bald
    face: FacePlan
    hair_linear: Colour
    brow_linear: Colour
    grey: float  # share of the strands that are white


@dataclass(frozen=True)
class Dress:
    """What a person wears on one photograph."""

    glasses: GlassesPlan | None
    hat: HatPlan
    outfit: OutfitPlan
    hand: float  # 0 none, 1 at the left cheek, −1 at the right one
    fabrics: dict[str, Fabric]  # by the pieces' stuff


def draw_looks(rng: np.random.Generator, skin: SkinParameters) -> Looks:
    """Hair of the head and of the face as they go with sex, age and tone."""
    dark = skin.melanin > 0.10
    coily = rng.random() < (0.75 if dark else 0.04)
    table = (_COILY_MEN if coily else _MEN) if skin.is_male else (_COILY_WOMEN if coily else _WOMEN)
    old = float(np.clip((skin.age_years - 40) / 40, 0, 1))
    name = str(_pick(rng, table))
    losing = float(skin.is_male and rng.random() < 0.25 + 0.5 * old)
    receding = losing * float(rng.uniform(0.2, 1.0)) * (0.4 + 0.6 * old)
    bald_top = losing * float(max(rng.normal(1.3 * old - 0.45, 0.3), 0.0))
    seed = int(rng.integers(1, 2**31))
    hair = None
    if name != "bald" and bald_top < 0.95:
        if bald_top > 0.25 and name not in ("buzz", "crop", "coils"):
            name = "crop"
        part = (
            float(rng.choice((-1.0, 1.0)) * rng.uniform(0.5, 1.0))
            if rng.random() < 0.6
            else float(rng.normal(0, 0.12))
        )
        hair = HairPlan(
            name, seed, part, receding, float(np.clip(bald_top, 0, 1)), float(rng.uniform(0.5, 1.6))
        )
    beard = ""
    if skin.is_male and rng.random() < 0.42:
        beard = str(_pick(rng, {"short": 4.5, "full": 2.5, "goatee": 1.5, "moustache": 1, "long": 0.5}))
    brows = float(np.clip(skin.brows + rng.normal(0.05, 0.12), 0.05, 1))
    base = np.array(skin.hair)
    grey = float(np.clip((base.mean() - 0.12) / 0.35, 0, 1)) if skin.age_years > 48 else 0.0
    brow = np.minimum(base * 0.55, 0.14)
    return Looks(
        hair=hair,
        face=FacePlan(brows, beard, float(rng.uniform(0.7, 1.4)), seed + 1),  # type: ignore[arg-type]
        hair_linear=_colour(base * np.exp(0.15 * rng.normal() + 0.03 * rng.normal(size=3))),
        brow_linear=_colour(brow),
        grey=grey,
    )


def draw_dress(rng: np.random.Generator, skin: SkinParameters, looks: Looks) -> Dress:
    """Glasses, hat, clothes and a hand, anew for every photograph."""
    old = float(np.clip((skin.age_years - 40) / 30, 0, 1))
    kind = ""
    if rng.random() < HAT_SHARE:
        kind = str(_pick(rng, {"beanie": 3, "cap": 2.5, "brim": 1.5}))
    if (
        looks.hair is not None
        and looks.hair.style in ("afro", "bun", "bun with fringe", "curls", "long curls")
        and kind != "beanie"
    ):
        kind = ""
    if looks.hair is not None and looks.hair.style == "afro":
        kind = ""
    glasses = _glasses(rng) if rng.random() < GLASSES_SHARE + 0.2 * old else None
    fabrics = {
        name: _fabric(rng) for name in ("main", "under", "scarf", "hat", "visor", "band", "trim", "tie")
    }
    knit = fabrics["scarf"], fabrics["hat"]
    main = fabrics["main"]
    if rng.random() < 0.85:
        fabrics["trim"] = main
    pale = float(rng.uniform(0.5, 0.75)) if rng.random() < 0.6 else 0.02
    fabrics["button"] = Fabric((pale, pale, 0.95 * pale), (pale, pale, pale), "polished", 0.003)
    if rng.random() < 0.5:
        fabrics["scarf"] = Fabric(knit[0].colour_linear, knit[0].second_linear, "knit", 0.006)
    fabrics["hat"] = Fabric(
        knit[1].colour_linear, knit[1].second_linear, "knit" if kind == "beanie" else "plain", 0.004
    )
    if rng.random() < 0.6:
        fabrics["visor"] = fabrics["hat"]
    if rng.random() < 0.7:
        white = float(rng.uniform(0.5, 0.75))
        fabrics["under"] = Fabric((white, white, white), (white, white, white), "plain", 0.003)
    return Dress(
        glasses=glasses,
        hat=HatPlan(kind, int(rng.integers(1, 2**31))),  # type: ignore[arg-type]
        outfit=OutfitPlan(
            garment=GARMENTS[int(rng.choice(len(GARMENTS), p=(0.27, 0.15, 0.13, 0.21, 0.18, 0.06)))],
            scarf=bool(rng.random() < SCARF_SHARE),
            build=float(rng.normal(1.02 if skin.is_male else 0.90, 0.05)),
            seed=int(rng.integers(1, 2**31)),
        ),
        hand=float(rng.choice((-1.0, 1.0))) if rng.random() < HAND_SHARE else 0.0,
        fabrics=fabrics,
    )


def draw_bare_dress(rng: np.random.Generator, skin: SkinParameters, looks: Looks) -> Dress:
    """Clothes alone: nothing before the face or on the head."""
    dress = draw_dress(rng, skin, looks)
    outfit = replace(dress.outfit, scarf=False)
    return replace(dress, glasses=None, hat=replace(dress.hat, kind=""), hand=0.0, outfit=outfit)


def _glasses(rng: np.random.Generator) -> GlassesPlan:
    frame = str(_pick(rng, {"acetate": 4, "wire": 4, "rimless": 1.5}))
    colour, metallic = _FRAMES[int(rng.integers(len(_FRAMES)))]
    if frame == "acetate" and metallic:
        colour, metallic = _FRAMES[int(rng.integers(2))]
    if frame != "acetate" and not metallic and rng.random() < 0.6:
        colour, metallic = _FRAMES[2 + int(rng.integers(3))]
    shape = str(_pick(rng, {"round": 3, "oval": 3, "rectangle": 4, "wayfarer": 3, "large": 2}))
    width, height, square, cat = {
        "round": (0.0235, 0.0225, 2.1, 0.0),
        "oval": (0.0250, 0.0180, 2.2, 0.001),
        "rectangle": (0.0260, 0.0170, 4.2, 0.0),
        "wayfarer": (0.0255, 0.0205, 3.2, 0.004),
        "large": (0.0280, 0.0250, 3.0, 0.002),
    }[shape]
    sun = rng.random() < 0.22
    return GlassesPlan(
        frame=frame,  # type: ignore[arg-type]
        half_width_m=width * float(rng.uniform(0.94, 1.06)),
        half_height_m=height * float(rng.uniform(0.92, 1.08)),
        squareness=square,
        cat_eye=cat * float(rng.uniform(0, 1.5)),
        rim_m=float(rng.uniform(0.0014, 0.0030))
        if frame == "acetate"
        else float(rng.uniform(0.0005, 0.0010)),
        frame_linear=colour,
        metallic=metallic,
        tint=_TINTS[int(rng.integers(len(_TINTS)))] if sun else _CLEAR,
        mirror=float(rng.uniform(0.0, 0.25)) if sun else float(rng.uniform(0.0, 0.03)),
    )


def _fabric(rng: np.random.Generator) -> Fabric:
    first, second = (_CLOTHS[int(k)] for k in rng.integers(len(_CLOTHS), size=2))
    pattern = str(_pick(rng, {"plain": 6, "speckle": 2, "stripes": 1.2, "knit": 1.5, "check": 1}))
    vary = np.exp(0.2 * rng.normal(size=3))
    return Fabric(_colour(np.array(first) * vary), second, pattern, float(rng.uniform(0.004, 0.02)))


def _pick(rng: np.random.Generator, table: dict[str, float]) -> str:
    share = np.array(list(table.values()))
    return list(table)[int(rng.choice(len(share), p=share / share.sum()))]


def _colour(values: np.ndarray) -> Colour:  # type: ignore[type-arg]
    r, g, b = np.clip(values, 0.003, 0.8)
    return float(r), float(g), float(b)
