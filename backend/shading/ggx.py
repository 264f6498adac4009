"""The UV-space GGX shader of MARCUS-Avatar (method 3 and appendix), in torch, differentiable.

Every texel is shaded in place, so a loss on the shaded chart needs no rasteriser:

    shaded = M · [ Σ_k L_k (n·l_k)+ (f_d + f_s) + I_amb · albedo ]

with f_d = albedo / π and f_s = D·V·F: D the GGX distribution, V the height-correlated Smith
visibility, F Schlick's Fresnel, F0 = 0.08·specular, α = roughness². The two lobes are simply added,
as in the paper, so the sum is not strictly energy conserving (docs and tests state the excess).

``brdf`` is the readable reference; ``shade_uv`` is the batched form that works in each texel's own
tangent frame, where sin²(n,h) comes without cancellation. A test holds the two together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Below this the lobe is narrower than float32 and a texel can resolve; a mirror is not skin.
MIN_ROUGHNESS = 0.04
# Keeps grazing visibility finite without bending it anywhere that a texel is seen.
MIN_COSINE = 1e-4


@dataclass(frozen=True)
class UVGeometry:
    """Geometry laid into the chart, ``B×C×H×W``; head space, metres."""

    position: Tensor  # (B, 3, H, W)
    normal: Tensor  # (B, 3, H, W) unit geometric normal
    tangent: Tensor  # (B, 4, H, W) unit tangent along +u and handedness sign
    mask: Tensor  # (B, 1, H, W) in [0, 1]


@dataclass(frozen=True)
class UVMaterials:
    """Material maps, ``B×C×H×W``, in the encoding of ``artifacts.Materials``."""

    albedo_linear: Tensor  # (B, 3, H, W)
    normal_tangent: Tensor  # (B, 3, H, W) OpenGL (+Y); need not be unit length
    roughness: Tensor  # (B, 1, H, W) perceptual
    specular: Tensor  # (B, 1, H, W) F0 = 0.08·specular
    displacement_m: Tensor  # (B, 1, H, W) along the geometric normal


@dataclass(frozen=True)
class Lights:
    """K point or directional lights a sample.

    ``place`` is homogeneous: ``(x, y, z, 1)`` is a point in head space, ``(x, y, z, 0)`` the
    direction *towards* a light at infinity (any length). ``radiance`` is L_k of the paper: for a
    directional light the irradiance on a surface that faces it, for a point light its radiant
    intensity, which falls off with 1/d².
    """

    place: Tensor  # (B, K, 4)
    radiance: Tensor  # (B, K, 3)


def brdf(n: Tensor, v: Tensor, l: Tensor, albedo: Tensor, roughness: Tensor, specular: Tensor) -> Tensor:  # noqa: E741
    """f_d + f_s, ``(..., 3)`` in 1/sr, for unit vectors ``n, v, l`` ``(..., 3)``.

    ``albedo`` ``(..., 3)`` linear; ``roughness`` and ``specular`` ``(..., 1)`` in [0, 1]. Zero where
    light or view lies below the surface. The readable twin of ``shade_uv``.
    """
    n_v = (n * v).sum(-1, keepdim=True)
    n_l = (n * l).sum(-1, keepdim=True)
    h = torch.nn.functional.normalize(v + l, dim=-1)
    n_h = (n * h).sum(-1, keepdim=True)
    l_h = (l * h).sum(-1, keepdim=True)
    above = (n_v > 0) & (n_l > 0)
    n_v, n_l = n_v.clamp_min(MIN_COSINE), n_l.clamp_min(MIN_COSINE)

    a2 = roughness.clamp(MIN_ROUGHNESS, 1.0) ** 4  # α² with α = roughness²
    distribution = a2 / (math.pi * (n_h**2 * (a2 - 1) + 1) ** 2)
    visibility = 0.5 / (n_l * torch.sqrt(a2 + (1 - a2) * n_v**2) + n_v * torch.sqrt(a2 + (1 - a2) * n_l**2))
    f_d = albedo / math.pi
    f_s = distribution * visibility * fresnel(l_h, specular)
    return torch.where(above, f_d + f_s, torch.zeros_like(f_d))


def fresnel(l_h: Tensor, specular: Tensor) -> Tensor:
    """Schlick's F with F0 = 0.08·specular and F90 = min(1, 25·F0), so that specular 0 has no sheen."""
    f0 = 0.08 * specular
    f90 = (25 * f0).clamp_max(1.0)
    return f0 + (f90 - f0) * (1 - l_h).clamp(0, 1) ** 5


def shade_uv(
    materials: UVMaterials,
    geometry: UVGeometry,
    lights: Lights,
    eye: Tensor,
    ambient: Tensor | float = 0.0,
) -> Tensor:
    """Shaded chart, linear radiance ``B×3×H×W``.

    ``eye`` is the camera's position in head space, ``(B, 3)`` metres; ``ambient`` I_amb is a number
    or ``(B, 1)`` / ``(B, 3)`` (the paper trains with U(0.15, 0.3)). Nothing casts shadows.
    """
    position = geometry.position + materials.displacement_m * geometry.normal
    frame = shading_frame(geometry, materials.normal_tangent)
    v = _to_frame(frame, _unit(eye[:, :, None, None] - position))

    shaded = _ambient(ambient, materials.albedo_linear)
    a2 = materials.roughness.clamp(MIN_ROUGHNESS, 1.0) ** 4
    for k in range(lights.place.shape[1]):  # K is small; a loop keeps memory at one light
        place = lights.place[:, k, :, None, None]
        towards = place[:, :3] - place[:, 3:] * position
        distance2 = (towards**2).sum(1, keepdim=True)
        falloff = torch.where(place[:, 3:] > 0, 1 / distance2.clamp_min(1e-12), torch.ones_like(distance2))
        l = _to_frame(frame, towards * torch.rsqrt(distance2.clamp_min(1e-24)))  # noqa: E741
        received = lights.radiance[:, k, :, None, None] * falloff * l[:, 2:].clamp_min(0)
        f_d = materials.albedo_linear / math.pi
        shaded = shaded + received * (f_d + _specular_in_frame(v, l, a2, materials.specular))
    return geometry.mask * shaded


def shading_frame(geometry: UVGeometry, normal_tangent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal frame (t, b, n) of the bumped normal, each ``B×3×H×W``, by Gram–Schmidt.

    The geometric frame is MikkTSpace's: b = sign · n × t, not re-normalised across the triangle.
    """
    t, sign, n = geometry.tangent[:, :3], geometry.tangent[:, 3:], geometry.normal
    b = sign * torch.cross(n, t, dim=1)
    x, y, z = normal_tangent.unbind(1)
    bumped = _unit(x[:, None] * t + y[:, None] * b + z[:, None] * n)
    t = _unit(t - bumped * (bumped * t).sum(1, keepdim=True))
    return t, sign * torch.cross(bumped, t, dim=1), bumped


def _specular_in_frame(v: Tensor, l: Tensor, a2: Tensor, specular: Tensor) -> Tensor:  # noqa: E741
    """D·V·F, ``B×1×H×W`` or wider, with ``v`` and ``l`` in the shading frame (n = +z)."""
    h = _unit(v + l)
    sine2, cosine2 = (h[:, :2] ** 2).sum(1, keepdim=True), h[:, 2:] ** 2
    l_h = (l * h).sum(1, keepdim=True)
    above = (v[:, 2:] > 0) & (l[:, 2:] > 0)
    n_v, n_l = v[:, 2:].clamp_min(MIN_COSINE), l[:, 2:].clamp_min(MIN_COSINE)
    distribution = a2 / (math.pi * (sine2 + a2 * cosine2) ** 2)
    visibility = 0.5 / (n_l * torch.sqrt(a2 + (1 - a2) * n_v**2) + n_v * torch.sqrt(a2 + (1 - a2) * n_l**2))
    f_s = distribution * visibility * fresnel(l_h, specular)
    return torch.where(above, f_s, torch.zeros_like(f_s))


def _to_frame(frame: tuple[Tensor, Tensor, Tensor], w: Tensor) -> Tensor:
    return torch.cat([(axis * w).sum(1, keepdim=True) for axis in frame], dim=1)


def _unit(w: Tensor) -> Tensor:
    return w * torch.rsqrt((w**2).sum(1, keepdim=True).clamp_min(1e-24))


def _ambient(ambient: Tensor | float, albedo: Tensor) -> Tensor:
    if isinstance(ambient, Tensor):
        ambient = ambient[:, :, None, None]
    return ambient * albedo
