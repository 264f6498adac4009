"""The UV-space shading loss against numpy, the readable BRDF and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.head.registry import load_head
from backend.marcus.training.perceptual import gradient_distance, perceptual_distance
from backend.marcus.training.shading_loss import (
    as_light,
    draw_light,
    materials_from,
    shade_template,
    shading_terms,
)
from backend.marcus.training.template import template_geometry
from backend.shading.ggx import UVGeometry, brdf

CPU = torch.device("cpu")
S_DISP_DM = 0.01


def flat(size: int = 6) -> UVGeometry:
    """A plane at z = 0 that looks at the camera, one texel of it outside the chart."""
    position = torch.zeros(1, 3, size, size)
    position[:, 0] = torch.linspace(-0.1, 0.1, size)
    position[:, 1] = torch.linspace(0.1, -0.1, size)[:, None]
    normal = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, size, size)
    tangent = torch.tensor([1.0, 0.0, 0.0, 1.0]).reshape(1, 4, 1, 1).expand(1, 4, size, size)
    mask = torch.ones(1, 1, size, size)
    mask[..., 0, 0] = 0
    return UVGeometry(position, normal, tangent, mask)


def pictures(seed: int, count: int = 2, size: int = 6) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    out = 0.2 + 0.6 * torch.rand(count, 3, 3, size, size, generator=chance)
    out[:, 1, 2] = 0.9  # normals that look outwards
    return out


def lights(count: int) -> torch.Tensor:
    return torch.stack([draw_light(torch.Generator().manual_seed(k), (0.15, 0.3)) for k in range(count)])


def test_shading_is_the_papers_sum_texel_by_texel() -> None:
    """M [ L (n·l)+ (f_d + f_s) + I_amb·albedo ], with the readable BRDF in head space."""
    template, maps, rows = flat(), pictures(3), lights(2)
    made = shade_template(maps, template, as_light(rows), S_DISP_DM)
    for b, y, x in ((0, 2, 3), (1, 5, 1), (0, 0, 5)):
        albedo, normal, packed = (maps[b, k, :, y, x] for k in range(3))
        n = torch.nn.functional.normalize(2 * normal - 1, dim=0)
        # s_disp 0.01 of a decimetre is a millimetre along the geometric normal
        place = template.position[0, :, y, x] + torch.tensor([0, 0, 1e-3]) * packed[2]
        v = torch.nn.functional.normalize(torch.tensor([0.0, 0.0, 1.0]) - place, dim=0)
        light, strength, ambient = rows[b, :3], rows[b, 3], rows[b, 4]
        linear = albedo**2.2
        value = brdf(n, v, light, linear, packed[0:1], packed[1:2])
        wanted = strength * (n @ light).clamp_min(0) * value + ambient * linear
        torch.testing.assert_close(made[b, :, y, x], wanted, rtol=2e-4, atol=1e-5)
    assert float(made[..., 0, 0].abs().max()) == 0


def test_terms_are_means_over_the_chart_and_zero_for_equal_maps() -> None:
    template, light = flat(), as_light(lights(2))
    a, b = pictures(1), pictures(2)
    terms = shading_terms(a, b, template, light, S_DISP_DM, gradient_distance)
    shaded = [shade_template(m, template, light, S_DISP_DM).numpy() for m in (a, b)]
    inside = int(template.mask.sum())
    wanted = ((shaded[0] - shaded[1]) ** 2).sum((1, 2, 3)) / (3 * inside)
    np.testing.assert_allclose(terms.image, wanted, rtol=1e-5)
    same = shading_terms(a, a, template, light, S_DISP_DM, gradient_distance)
    assert float(same.image.max()) == 0
    assert float(same.perceptual.max()) == 0


def test_gradients_are_finite_differences() -> None:
    template = UVGeometry(*(part.double() for part in vars(flat()).values()))
    light = as_light(lights(1).double())
    true, made = pictures(4, 1).double(), pictures(5, 1).double().requires_grad_()

    def image(maps: torch.Tensor) -> torch.Tensor:
        return shading_terms(maps, true, template, light, S_DISP_DM, gradient_distance).image.sum()

    (slope,) = torch.autograd.grad(image(made), made)
    step = 1e-6
    for at in ((0, 0, 1, 2, 2), (0, 1, 0, 3, 4), (0, 1, 2, 1, 1), (0, 2, 0, 2, 5), (0, 2, 1, 4, 4)):
        nudge = torch.zeros_like(made)
        nudge[at] = step
        ahead, behind = (float(image((made + s * nudge).detach())) for s in (1, -1))
        assert float(slope[at]) == pytest.approx((ahead - behind) / (2 * step), rel=1e-4, abs=1e-9)


def test_drawn_lights_are_the_releases() -> None:
    rows = torch.stack(
        [draw_light(torch.Generator().manual_seed(k), (0.15, 0.3)) for k in range(3000)]
    ).double()
    direction, strength, ambient = rows[:, :3], rows[:, 3], rows[:, 4]
    np.testing.assert_allclose(direction.norm(dim=1), 1, rtol=1e-6)
    for values, low, high in ((strength, 2.5, 3.1), (ambient, 0.15, 0.3)):
        assert float(values.min()) >= low - 1e-6
        assert float(values.max()) <= high + 1e-6
        assert float(values.mean()) == pytest.approx((low + high) / 2, rel=0.01)
    # Behind the head: half of the three in ten that come from anywhere, and 2.3 % of the others.
    behind = float((direction[:, 2] < 0).double().mean())
    assert behind == pytest.approx(0.3 * 0.5 + 0.7 * 0.02275, abs=0.02)


def test_maps_are_read_as_they_are_written() -> None:
    maps = pictures(6, 1)
    made = materials_from(maps, S_DISP_DM)
    np.testing.assert_allclose(made.albedo_linear, maps[:, 0].numpy() ** 2.2, rtol=1e-5)
    np.testing.assert_allclose(made.normal_tangent, 2 * maps[:, 1] - 1, atol=1e-6)
    np.testing.assert_allclose(made.displacement_m, 1e-3 * maps[:, 2, 2:3], rtol=1e-5)


def test_the_template_is_the_mean_head_laid_out() -> None:
    head = load_head("open")
    template = template_geometry(head, 32, CPU)
    inside = template.mask[0, 0] > 0
    assert 0.3 < float(inside.double().mean()) < 1
    place = template.position[0][:, inside].numpy().T
    low, high = head.mean_vertices.min(0), head.mean_vertices.max(0)
    assert (place >= low - 1e-6).all()
    assert (place <= high + 1e-6).all()
    normal, tangent = template.normal[0], template.tangent[0]
    np.testing.assert_allclose(normal.norm(dim=0), 1, atol=1e-5)
    np.testing.assert_allclose(tangent[:3].norm(dim=0), 1, atol=1e-5)
    assert torch.isfinite(template.position).all()


def test_gradient_distance_of_one_size_in_numpy() -> None:
    chance = np.random.default_rng(0)
    a, b = (chance.random((1, 3, 8, 8)) for _ in range(2))

    def edges(p: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        g = np.concatenate([p[..., :-1, 1:] - p[..., :-1, :-1], p[..., 1:, :-1] - p[..., :-1, :-1]], axis=1)
        return g / (np.abs(g) + np.abs(g).mean() + 1e-3)

    made = gradient_distance(torch.from_numpy(a), torch.from_numpy(b))
    assert float(made) == pytest.approx(np.abs(edges(a) - edges(b)).mean(), rel=1e-6)


def test_gradient_distance_grows_with_blur_and_ignores_nothing_else() -> None:
    chance = torch.Generator().manual_seed(0)
    sharp = torch.rand(1, 3, 32, 32, generator=chance)
    soft = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(sharp, (1, 1, 1, 1), "replicate"), 3, 1)
    softer = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(sharp, (2, 2, 2, 2), "replicate"), 5, 1)
    distances = [float(gradient_distance(sharp, other)) for other in (sharp, soft, softer)]
    assert distances[0] == 0
    assert distances[0] < distances[1] < distances[2]


def test_lpips_is_never_replaced_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    from backend.errors import Missing
    from backend.evaluation import lpips_network

    monkeypatch.setattr(lpips_network, "find_published", lambda: None)
    with pytest.raises(Missing, match="gradients"):
        perceptual_distance("lpips")
