"""Which light an instance is in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.artifacts import F64
from backend.shading.environment import Environment
from backend.shading.studio import direction
from backend.training.schema import Light, LightMeta
from synthdata.light.sky import clear_sky
from synthdata.light.studio import random_studio

SHARP: dict[str, Any] = {"rows": 256, "sun_radius_deg": 1.2}  # of a sky's picture
PANORAMA_SHARE = 0.6  # of instances, where there are panoramas


@dataclass(frozen=True)
class LightPlan:
    """A panorama by number, or a light made from ``seed``; turned, scaled and tinted."""

    kind: Light
    panorama: int  # −1: procedural
    seed: int
    turn_degrees: float
    colour: tuple[float, float, float]  # mean 1


def plan_light(rng: np.random.Generator, panoramas: int) -> LightPlan:
    """Drawn from ``rng``; ``panoramas`` is how many there are."""
    draw = rng.random()
    seed = int(rng.integers(1, 2**31))
    turn = float(rng.uniform(0, 360))
    tint = np.exp(0.06 * rng.normal(size=3))
    colour = tuple(float(c) for c in tint / tint.mean())
    share = PANORAMA_SHARE if panoramas else 0.0
    number = int(rng.integers(panoramas)) if panoramas else -1
    if draw < share:
        return LightPlan("panorama", number, seed, turn, (colour[0], colour[1], colour[2]))
    kind: Light = "studio" if draw < share + 0.6 * (1 - share) else "sky"
    return LightPlan(kind, -1, seed, 0.0, (colour[0], colour[1], colour[2]))


def procedural(plan: LightPlan, is_sharp: bool = False) -> Environment:
    """The light of a ``plan`` without a panorama; ``is_sharp``: with a sun small enough for hard shadows."""
    rng = np.random.default_rng([plan.seed, 7])
    if plan.kind == "studio":
        name, light = random_studio(rng)
        return Environment(name, light)
    sun = direction(float(rng.uniform(-180, 180)), float(rng.uniform(6, 70)))
    cover = float(rng.choice((0.0, rng.uniform(0.3, 0.85)), p=(0.35, 0.65)))
    ground = np.exp(0.3 * rng.normal(size=3)) * rng.uniform(0.08, 0.35)
    name = "sun and sky" if cover > 0 else "sky without sun"
    drawn = SHARP if is_sharp else {}
    return Environment(name, clear_sky(sun, float(rng.uniform(2, 7)), cover, ground, **drawn))


def described(plan: LightPlan, name: str, radiance_sh: F64, strength: float) -> LightMeta:
    """What the metadata say. ``radiance_sh`` ``(≥ 9, 3)`` is the light as it shines, turned and scaled."""
    nine = np.asarray(radiance_sh[:9], np.float64)
    grey = nine.mean(1)
    y, z, x = grey[1:4]  # the degree-1 functions in their order
    length = max(float(np.linalg.norm(grey[1:4])), 1e-12)
    return LightMeta(
        kind=plan.kind,
        name=name,
        turn_degrees=plan.turn_degrees,
        strength=strength,
        colour=plan.colour,
        radiance_sh=tuple((float(r), float(g), float(b)) for r, g, b in nine),
        key_azimuth_degrees=float(np.degrees(np.arctan2(x, z))),
        key_elevation_degrees=float(np.degrees(np.arcsin(np.clip(y / length, -1, 1)))),
        # One lamp has degree 1 at √3 times degree 0.
        key_share=float(min(length / (np.sqrt(3) * max(float(grey[0]), 1e-12)), 1.0)),
    )
