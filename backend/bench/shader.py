"""Shading a lit chart: our UV-space shader, its plain twin, and mitsuba on a square of as many pixels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from backend.bench.sheet import Setting, Sheet, in_turns, main, try_out
from backend.shading.ggx import Lights, UVGeometry, UVMaterials, brdf, shade_uv

LIGHTS = 3
OURS = "shade_uv (torch)"


def measure(setting: Setting, sheet: Sheet) -> None:
    """All three once a round."""
    size = 64 if setting.quick else 512
    sheet.workload(
        f"{size}×{size} texels, {LIGHTS} directional lights, diffuse and GGX; mitsuba: one light of the "
        f"{LIGHTS} a sample, {LIGHTS} samples a pixel, rays included"
    )
    materials, geometry, lights, eye = chart(size)
    works = try_out(
        sheet,
        {
            OURS: lambda: lambda: shade_uv(materials, geometry, lights, eye),
            "plain twin (brdf)": lambda: lambda: plain(materials, geometry, lights, eye),
            "mitsuba (scalar_rgb)": lambda: mitsuba_square(size),
        },
    )
    with torch.inference_mode():
        in_turns(sheet, works, setting.repeat, OURS)


def chart(size: int) -> tuple[UVMaterials, UVGeometry, Lights, Tensor]:
    """A flat chart of rough, bumpy texels under lights at infinity."""
    random = torch.Generator().manual_seed(0)

    def noise(channels: int) -> Tensor:
        return torch.rand(1, channels, size, size, generator=random)

    line = torch.linspace(-0.1, 0.1, size)
    position = torch.stack(
        [line.expand(size, size), line[:, None].expand(size, size), torch.zeros(size, size)]
    )

    def constant(*values: float) -> Tensor:
        return torch.tensor(values)[None, :, None, None].repeat(1, 1, size, size)

    geometry = UVGeometry(position[None], constant(0, 0, 1), constant(1, 0, 0, 1), constant(1))
    bumps = torch.cat([0.2 * (noise(2) - 0.5), constant(1)], 1)
    materials = UVMaterials(noise(3), bumps, 0.3 + 0.5 * noise(1), 0.5 * noise(1), 0.001 * noise(1))
    place = torch.tensor([[[0.5, 0.2, 1.0, 0.0], [-0.5, 0.4, 0.8, 0.0], [0.0, -0.3, 1.0, 0.0]]])
    return materials, geometry, Lights(place, torch.ones(1, LIGHTS, 3)), torch.tensor([[0.0, 0.0, 0.6]])


def plain(materials: UVMaterials, geometry: UVGeometry, lights: Lights, eye: Tensor) -> Tensor:
    """The same through ``brdf`` with directions in head space."""

    def rows(texels: Tensor) -> Tensor:
        return texels[0].permute(1, 2, 0).reshape(-1, texels.shape[1])

    position = rows(geometry.position + materials.displacement_m * geometry.normal)
    n = torch.nn.functional.normalize(rows(materials.normal_tangent), dim=1)  # the chart's frame is the axes
    v = torch.nn.functional.normalize(eye - position, dim=1)
    albedo, roughness, specular = (
        rows(texels) for texels in (materials.albedo_linear, materials.roughness, materials.specular)
    )
    shaded = torch.zeros_like(albedo)
    for place, radiance in zip(lights.place[0], lights.radiance[0], strict=True):
        towards = torch.nn.functional.normalize(place[:3], dim=0).expand_as(n)
        received = radiance * (n * towards).sum(1, keepdim=True).clamp_min(0)
        shaded = shaded + received * brdf(n, v, towards, albedo, roughness, specular)
    return shaded


def mitsuba_square(size: int) -> Callable[[], Any]:
    """The same light on a square that fills the picture. Raises: ImportError."""
    import mitsuba as mi

    mi.set_variant("scalar_rgb")
    scene: dict[str, Any] = {
        "type": "scene",
        "integrator": {"type": "direct", "emitter_samples": 1, "bsdf_samples": 0},
        "square": {
            "type": "rectangle",
            "bsdf": {"type": "principled", "roughness": 0.5, "specular": 0.5},
        },
        "sensor": {
            "type": "orthographic",
            "to_world": mi.ScalarTransform4f().look_at(origin=[0, 0, 2], target=[0, 0, 0], up=[0, 1, 0]),
            "film": {"type": "hdrfilm", "width": size, "height": size, "rfilter": {"type": "box"}},
            "sampler": {"type": "independent", "sample_count": LIGHTS},
        },
    }
    for index, direction in enumerate(([-0.5, -0.2, -1.0], [0.5, -0.4, -0.8], [0.0, 0.3, -1.0])):
        scene[f"light{index}"] = {"type": "directional", "direction": direction, "irradiance": 1.0}
    loaded = mi.load_dict(scene)

    def render() -> Any:
        picture = mi.TensorXf(mi.render(loaded)).array
        if not max(picture) > 0:
            raise RuntimeError("mitsuba's picture is black")
        return picture

    return render


if __name__ == "__main__":
    sys.exit(main(measure))
