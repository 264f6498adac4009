"""The skin of a made-up head: MakeHuman's painted detail at a wanted tone, spots, make-up, folds, pores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backend.artifacts import F32, ChartMaps, Materials
from backend.colour import linear_to_lab
from backend.head.base import ParametricHead
from backend.texture.noise import skin_noise
from backend.uvspace.chart import chart_maps, tangent_to_head, unit_or_zero
from backend.uvspace.seams import dilate
from synthdata.cases.case_set import HeadPlan
from synthdata.cases.morphs import CHART, Material
from synthdata.headmodel.albedo import BLOOD, MELANIN, skin_colour
from synthdata.painted_skin import Hair, paint_skin

STEP_M = 1e-4  # of the finite differences that make normals from heights


@dataclass(frozen=True)
class Skin:
    """Maps of CHART texels a side on the head's chart."""

    materials: Materials  # displacement holds the coarse relief, the normal map the fine one: never both
    relief_tangent: F32  # (S, S, 3) normals of both together, which the photograph shows
    bare: F32  # (S, S) 0 under painted hair


def make_skin(plan: HeadPlan, head: ParametricHead, neutral: F32, material: Material) -> Skin:
    """The skin of ``plan`` on the neutral head ``(V, 3)``; the same input gives the same bytes."""
    chart = chart_maps(head, neutral, CHART)
    rng = np.random.default_rng([plan.seed, 2])
    spread = _Spread(head, chart)
    tone = skin_colour(plan.luminance, plan.chroma_shift_ab)
    log = np.float32(0.9) * material.skin_details[plan.skin].astype(np.float32)
    log = log - _spots(plan, chart, spread, rng)[..., None] * np.float32(MELANIN)
    blood = (
        rng.uniform(0.3, 0.7) * spread("lips")
        + max(rng.normal(0.10, 0.08), 0.0) * spread("cheeks")
        + max(rng.normal(0.10, 0.06), 0.0) * spread("nose")
        + 0.15 * spread("ears")
    )
    albedo = (tone * np.exp(log - blood[..., None] * BLOOD)).astype(np.float32)
    albedo = _make_up(plan, albedo, spread, rng)
    # Brows are darker than the hair of the head, and strands lie over a scalp that shows through.
    linear = tuple(0.45 * c for c in plan.hair_linear)
    hair = Hair((linear[0], linear[1], linear[2]), float(rng.uniform(0.55, 0.8)), plan.hair != "bald")
    painted, bare = paint_skin(head, chart, np.clip(albedo, 0.004, 0.9), plan.seed, hair)
    fine = painted.normal_tangent
    height = _relief(plan, chart, spread)
    coarse = _normals(chart, height)
    relief = fine * coarse[..., 2:] + np.stack(
        [coarse[..., 0], coarse[..., 1], np.zeros_like(coarse[..., 0])], -1
    )
    shine = spread("nose") + 0.7 * spread("forehead")
    roughness = painted.roughness - (0.10 * shine + 0.12 * spread("lips")) + np.float32(rng.normal(0, 0.04))
    specular = painted.specular * (0.85 + 0.25 * shine) * (1 - 0.35 * spread("eyelids"))
    padded = {
        name: dilate(values.astype(np.float32), chart.inside, 16)
        for name, values in {
            "roughness": np.clip(roughness, 0.25, 0.85),
            "specular": np.clip(specular, 0.05, 0.7),
            "displacement_m": height(chart.position_head),
            "relief": unit_or_zero(relief),
        }.items()
    }
    relief_tangent = padded.pop("relief")
    made = Materials(albedo_linear=painted.albedo_linear, normal_tangent=fine, **padded)
    return Skin(made, relief_tangent, bare)


def relief_in_head(head: ParametricHead, vertices: F32, relief_tangent: F32) -> F32:
    """Unit head-space normals ``(S, S, 3)`` of ``relief_tangent`` on the photographed ``vertices``."""
    chart = chart_maps(head, vertices, len(relief_tangent))
    normal = tangent_to_head(chart.normal_head, chart.tangent_head, relief_tangent)
    return dilate(normal, chart.inside, 16)


def tone_ita_degrees(head: ParametricHead, skin: Skin) -> float:
    """Individual typology angle of the median albedo of cheeks and forehead."""
    chart = chart_maps(head, head.mean_vertices, CHART)
    spread = _Spread(head, chart)
    plain = (np.maximum(spread("cheeks"), spread("forehead")) > 0.5) & (skin.bare > 0.9) & chart.inside
    colour = np.median(skin.materials.albedo_linear[plain], axis=0)
    lightness, _, b = linear_to_lab(colour.astype(np.float64))
    return float(np.degrees(np.arctan2(lightness - 50.0, b)))


class _Spread:
    """Values of regions on the chart, by name."""

    def __init__(self, head: ParametricHead, chart: ChartMaps) -> None:
        self._regions = head.regions
        self._corners = head.triangles[np.maximum(chart.face_id, 0)]
        self._weight = chart.barycentric

    def __call__(self, region: str) -> F32:
        values = self._regions[region].astype(np.float32)
        return np.asarray(np.einsum("ijk,ijk->ij", self._weight, values[self._corners]), np.float32)


def _spots(plan: HeadPlan, chart: ChartMaps, spread: _Spread, rng: np.random.Generator) -> F32:
    """Melanin of freckles: small round spots, densest on nose and cheeks."""
    out = np.zeros(chart.inside.shape, np.float32)
    if plan.freckles == 0:
        return out
    where = np.clip(spread("nose") + spread("cheeks") + 0.25 * spread("forehead"), 0, 1) * chart.inside
    texels = np.flatnonzero(where.ravel() > 0)
    share = where.ravel()[texels] / where.ravel()[texels].sum()
    size = len(out)
    for texel in rng.choice(texels, int(500 * plan.freckles), p=share):
        row, column = divmod(int(texel), size)
        radius, strength = rng.uniform(0.0004, 0.0012), plan.freckles * rng.uniform(0.08, 0.35)
        window = np.s_[max(row - 12, 0) : row + 13, max(column - 12, 0) : column + 13]
        gap = ((chart.position_head[window] - chart.position_head[row, column]) ** 2).sum(-1)
        out[window] = np.maximum(out[window], strength * np.exp(-gap / radius**2))
    return out


def _make_up(plan: HeadPlan, albedo: F32, spread: _Spread, rng: np.random.Generator) -> F32:
    """Lipstick, eye shadow and blush: pigments that cover part of the skin."""
    if plan.makeup == 0:
        return albedo
    reds = ((0.30, 0.02, 0.03), (0.26, 0.05, 0.06), (0.20, 0.015, 0.05), (0.35, 0.10, 0.07))
    shadows = ((0.06, 0.04, 0.04), (0.05, 0.07, 0.12), (0.14, 0.08, 0.05))
    lips, shadow = (
        np.array(reds[rng.integers(len(reds))], np.float32),
        np.array(shadows[rng.integers(len(shadows))], np.float32),
    )
    for cover, pigment in (
        (0.75 * spread("lips"), lips * np.float32(0.6 + plan.luminance)),
        (0.35 * spread("eyelids") * (1 - spread("brows")), shadow),
        (0.18 * spread("cheeks"), np.float32(0.5) * lips + np.float32(0.5) * albedo.mean((0, 1))),
    ):
        albedo = albedo + np.float32(plan.makeup) * cover[..., None] * (pigment - albedo)
    return albedo.astype(np.float32)


def _relief(plan: HeadPlan, chart: ChartMaps, spread: _Spread) -> Callable[[F32], F32]:
    """Coarse heights in metres at positions on the chart: unevenness, and folds of the forehead with age."""
    inside = chart.inside
    soft = inside.astype(np.float32) * (1 - 0.7 * spread("lips")) * (1 - spread("nostrils"))
    soft *= 1 - 0.8 * spread("eyelids")
    folds = plan.age * spread("forehead")
    amount = np.float32(1e-4 * (0.6 + 0.8 * plan.age))

    def height(position: F32) -> F32:
        uneven = skin_noise(position, inside, (0.011, 0.0055), (1.0, 0.6), plan.seed % 9973 + 11)
        lines = skin_noise(
            position / np.array((7, 1, 7), np.float32), inside, (0.007,), (1.0,), plan.seed % 9973
        )
        # Folds are narrow valleys between broad ridges.
        return np.asarray(soft * amount * uneven - folds * np.float32(3e-4) * np.exp(-((lines / 0.16) ** 2)))

    return height


def _normals(chart: ChartMaps, height: Callable[[F32], F32]) -> F32:
    """Tangent-space normals ``(S, S, 3)`` of a height field on the surface."""
    across = chart.tangent_head[..., :3]
    along = chart.tangent_head[..., 3:] * np.cross(chart.normal_head, across)
    here = height(chart.position_head)
    slopes = [
        (height((chart.position_head + np.float32(STEP_M) * direction).astype(np.float32)) - here) / STEP_M
        for direction in (across, along)
    ]
    return unit_or_zero(np.stack([-slopes[0], -slopes[1], np.ones_like(here)], -1))
