"""Procedural skin on the open head's chart: mottling, moles, pores, brows and cropped hair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps, Materials
from backend.head.base import ParametricHead
from backend.texture.noise import skin_noise
from backend.uvspace.seams import dilate


@dataclass(frozen=True)
class Hair:
    """Painted hair."""

    linear: tuple[float, float, float] = (0.030, 0.019, 0.013)
    brows: float = 0.8  # of the skin that the brows cover
    scalp: bool = True  # cropped hair on the scalp


def paint_skin(
    head: ParametricHead, chart: ChartMaps, albedo: F32, seed: int, hair: Hair | None = None
) -> tuple[Materials, F32]:
    """Skin maps of the chart's size from linear albedo, and where the skin is bare.

    ``albedo`` is per vertex ``(V, 3)``, or a map of the chart's size ``(S, S, 3)``.

    Bare ``(S, S)`` in [0, 1] is 0 under the scalp's hair. Everything random comes from ``seed``.
    """
    rng = np.random.default_rng([seed, 1])

    def spread(values: NDArray[np.floating[Any]]) -> F32:
        corners = np.asarray(values, np.float32)[head.triangles[np.maximum(chart.face_id, 0)]]
        return np.asarray(np.einsum("ijk,ijk...->ij...", chart.barycentric, corners), np.float32)

    def noise(
        *octaves: tuple[float, float], salt: int, stretch: tuple[float, float, float] = (1, 1, 1)
    ) -> F32:
        position = chart.position_head / np.array(stretch, np.float32)
        waves, strengths = zip(*octaves, strict=True)
        return skin_noise(position, chart.inside, waves, strengths, seed * 100 + salt)

    style = hair or Hair()
    skin = spread(albedo) if albedo.ndim == 2 else albedo.astype(np.float32)
    melanin = noise((0.030, 0.08), (0.008, 0.06), (0.0025, 0.06), (0.0012, 0.04), salt=1)
    blood = noise((0.020, 0.10), (0.005, 0.05), salt=2)
    # Blood absorbs green and blue most, melanin the short waves a little more than the long.
    skin *= np.exp(-(melanin[..., None] * [0.7, 1.0, 1.3] + blood[..., None] * [0.1, 0.6, 0.45]))
    face = np.flatnonzero((head.regions["face"] > 0.5) & (head.mean_vertices[:, 2] > 0.02))
    for vertex in rng.choice(face, 26, replace=False):
        radius, strength = rng.uniform(0.0006, 0.0016), rng.uniform(0.15, 0.8)
        near = chart.position_head - chart.position_head[_texel_of(head, chart, int(vertex))]
        spot = strength * np.exp(-((near**2).sum(-1)) / radius**2)
        skin *= np.exp(-spot[..., None] * [0.6, 1.0, 1.3])

    strands = 0.5 + 0.9 * noise((0.0022, 1.0), (0.0011, 0.6), salt=3, stretch=(0.6, 1.0, 1.0))
    hairs = np.clip(0.15 + 0.85 * strands, 0, 1)
    brow = np.clip((spread(head.regions["brows"]) - 0.35) / 0.5, 0, 1) * style.brows * hairs
    edge = 0.25 * noise((0.012, 1.0), (0.004, 0.6), salt=4)
    scalp = np.clip((spread(head.regions["scalp"]) + edge - 0.35) / 0.3, 0, 1) * np.float32(style.scalp)
    crop = scalp * np.clip(0.72 + 0.35 * strands, 0, 0.97)
    hair_linear = np.array(style.linear)
    for cover in (brow, crop):
        skin += cover[..., None] * (hair_linear - skin)

    pores = ((0.0030, 3e-5), (0.0014, 2e-5))
    slopes = []
    for direction in (chart.tangent_head[..., :3], _bitangent(chart)):
        step = 1e-4
        up = skin_noise(
            chart.position_head + np.float32(step) * direction,
            chart.inside,
            tuple(w for w, _ in pores),
            tuple(a for _, a in pores),
            seed * 100 + 5,
        )
        slopes.append((up - noise(*pores, salt=5)) / step)
    normal = np.stack([-slopes[0], -slopes[1], np.ones_like(slopes[0])], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    roughness = 0.50 + 0.08 * noise((0.02, 1.0), salt=6) + 0.25 * crop
    maps = {
        "albedo_linear": np.clip(skin, 0.005, 0.95),
        "normal_tangent": normal,
        "roughness": np.clip(roughness, 0.25, 0.9),
        "specular": np.full_like(roughness, 0.40) * (1 - 0.7 * crop),
    }
    padded = {name: dilate(m.astype(np.float32), chart.inside, 16) for name, m in maps.items()}
    return Materials(**padded, displacement_m=np.zeros_like(roughness)), (1 - scalp).astype(np.float32)


def _texel_of(head: ParametricHead, chart: ChartMaps, vertex: int) -> tuple[int, int]:
    """A texel near ``vertex``."""
    triangle, corner = (int(k[0]) for k in np.nonzero(head.triangles == vertex))
    u, v = head.uvs[head.triangle_uvs[triangle, corner]]
    last = chart.size - 1
    return min(int((1 - v) * chart.size), last), min(int(u * chart.size), last)


def _bitangent(chart: ChartMaps) -> F32:
    across = np.cross(chart.normal_head, chart.tangent_head[..., :3])
    return np.asarray(chart.tangent_head[..., 3:] * across, np.float32)
