"""The UV-space shading loss: predicted and true maps lit alike on a fixed template (method 3, appendix).

    λ_img ‖T̂_shaded − T_shaded‖² + λ_lpips LPIPS(T̂_shaded, T_shaded)

Squares are taken in linear light and averaged over the chart; the perceptual distance sees both as a screen
shows them (power 1/2.2). Lights as the release draws them for training (facts, section 8).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backend.marcus.training.perceptual import Perceptual
from backend.shading.ggx import Lights, UVGeometry, UVMaterials, shade_uv

EYE_M = 1.0  # the release's camera stands at z = 10 decimetres
_METRES_PER_DM = 0.1
_GAMMA = 2.2  # the release's albedo is decoded and its picture encoded by this power
_FRONTAL_SHARE = 0.7
_SPREAD = 0.5
_INTENSITY = (2.5, 3.1)
_DARKEST = 1e-4  # where the slope of a power of 1/2.2 stays bounded


@dataclass(frozen=True)
class TrainingLight:
    """One directional white light and ambient light a sample."""

    direction: Tensor  # (B, 3) unit, towards the light, head space
    intensity: Tensor  # (B, 1)
    ambient: Tensor  # (B, 1) I_amb


def draw_light(chance: torch.Generator, ambient: tuple[float, float]) -> Tensor:
    """A sample's light as ``(5,)``: direction, intensity, ambient.

    Seven times in ten about the camera's direction, else anywhere on the sphere; ambient U(``ambient``).
    """
    draw = torch.rand(3, generator=chance)
    around = torch.randn(3, generator=chance)
    frontal = torch.tensor([0.0, 0.0, 1.0]) + _SPREAD * around
    direction = frontal if draw[0] < _FRONTAL_SHARE else around
    intensity = _INTENSITY[0] + (_INTENSITY[1] - _INTENSITY[0]) * draw[1]
    level = ambient[0] + (ambient[1] - ambient[0]) * draw[2]
    return torch.cat([torch.nn.functional.normalize(direction, dim=0), intensity[None], level[None]])


def as_light(rows: Tensor) -> TrainingLight:
    """Rows ``(B, 5)`` of ``draw_light``."""
    return TrainingLight(rows[:, :3], rows[:, 3:4], rows[:, 4:5])


def materials_from(pictures: Tensor, displacement_dm: float) -> UVMaterials:
    """Maps of the three branches' pictures ``(B, 3, 3, H, W)``, which may leave [0, 1] (they are cut there).

    Displacement is the packed map's blue times s_disp, no middle level taken off, as in the release.
    """
    albedo, normal, packed = pictures.clamp(0, 1).unbind(1)
    return UVMaterials(
        albedo_linear=albedo.clamp_min(_DARKEST) ** _GAMMA,
        normal_tangent=2 * normal - 1,
        roughness=packed[:, 0:1],
        specular=packed[:, 1:2],
        displacement_m=packed[:, 2:3] * displacement_dm * _METRES_PER_DM,
    )


def shade_template(
    pictures: Tensor, template: UVGeometry, light: TrainingLight, displacement_dm: float
) -> Tensor:
    """T_shaded ``(B, 3, H, W)``, linear."""
    count = len(pictures)
    geometry = UVGeometry(
        *(
            part.expand(count, -1, -1, -1)
            for part in (template.position, template.normal, template.tangent, template.mask)
        )
    )
    towards = torch.cat([light.direction, torch.zeros_like(light.intensity)], dim=1)[:, None]
    lights = Lights(towards, light.intensity[:, :, None].expand(-1, 1, 3))
    eye = pictures.new_tensor([[0.0, 0.0, EYE_M]]).expand(count, 3)
    return shade_uv(materials_from(pictures, displacement_dm), geometry, lights, eye, light.ambient)


@dataclass(frozen=True)
class ShadingTerms:
    """By sample, ``(B,)``."""

    image: Tensor
    perceptual: Tensor


def shading_terms(
    predicted: Tensor,
    true: Tensor,
    template: UVGeometry,
    light: TrainingLight,
    displacement_dm: float,
    perceptual: Perceptual,
) -> ShadingTerms:
    """Both terms without their weights, for pictures ``(B, 3, 3, H, W)`` of the branches."""
    made = shade_template(predicted, template, light, displacement_dm)
    with torch.no_grad():
        wanted = shade_template(true, template, light, displacement_dm)
    texels = 3 * template.mask.sum().clamp_min(1)
    image = ((made - wanted) ** 2).sum((1, 2, 3)) / texels
    return ShadingTerms(image, perceptual(displayed(made), displayed(wanted)))


def displayed(linear: Tensor) -> Tensor:
    """Linear light as a screen shows it, in [0, 1]."""
    return linear.clamp(_DARKEST, 1) ** (1 / _GAMMA)
