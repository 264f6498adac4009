"""Random people: shapes beyond the head's own basis, expressions, skins, hair that hides the forehead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.colour import LUMINANCE_REC709
from backend.head.base import ParametricHead
from backend.texture.noise import skin_noise
from backend.uvspace.normals import vertex_normals
from backend.uvspace.sampling import sample_chart
from synthdata.cases.case_set import plan_heads
from synthdata.cases.heads import warp
from synthdata.cases.morphs import prepared
from synthdata.cases.skins import make_skin

SKIN_SEED = 4177  # not the evaluation set's
SKINS = 10
FIELDS = 40  # smooth warps that people are mixed from
TONES = (0.03, 0.5)  # luminance of the darkest and lightest skin
_EXPRESSIONS: tuple[dict[str, float], ...] = (
    {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4},
    {"browInnerUp": 0.6, "browOuterUpLeft": 0.4, "browOuterUpRight": 0.4},
    {"browDownLeft": 0.6, "browDownRight": 0.6},
    {"mouthPucker": 0.5},
    {"jawOpen": 0.3},
    {"eyeSquintLeft": 0.5, "eyeSquintRight": 0.5},
    {"mouthFrownLeft": 0.4, "mouthFrownRight": 0.4},
    {"eyeBlinkLeft": 0.4, "eyeBlinkRight": 0.4},
    {"mouthPressLeft": 0.4, "mouthPressRight": 0.4},
    {"mouthStretchLeft": 0.4, "mouthStretchRight": 0.4},
    {"noseSneerLeft": 0.4, "noseSneerRight": 0.4},
    {"jawOpen": 0.15, "mouthSmileLeft": 0.8, "mouthSmileRight": 0.8},
    {"mouthUpperUpLeft": 0.4, "mouthUpperUpRight": 0.4},
    {"mouthLowerDownLeft": 0.4, "mouthLowerDownRight": 0.4},
)


@dataclass(frozen=True)
class Person:
    """One drawn face."""

    neutral: F32  # (V, 3) metres, bald: what is to be told from the picture
    vertices: F32  # (V, 3) with expression; what is drawn has hair besides
    drawn: F32  # (V, 3)
    albedo: F32  # (V, 3) linear
    roughness: float
    specular: float
    iris_srgb: F32  # (3,)


class Crowd:
    """Draws people of ``head`` with skins of MakeHuman's (CC0) from the folder of shared ``data``."""

    def __init__(self, head: ParametricHead, data: Path, material: Path) -> None:
        self._head = head
        self._skins = _vertex_skins(head, data, material)
        stack = [
            np.stack([warp(head.mean_vertices, 7000 + 3 * k + a) for a in range(3)], 1) for k in range(FIELDS)
        ]
        self._fields = np.asarray(stack, np.float32)
        self._mirrored = self._fields[:, head.mirror_vertex] * np.array([-1, 1, 1], np.float32)
        region = head.regions
        self._plain = region["face"] * (1 - region["lips"]) * (1 - region["brows"])
        self._on_skin = np.zeros(len(head.mean_vertices), bool)
        self._on_skin[np.unique(head.triangles[head.triangle_part == 0])] = True

    def draw(self, rng: np.random.Generator) -> Person:
        """The next person."""
        neutral = self._shape(rng)
        vertices = (neutral + self._expression(rng)).astype(np.float32)
        albedo = self._albedo(rng)
        drawn = self._with_hair(vertices, albedo, rng)
        iris = np.array([0.33, 0.24, 0.16]) + rng.uniform(0, 1) * np.array([0.02, 0.20, 0.36])
        return Person(
            neutral=neutral,
            vertices=vertices,
            drawn=drawn,
            albedo=albedo,
            roughness=float(rng.uniform(0.3, 0.65)),
            specular=float(rng.uniform(0.15, 0.6)),
            iris_srgb=np.asarray(iris * rng.uniform(0.7, 1.2), np.float32),
        )

    def _shape(self, rng: np.random.Generator) -> F32:
        head = self._head
        amount = np.asarray(
            rng.choice([0.7, 1.0, 1.25]) * rng.normal(size=len(head.identity_basis)), np.float32
        )
        chosen = rng.choice(FIELDS, 4, replace=False)
        even = np.asarray(rng.normal(size=4) * 0.45, np.float32)
        odd = np.asarray(rng.normal(size=4) * 0.4, np.float32)
        field, other = self._fields[chosen], self._mirrored[chosen]
        moved = np.tensordot(even + odd, field, 1) + np.tensordot(even - odd, other, 1)
        return np.asarray(
            head.mean_vertices + np.tensordot(amount, head.identity_basis, 1) + moved, np.float32
        )

    def _expression(self, rng: np.random.Generator) -> F32:
        head = self._head
        weights = np.zeros(len(head.expression_names), np.float32)
        for _ in range(rng.integers(0, 3)):
            side = rng.uniform(0.7, 1.0, 2)
            for name, weight in _EXPRESSIONS[rng.integers(len(_EXPRESSIONS))].items():
                one = side[0] if name.endswith("Left") else side[1] if name.endswith("Right") else 1.0
                weights[head.expression_names.index(name)] += weight * one * rng.uniform(0.2, 1.3)
        aside, up = rng.normal(size=2) * 0.15
        for name, weight in (
            *(("eyeLookInLeft", aside), ("eyeLookOutRight", aside), ("eyeLookOutLeft", -aside)),
            *(("eyeLookInRight", -aside), ("eyeLookUpLeft", up), ("eyeLookUpRight", up)),
            *(("eyeLookDownLeft", -up), ("eyeLookDownRight", -up)),
        ):
            weights[head.expression_names.index(name)] = max(weight, 0.0)
        weights = np.clip(weights, 0, 1)
        used = np.flatnonzero(weights)
        moved = np.tensordot(weights[used], head.expression_basis[used], 1)
        if len(head.correctives):
            moved = moved + head.correctives.moved(weights, len(moved))
        return np.asarray(moved, np.float32)

    def _albedo(self, rng: np.random.Generator) -> F32:
        head, region = self._head, self._head.regions
        albedo = self._skins[rng.integers(len(self._skins))].copy()
        plain = self._plain > 0.5
        mean = albedo[plain].mean(0)
        low, high = (v ** (1 / 3) for v in TONES)
        wanted = float(rng.uniform(low, high)) ** 3
        # Towards the wanted lightness along the skin's own contrast, with some of the hue's freedom.
        gain = wanted / float(mean @ LUMINANCE_REC709) * np.exp(rng.normal(0, 0.08, 3))
        skin = self._on_skin[:, None]
        albedo = np.where(skin, albedo * gain.astype(np.float32), head.albedo_mean)
        albedo = np.where(skin, mean * gain * (albedo / (mean * gain)) ** rng.uniform(0.6, 1.4), albedo)
        blotch = _noise(head.mean_vertices, rng, (0.03, 0.008), (0.10, 0.06))
        albedo *= np.exp(rng.uniform(0, 1.5) * blotch)[:, None]
        brow = rng.uniform(-0.5, 1.2) * region["brows"]
        beard = np.zeros_like(brow)
        if rng.random() < 0.3:
            patchy = _noise(head.mean_vertices, rng, (0.02,), (0.5,))
            beard = rng.uniform(0.3, 2.0) * region["beard"] * np.clip(1 + patchy, 0.3, 1.5)
        lips = rng.uniform(-0.1, 0.6) * region["lips"]
        albedo *= np.exp(-np.asarray(np.maximum(brow, beard), np.float32))[:, None]
        albedo *= np.exp(-lips[:, None] * np.array([0.2, 0.9, 0.7], np.float32))
        return np.asarray(np.clip(albedo, 0.004, 0.9), np.float32)

    def _with_hair(self, vertices: F32, albedo: F32, rng: np.random.Generator) -> F32:
        """``vertices`` with a cap of hair or cloth in some; ``albedo`` is painted in place."""
        head = self._head
        if rng.random() < 0.25:
            return vertices
        p = head.mean_vertices
        scalp = head.regions["scalp"].astype(np.float32)
        ragged = _noise(p, rng, (0.03, 0.01), (0.5, 0.3))
        brow_y = float(p[head.regions["brows"] > 0.5, 1].max())
        above = np.zeros_like(scalp)
        if rng.random() < 0.5:  # a fringe, a cap or a hat that comes down over the forehead
            line = brow_y + rng.uniform(-0.005, 0.06) + rng.uniform(-0.6, 0.6) * p[:, 0] + 0.012 * ragged
            above = np.clip((p[:, 1] - line) / 0.006, 0, 1).astype(np.float32)
        behind = np.zeros_like(scalp)
        if rng.random() < 0.4:  # down the sides of the face
            edge = rng.uniform(-0.02, 0.03) + 0.012 * ragged
            behind = np.clip((edge - p[:, 2]) / 0.008, 0, 1).astype(np.float32)
            behind = np.where(p[:, 1] > brow_y - rng.uniform(0.05, 0.3), behind, 0)
        on_scalp = np.clip(2 * scalp + 0.3 * ragged, 0, 1) * (scalp > 0.02)
        cover = np.clip(np.maximum(np.maximum(on_scalp, above), behind), 0, 1)
        cover = np.where(self._on_skin, cover, 0).astype(np.float32)
        light = np.exp(rng.uniform(np.log(0.006), np.log(0.3)))
        colour = light * np.array([1.0, 0.65, 0.42]) ** rng.uniform(0, 1)
        if rng.random() < 0.15:
            colour = rng.uniform(0.02, 0.6, 3)
        strands = np.exp(_noise(p * [3.0, 0.7, 1.0], rng, (0.012, 0.004), (0.5, 0.4)))[:, None]
        albedo[:] = albedo * (1 - cover[:, None]) + cover[:, None] * np.clip(colour * strands, 0.003, 0.9)
        thick = rng.uniform(0.001, 0.02) * np.clip(cover * 1.3, 0, 1) * (1 + 0.4 * ragged)
        return np.asarray(vertices + thick[:, None] * vertex_normals(vertices, head.triangles), np.float32)


def _noise(
    points: NDArray[np.floating[Any]],
    rng: np.random.Generator,
    waves: tuple[float, ...],
    strength: tuple[float, ...],
) -> F32:
    p = np.ascontiguousarray(points, np.float32)[None]
    return np.asarray(
        skin_noise(p, np.ones(p.shape[:2], bool), waves, strength, int(rng.integers(1, 2**30)))[0]
    )


def _vertex_skins(head: ParametricHead, data: Path, material: Path) -> F32:
    """``(SKINS, V, 3)`` linear albedo of painted skins at the vertices."""
    made = prepared(data, material)
    uv = np.zeros((len(head.mean_vertices), 2), np.float32)
    skin = head.triangle_part == 0
    uv[head.triangles[skin]] = head.uvs[head.triangle_uvs[skin]]
    out = [
        sample_chart(make_skin(plan, head, head.mean_vertices, made).materials.albedo_linear, uv)
        for plan in plan_heads(SKINS, SKIN_SEED)
    ]
    return np.asarray(out, np.float32)
