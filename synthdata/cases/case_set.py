"""The seeded set: 12 heads × 5 conditions. What everything is drawn from; no arrays, no Blender."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

SEED = 20260
HEADS = 12
CONDITIONS = ("front", "turned", "side_light", "low_resolution", "close")
# Blender's own HDRIs light the photographs, the given ones the relit truth; no light is in both.
PHOTO_HDRIS = ("city.exr", "courtyard.exr", "forest.exr", "interior.exr", "studio.exr", "sunrise.exr")
HARD_HDRIS = ("sunset.exr", "sunrise.exr", "courtyard.exr", "studio.exr")

Hair = Literal["bald", "cropped", "short", "long"]
Cover = Literal["", "hat", "hand"]  # what hides part of the head besides hair and glasses
COVERS: tuple[Cover, ...] = ("hat", "hand")
_HAIR: tuple[Hair, ...] = ("short", "cropped", "long", "short", "bald", "short")
_LUMINANCE = (0.025, 0.52)  # of the darkest and the lightest skin
_HAIR_LINEAR = ((0.008, 0.006, 0.005), (0.030, 0.017, 0.010), (0.075, 0.042, 0.022), (0.26, 0.17, 0.085))
_IRIS_SRGB = ((0.30, 0.19, 0.12), (0.36, 0.26, 0.15), (0.36, 0.40, 0.24), (0.35, 0.46, 0.55))
_EXPRESSIONS: tuple[dict[str, float], ...] = (
    {"mouthSmileLeft": 0.55, "mouthSmileRight": 0.5, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.35},
    {"browInnerUp": 0.6, "browOuterUpLeft": 0.4, "browOuterUpRight": 0.35, "mouthStretchLeft": 0.2},
    {"browDownLeft": 0.6, "browDownRight": 0.6, "noseSneerLeft": 0.3, "mouthPressLeft": 0.3},
    {"mouthPucker": 0.5, "eyeSquintLeft": 0.3, "eyeSquintRight": 0.3},
)
# What faces do after their photograph was taken. Lips stay closed: the set has no teeth.
_MOVED: tuple[dict[str, float], ...] = (
    {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.75, "cheekSquintLeft": 0.6, "cheekSquintRight": 0.6},
    {"browInnerUp": 0.9, "browOuterUpLeft": 0.8, "browOuterUpRight": 0.8, "eyeWideLeft": 0.4},
    {"browDownLeft": 0.9, "browDownRight": 0.9, "noseSneerLeft": 0.5, "mouthFrownLeft": 0.6},
    {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0, "mouthPucker": 0.6},
    {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.7, "mouthSmileLeft": 0.7, "mouthLeft": 0.4},
)


@dataclass(frozen=True)
class HeadPlan:
    """Who is photographed. Shape, spots and strands follow from ``seed``."""

    index: int
    seed: int
    luminance: float  # of the skin's albedo
    chroma_shift_ab: tuple[float, float]
    skin: int  # which of MakeHuman's skins gives the detail
    age: float  # [0, 1]: wrinkles
    freckles: float  # [0, 1]
    makeup: float  # [0, 1]: lips, lids and cheeks
    hair: Hair
    hair_linear: tuple[float, float, float]
    iris_srgb: tuple[float, float, float]
    has_glasses: bool


@dataclass(frozen=True)
class CasePlan:
    """One photograph of a head."""

    id: str
    head: HeadPlan
    condition: str
    yaw_degrees: float  # of the camera, towards the subject's left
    pitch_degrees: float
    distance_m: float
    frame_m: float  # height of the scene in the picture, at the head
    size_share: float  # of the set's picture size
    jpeg_quality: int | None  # None: PNG
    expression: dict[str, float]
    hdri: str
    light_azimuth_degrees: float  # where the brightest side of the light is put; 0 before the face
    bright_skin: float  # linear luminance that the brightest twentieth of the skin is exposed to
    seed: int
    cover: Cover = ""
    novel_expression: dict[str, float] = field(default_factory=dict)  # of the face that moved after the photo


def plan_heads(count: int = HEADS, seed: int = SEED) -> tuple[HeadPlan, ...]:
    """The first ``count`` heads; each is the same whatever ``count`` is."""
    ranks = np.random.default_rng([seed, 0]).permutation(HEADS)
    return tuple(_head(index, int(ranks[index % HEADS]), seed) for index in range(count))


def _head(index: int, rank: int, seed: int) -> HeadPlan:
    rng = np.random.default_rng([seed, 1, index])
    # Even steps of lightness rather than of luminance: tones are told apart by eye.
    low, high = (v ** (1 / 3) for v in _LUMINANCE)
    luminance = (low + (high - low) * (rank + 0.5) / HEADS) ** 3
    is_dark = luminance < 0.12
    hair = int(rng.integers(0, 2)) if luminance < 0.2 else int(rng.integers(0, 4))
    iris = int(rng.integers(0, 2)) if luminance < 0.2 else int(rng.integers(0, 4))
    return HeadPlan(
        index=index,
        seed=int(rng.integers(1, 2**31)),
        luminance=float(luminance),
        chroma_shift_ab=(float(rng.normal(0, 1.0)), float(rng.normal(0, 1.3))),
        skin=int(rng.choice((0, 4, 5))) if is_dark else int(rng.choice((1, 2, 3, 6, 7, 8, 9))),
        age=float(rng.beta(1.2, 1.8)),
        freckles=float(rng.uniform(0.4, 1.0)) if luminance > 0.25 and rng.random() < 0.5 else 0.0,
        makeup=float(rng.uniform(0.4, 1.0)) if rng.random() < 0.35 else 0.0,
        hair=_HAIR[index % len(_HAIR)],
        hair_linear=_HAIR_LINEAR[hair],
        iris_srgb=_IRIS_SRGB[iris],
        has_glasses=index % 4 == 3,
    )


def plan_case(head: HeadPlan, condition: str, seed: int = SEED, cover: Cover = "") -> CasePlan:
    """The photograph of ``head`` under ``condition`` (one of CONDITIONS), with ``cover`` if that is not "".

    A cover changes nothing else: both photographs show the same head from the same place in the same light.
    """
    number = CONDITIONS.index(condition)
    rng = np.random.default_rng([seed, 2, head.index, number])
    side = float(rng.choice((-1.0, 1.0)))
    yaw = side * rng.uniform(30, 45) if condition == "turned" else rng.uniform(-6, 6)
    is_close, is_hard = condition == "close", condition == "side_light"
    expression = {"mouthSmileLeft": float(rng.uniform(0, 0.25))}
    expression["mouthSmileRight"] = expression["mouthSmileLeft"] * float(rng.uniform(0.8, 1.2))
    if is_close:
        expression = dict(_EXPRESSIONS[int(rng.integers(0, len(_EXPRESSIONS)))])
    moved = np.random.default_rng([seed, 3, head.index, number]).integers(len(_MOVED))
    return CasePlan(
        id=f"head{head.index + 1:02d}_{condition}" + (f"_{cover}" if cover else ""),
        head=head,
        condition=condition,
        yaw_degrees=float(yaw),
        pitch_degrees=float(rng.uniform(-4, 8)),
        distance_m=float(rng.uniform(0.34, 0.42) if is_close else rng.uniform(0.9, 1.6)),
        frame_m=float(rng.uniform(0.33, 0.37) if is_close else rng.uniform(0.29, 0.33)),
        size_share=1 / 3 if condition == "low_resolution" else 1.0,
        jpeg_quality=int(rng.integers(30, 55)) if condition == "low_resolution" else None,
        expression=expression,
        hdri=str(rng.choice(HARD_HDRIS if is_hard else PHOTO_HDRIS)),
        light_azimuth_degrees=float(side * rng.uniform(80, 105) if is_hard else rng.uniform(-50, 50)),
        bright_skin=float(rng.uniform(0.75, 1.05) * _exposed(head.luminance)),
        seed=int(rng.integers(1, 2**31)),
        cover=cover,
        novel_expression=dict(_MOVED[int(moved)]),
    )


def _exposed(luminance: float) -> float:
    """A camera lifts dark skin, but not to the brightness of light skin."""
    return float(0.55 * (luminance / _LUMINANCE[1]) ** 0.33)
