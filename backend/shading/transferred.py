"""Radiance of a head's texels or pixels under an environment, from its transfer: torch, CPU or GPU.

Diffuse: the transfer's irradiance, interpolated from the vertices, times what bumps change of the unshadowed
irradiance. Specular: split-sum GGX (``shading.prefilter``) times the share of the lobe that sees the sky.
An environment is turned by turning what is looked up, so that one prefiltered panorama serves all turns.
Everything is linear light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.artifacts import F64, ChartMaps, Materials
from backend.shading import harmonics
from backend.shading.environment import Environment
from backend.shading.prefilter import brdf_table
from backend.shading.transfer import Transfer
from backend.uvspace.chart import tangent_to_head

# Bumps may brighten or darken up to this: beyond, the unshadowed light says nothing about the shadowed.
_MOST_BUMP = 3.0
# Costs 0.3 dB against Cycles under the hardest of five panoramas, nothing under the others.
_WINDOW = 1e-4


@dataclass(frozen=True)
class HeadLight:
    """A posed head's transfer on a device."""

    normal: Tensor  # (V, 3) unit, smooth
    position: Tensor  # (V, 3) metres
    direct: Tensor  # (V, K)
    bounce: Tensor  # (V, K')
    visibility: Tensor  # (V, K'')
    bounce_albedo: Tensor  # (3,) linear, of what reflects onto the head


@dataclass(frozen=True)
class Surface:
    """N points of a head: texels of its chart or pixels of a view."""

    corners: Tensor  # (N, 3) vertices of the triangle that the point lies on
    weights: Tensor  # (N, 3) barycentric
    position: Tensor  # (N, 3) metres
    normal: Tensor  # (N, 3) unit, normal map applied
    smooth_normal: Tensor  # (N, 3) unit
    albedo_linear: Tensor  # (N, 3)
    roughness: Tensor  # (N,) perceptual
    specular: Tensor  # (N,) F0 = 0.08·specular


@dataclass(frozen=True)
class SkyLight:
    """An environment on a device, ready for lookups."""

    radiance_sh: Tensor  # (K, 3), unturned
    irradiance: Tensor  # (1, 3, 1, h, w + 2) lat-long with a column of the other end at either side
    specular: Tensor  # (1, 3, R, h, w + 2)
    roughness: Tensor  # (R,) of each level
    table: Tensor  # (1, 2, 32, 32) split-sum A and B over roughness (columns) and n·v (rows)


def head_light(
    transfer: Transfer,
    vertices_head: NDArray[np.floating[Any]],
    normals: NDArray[np.floating[Any]],
    bounce_albedo_linear: NDArray[np.floating[Any]],
    device: str = "cpu",
) -> HeadLight:
    """``vertices_head`` and unit ``normals`` are ``(V, 3)``, ``bounce_albedo_linear`` ``(3,)``."""
    return HeadLight(
        *(
            _tensor(values, device)
            for values in (
                normals,
                vertices_head,
                transfer.direct,
                transfer.bounce,
                transfer.visibility,
                bounce_albedo_linear,
            )
        )
    )


def chart_surface(
    chart: ChartMaps, triangles: NDArray[np.int32], materials: Materials, device: str = "cpu"
) -> Surface:
    """The texels inside the chart, row by row; ``triangles`` ``(T, 3)`` are the head's."""
    inside = chart.inside
    normal = tangent_to_head(chart.normal_head, chart.tangent_head, materials.normal_tangent)
    return Surface(
        torch.as_tensor(triangles[chart.face_id[inside]].astype(np.int64), device=device),
        *(
            _tensor(values[inside], device)
            for values in (
                chart.barycentric,
                chart.position_head,
                normal,
                chart.normal_head,
                materials.albedo_linear,
                materials.roughness,
                materials.specular,
            )
        ),
    )


def sky_light(environment: Environment, degree: int, device: str = "cpu") -> SkyLight:
    """``degree`` is that of the transfers it will light."""
    light = environment.prefiltered
    radiance_sh = _windowed(harmonics.project(environment.radiance, degree))
    return SkyLight(
        _tensor(radiance_sh, device),
        _tensor(_wrapped(light.irradiance[None]), device),
        _tensor(_wrapped(light.specular), device),
        _tensor(light.roughness, device),
        _tensor(brdf_table().transpose(2, 0, 1)[None], device),
    )


def white_light(degree: int, device: str = "cpu") -> SkyLight:
    """Radiance 1 from everywhere: the light of T_hom."""
    even = Environment("even white light", np.ones((32, 64, 3), np.float32))
    return sky_light(even, degree, device)


def shade(
    surface: Surface, head: HeadLight, light: SkyLight, eye_head: Tensor | None, turn_degrees: float = 0.0
) -> Tensor:
    """Radiance ``(N, 3)`` towards ``eye_head`` ``(3,)`` metres; without one, along each point's normal.

    ``turn_degrees`` turns the surroundings right-handed about +Y (``latlong.rotate``).
    """
    diffuse = diffuse_irradiance(surface, head, light, turn_degrees) * surface.albedo_linear / math.pi
    towards = surface.normal if eye_head is None else _unit(eye_head - surface.position)
    n_v = (surface.normal * towards).sum(-1).clamp(0, 1)
    # A bumped normal may look away from the eye; the mirror direction is then straight on.
    mirrored = 2 * n_v[:, None] * surface.normal - towards
    blurred = _at_level(light, _turned(mirrored, turn_degrees), surface.roughness)
    where = torch.stack([surface.roughness, n_v], -1) * 2 - 1
    factors = torch.nn.functional.grid_sample(
        light.table, where[None, None], padding_mode="border", align_corners=False
    )[0, :, 0]
    f0 = 0.08 * surface.specular
    shine = f0 * factors[0] + (25 * f0).clamp_max(1) * factors[1]
    return diffuse + blurred * (shine * _sky_share(surface, head, eye_head))[:, None]


def diffuse_irradiance(surface: Surface, head: HeadLight, light: SkyLight, turn_degrees: float) -> Tensor:
    """Irradiance ``(N, 3)``, shadowed, with the bounce."""
    reach = head.direct.shape[1]
    turn = harmonics.about_y(harmonics.degree_of(reach), turn_degrees)
    radiance_sh = _tensor(turn, str(light.radiance_sh.device)) @ light.radiance_sh[:reach]
    onto = head.direct @ radiance_sh
    onto = onto + head.bounce @ (radiance_sh[: head.bounce.shape[1]] * head.bounce_albedo)
    smooth = _looked_up(light.irradiance, _turned(surface.smooth_normal, turn_degrees))
    bumped = _looked_up(light.irradiance, _turned(surface.normal, turn_degrees))
    change = (bumped / smooth.clamp_min(1e-6)).clamp(1 / _MOST_BUMP, _MOST_BUMP)
    return _interpolated(surface, onto.clamp_min(0)) * change


def _windowed(radiance_sh: F64) -> F64:
    """Less of the high degrees, so that the shadow of a hard lamp does not ring (Sloan, "Stupid Spherical
    Harmonics Tricks", 2008: the smallest squared Laplacian)."""
    of = harmonics.degrees(harmonics.degree_of(len(radiance_sh)))
    return np.asarray(radiance_sh / (1 + _WINDOW * (of * (of + 1.0)) ** 2)[:, None])


def _sky_share(surface: Surface, head: HeadLight, eye_head: Tensor | None) -> Tensor:
    """Share ``(N,)`` of the lobe that sees past the head: smooth, so found at the vertices."""
    towards = head.normal if eye_head is None else _unit(eye_head - head.position)
    n_v = (head.normal * towards).sum(-1, keepdim=True).clamp_min(0)
    mirrored = 2 * n_v * head.normal - towards
    degree = harmonics.degree_of(head.visibility.shape[1])
    rough = float(surface.roughness.mean()) if len(surface.roughness) else 0.5
    share = harmonics.ggx_lobe(round(rough, 2), degree)[harmonics.degrees(degree)]
    x, y, z = mirrored.unbind(-1)
    values = torch.stack(harmonics.functions(x, y, z, degree), -1)
    seen = (values * _tensor(share, str(values.device)) * head.visibility).sum(-1)
    return _interpolated(surface, seen.clamp(0, 1)[:, None])[:, 0]


def _interpolated(surface: Surface, values: Tensor) -> Tensor:
    """Vertex ``values`` ``(V, C)`` at the points ``(N, C)``."""
    return (values[surface.corners] * surface.weights[..., None]).sum(1)


def _turned(directions: Tensor, turn_degrees: float) -> Tensor:
    """Where in the unturned panorama one looks along ``directions`` ``(N, 3)`` of the turned one."""
    angle = math.radians(turn_degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y, z = directions.unbind(-1)
    return torch.stack([cos * x - sin * z, y, sin * x + cos * z], -1)


def _looked_up(panorama: Tensor, directions: Tensor, level: Tensor | None = None) -> Tensor:
    """``(N, C)`` of a wrapped lat-long stack ``(1, C, R, h, w + 2)``, trilinear; ``level`` ``(N,)``."""
    height, width = panorama.shape[3], panorama.shape[4] - 2
    up = directions[:, 1] / directions.norm(dim=-1).clamp_min(1e-12)
    row = 1 - 2 * (torch.asin(up.clamp(-1, 1)) / math.pi + 0.5)
    column = (0.5 + torch.atan2(directions[:, 2], directions[:, 0]) / (2 * math.pi)) * width + 1
    across = 2 * column / (width + 2) - 1
    deep = torch.zeros_like(row) if level is None else (2 * level + 1) / panorama.shape[2] - 1
    grid = torch.stack([across, row, deep], -1)[None, None, None]
    assert height > 1
    found: Tensor = torch.nn.functional.grid_sample(
        panorama, grid, padding_mode="border", align_corners=False
    )
    return found[0, :, 0, 0].T


def _at_level(light: SkyLight, directions: Tensor, roughness: Tensor) -> Tensor:
    """GGX-blurred radiance ``(N, 3)``, between levels linear in roughness."""
    levels = light.roughness
    rough = roughness.clamp(levels[0], levels[-1])
    above = torch.searchsorted(levels, rough, right=True).clamp(1, len(levels) - 1)
    low, high = levels[above - 1], levels[above]
    return _looked_up(light.specular, directions, (above - 1) + (rough - low) / (high - low))


def _wrapped(panoramas: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(R, h, w, 3)`` as ``(1, 3, R, h, w + 2)``."""
    joined = np.concatenate([panoramas[:, :, -1:], panoramas, panoramas[:, :, :1]], 2)
    return np.ascontiguousarray(joined.transpose(3, 0, 1, 2)[None])


def _tensor(values: NDArray[Any], device: str) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(values, np.float32), device=device)


def _unit(vectors: Tensor) -> Tensor:
    unit: Tensor = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return unit
