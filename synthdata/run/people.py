"""Who is photographed: a shape, an expression and a skin, drawn from one number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps, Materials
from backend.colour import linear_to_lab
from backend.export.map_files import displacement_scale
from backend.head.base import ParametricHead
from backend.head.lid_motion import person_vertices
from backend.training.schema import PersonMeta
from backend.uvspace.chart import chart_maps
from synthdata.run.shapes import draw_shape
from synthdata.skin.draw import draw_skin
from synthdata.skin.parameters import SkinParameters, sample_parameters

SKIN = "procedural (docs/skin.md)"
CROPPED_MM = (3.0, 14.0)  # hair that lies on the scalp
_IRIS_SRGB = ((0.30, 0.19, 0.12), (0.36, 0.26, 0.15), (0.36, 0.40, 0.24), (0.35, 0.46, 0.55))
# Expressions that occur together, at full strength; both sides are named once, without Left and Right.
_EXPRESSIONS: tuple[tuple[float, dict[str, float]], ...] = (
    (0.34, {}),
    (0.16, {"mouthSmile": 0.55, "cheekSquint": 0.35, "eyeSquint": 0.2}),
    (0.08, {"mouthSmile": 0.9, "cheekSquint": 0.7, "jawOpen": 0.2, "eyeSquint": 0.4}),
    (0.12, {"jawOpen": 0.35, "mouthFunnel": 0.25, "mouthUpperUp": 0.2}),
    (0.06, {"jawOpen": 0.6, "browInnerUp": 0.6, "browOuterUp": 0.6, "eyeWide": 0.6}),
    (0.06, {"browDown": 0.8, "noseSneer": 0.4, "mouthPress": 0.4, "eyeSquint": 0.3}),
    (0.06, {"mouthFrown": 0.7, "browInnerUp": 0.5, "mouthShrugLower": 0.4}),
    (0.06, {"mouthPucker": 0.7}),
    (0.06, {"eyeBlink": 1.0}),
)
_ASIDE_DEG, _UP_DEG = 30.0, 25.0  # that the eyes turn at weight 1


@dataclass(frozen=True)
class Person:
    """A posed head with its skin."""

    meta: PersonMeta
    vertices_head: F32  # (V, 3) metres
    chart: ChartMaps  # of the posed head
    materials: Materials  # fine relief as normals, coarse as displacement
    relief_tangent: F32  # (S, S, 3) normals of all relief, where nothing is displaced
    bare: F32  # (S, S) in [0, 1], 0 under hair that the maps show
    iris_srgb: tuple[float, float, float]


def person_skin(identity: int, seed: int) -> SkinParameters:
    """The skin of person number ``identity`` of the set of ``seed``, before its hair is settled."""
    return sample_parameters(int(np.random.default_rng([seed, 7, identity]).integers(1, 2**31)))


def cropped(skin: SkinParameters, identity: int, seed: int) -> SkinParameters:
    """``skin`` with hair as short as a map can show it, where nothing grows in strands; some men are bald."""
    rng = np.random.default_rng([seed, 9, identity])
    bald = rng.random() < (0.10 + 0.3 * max(skin.age_years - 40, 0) / 40 if skin.is_male else 0.02)
    return replace(skin, cropped_mm=0.0 if bald else float(rng.uniform(*CROPPED_MM)))


def make_person(
    head: ParametricHead,
    identity: int,
    seed: int,
    texels: int,
    skin: SkinParameters,
    face: NDArray[np.floating[Any]] | None = None,
    expression: Mapping[str, float] | None = None,
) -> Person:
    """Person number ``identity`` of the set of ``seed``; the same numbers give the same bytes.

    ``face`` holds coefficients of the head's modes ``(≤ K_id,)`` and ``expression`` weights by ARKit's names
    to take instead of drawn ones. Drawn lids hang a little.
    """
    rng = np.random.default_rng([seed, 6, identity])
    shape = draw_shape(rng, head, skin.age_years, skin.is_male)
    if face is not None:
        shape = np.asarray(face, np.float64)
    weights = draw_expression(rng, head.expression_names)
    iris = _IRIS_SRGB[int(rng.integers(2 if skin.melanin > 0.08 else len(_IRIS_SRGB)))]
    vary = 0.85 * np.exp(0.06 * rng.normal(size=3))
    relaxed = {f"eyeBlink{side}": float(rng.uniform(0.02, 0.20)) for side in ("Left", "Right")}
    if weights.get("eyeBlinkLeft", 0.0) < 0.5 and weights.get("eyeWideLeft", 0.0) == 0.0:
        lid = min(relaxed.values())  # both lids hang alike
        weights |= {name: lid + 0.15 * (value - lid) for name, value in relaxed.items()}
    if expression is not None:
        weights = dict(expression)
    acted = np.array([weights.get(n, 0.0) for n in head.expression_names], np.float32)
    neutral, vertices = person_vertices(head, shape.astype(np.float32), acted)
    maps = draw_skin(skin, head, texels, neutral, weights)
    chart = chart_maps(head, vertices, texels)
    bare = _bare(head, chart, skin)
    materials = Materials(
        albedo_linear=maps.albedo_linear,
        normal_tangent=maps.normal_tangent,
        roughness=maps.roughness,
        specular=maps.specular,
        displacement_m=maps.displacement_mm * np.float32(1e-3),
    )
    tone, mean = tone_of(materials.albedo_linear[chart.inside & (bare > 0.9)])
    meta = PersonMeta(
        identity=identity,
        seed=seed,
        identity_coefficients=tuple(float(np.float32(c)) for c in shape),
        expression=weights,
        skin=SKIN,
        albedo_coefficients=(),
        tone_ita_degrees=tone,
        mean_albedo_linear=mean,
        displacement_scale_m=displacement_scale(materials.displacement_m),
        age_years=skin.age_years,
        is_male=skin.is_male,
    )
    r, g, b = (float(np.clip(c * f, 0.02, 0.9)) for c, f in zip(iris, vary, strict=True))
    return Person(meta, vertices, chart, materials, maps.relief_tangent, bare, (r, g, b))


def reduced(person: Person, head: ParametricHead, texels: int) -> Person:
    """``person`` with maps of ``texels`` a side: means over the texels that become one."""
    maps = person.materials
    if maps.size == texels:
        return person

    def mean(values: F32) -> F32:
        return np.asarray(cv2.resize(values, (texels, texels), interpolation=cv2.INTER_AREA), np.float32)

    def mean_unit(normal: F32) -> F32:
        found = mean(normal)
        length = np.linalg.norm(found, axis=-1, keepdims=True)
        return np.asarray(found / np.maximum(length, 1e-6), np.float32)

    chart = chart_maps(head, person.vertices_head, texels)
    return replace(
        person,
        chart=chart,
        materials=Materials(
            albedo_linear=mean(maps.albedo_linear),
            normal_tangent=mean_unit(maps.normal_tangent),
            roughness=mean(maps.roughness),
            specular=mean(maps.specular),
            displacement_m=mean(maps.displacement_m),
        ),
        relief_tangent=mean_unit(person.relief_tangent),
        bare=mean(person.bare) * chart.inside,
    )


def _bare(head: ParametricHead, chart: ChartMaps, skin: SkinParameters) -> F32:
    """``(S, S)`` 1 on skin, 0 under hair that the skin's maps show."""
    covered = 0.9 * head.regions["brows"] * min(2 * skin.brows, 1.0)
    if skin.cropped_mm > 0:
        covered = np.maximum(covered, head.regions["scalp"])
    if skin.stubble_mm > 0.6:
        covered = np.maximum(covered, skin.stubble * head.regions["beard"])
    corners = head.triangles[np.maximum(chart.face_id, 0)]
    shown = np.einsum("ijk,ijk->ij", chart.barycentric, covered.astype(np.float32)[corners])
    return np.asarray(np.clip(1 - shown, 0, 1) * chart.inside, np.float32)


def tone_of(skin_linear: F32) -> tuple[float, tuple[float, float, float]]:
    """Individual typology angle of the median, and the mean, of skin's albedo ``(N, 3)``."""
    lightness, _, b = linear_to_lab(np.median(skin_linear, axis=0).astype(np.float64))
    mean = skin_linear.mean(0)
    angle = float(np.degrees(np.arctan2(lightness - 50.0, b)))
    return angle, (float(mean[0]), float(mean[1]), float(mean[2]))


def draw_expression(rng: np.random.Generator, names: tuple[str, ...]) -> dict[str, float]:
    """Weights by ARKit's names: one of the combinations, uneven between the sides, and a gaze."""
    share = np.array([p for p, _ in _EXPRESSIONS])
    chosen = _EXPRESSIONS[int(rng.choice(len(share), p=share / share.sum()))][1]
    strength, uneven = rng.uniform(0.5, 1.0), rng.uniform(0, 0.25)
    found: dict[str, float] = {}
    for name, weight in chosen.items():
        if name == "eyeBlink":  # lids close together, and wholly
            found |= {f"{name}{side}": weight for side in ("Left", "Right")}
            continue
        for side in ("Left", "Right"):
            found[f"{name}{side}"] = weight * strength * float(1 + uneven * rng.uniform(-1, 1))
        found[name] = weight * strength
    aside, up = 9.0 * rng.normal(), 6.0 * rng.normal()  # degrees, to the subject's left and up
    out = {True: ("eyeLookOutLeft", "eyeLookInRight"), False: ("eyeLookInLeft", "eyeLookOutRight")}
    for name in out[bool(aside > 0)]:
        found[name] = abs(aside) / _ASIDE_DEG
    for name in (f"eyeLook{'Up' if up > 0 else 'Down'}{side}" for side in ("Left", "Right")):
        found[name] = abs(up) / _UP_DEG
    return {n: float(min(w, 1.0)) for n, w in found.items() if n in names and w > 0}
