"""The shape of a head that no basis holds exactly: modes left out, MakeHuman's shapes, asymmetry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from backend.head.lid_motion import rested_eyes
from backend.texture.noise import skin_noise
from synthdata.cases.case_set import HeadPlan
from synthdata.cases.morphs import Material

F32 = NDArray[np.float32]
KNOWN_SPREAD, HELD_OUT_SPREAD = 0.7, 0.9  # standard deviations; rarer shapes let mouths cross the skin
SHAPES_PER_HEAD = (5, 9)
ASYMMETRY_M = ((0.070, 0.0011), (0.028, 0.0004))  # wavelength and amplitude of the smooth warp


@dataclass(frozen=True)
class HeadShape:
    """Neutral vertices of a head and what they were made of."""

    neutral: F32  # (V, 3) metres, eyes below their lids
    identity: F32  # (V, 3) of it from ICT's modes alone, as offsets
    shapes: dict[str, float]  # MakeHuman's, by weight


def make_shape(plan: HeadPlan, head: ParametricHead, material: Material) -> HeadShape:
    """The neutral head of ``plan``; the same plan and material give the same bytes."""
    rng = np.random.default_rng([plan.seed, 1])
    known, held_out = material.population.kept, material.population.held_out
    identity = np.tensordot(KNOWN_SPREAD * rng.normal(size=len(known)), known, 1)
    identity += np.tensordot(HELD_OUT_SPREAD * rng.normal(size=len(held_out)), held_out, 1)
    chosen = rng.choice(len(material.shapes), rng.integers(*SHAPES_PER_HEAD), replace=False)
    weights = {material.shape_names[k]: float(rng.uniform(0.15, 0.6)) for k in sorted(chosen)}
    offsets = sum(
        weight * material.shapes[material.shape_names.index(name)] for name, weight in weights.items()
    )
    uneven = np.stack([warp(head.mean_vertices, plan.seed + axis) for axis in range(3)], 1)
    neutral = rested_eyes(head, head.mean_vertices + identity + offsets + uneven)
    return HeadShape(neutral, identity.astype(np.float32), weights)


def expressed(head: ParametricHead, neutral: F32, weights: dict[str, float]) -> tuple[F32, F32]:
    """``neutral`` with an expression, ``(V, 3)``, and the weights ``(K_exp,)`` in the head's order."""
    found = np.array([weights.get(name, 0.0) for name in head.expression_names], np.float32)
    return (neutral + np.tensordot(found, head.expression_basis, 1)).astype(np.float32), found


def warp(points: F32, seed: int) -> F32:
    """A smooth field ``(V,)`` in metres that knows no left and right."""
    waves, strengths = zip(*ASYMMETRY_M, strict=True)
    field = skin_noise(points[None], np.ones((1, len(points)), bool), waves, strengths, seed)
    return np.asarray(field[0])
