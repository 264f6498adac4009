"""The UV-space GGX shader: twin, gradients, furnace, reciprocity, and mitsuba as an outside judge."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from backend.shading import ggx  # noqa: E402


def _directions(n: int, seed: int, lowest: float = 0.02) -> Tensor:
    rng = np.random.default_rng(seed)
    z = rng.uniform(lowest, 1, n)
    phi = rng.uniform(0, 2 * np.pi, n)
    s = np.sqrt(1 - z * z)
    return torch.tensor(np.stack([s * np.cos(phi), s * np.sin(phi), z], -1), dtype=torch.float64)


def _random_chart(
    seed: int, batch: int = 2, size: int = 5, lights: int = 3, dtype: torch.dtype = torch.float64
) -> tuple[ggx.UVMaterials, ggx.UVGeometry, ggx.Lights, Tensor]:
    g = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=g, dtype=torch.float64).to(dtype)

    def unit(w: Tensor) -> Tensor:
        return torch.nn.functional.normalize(w, dim=1)

    b, s = batch, size
    normal = unit(torch.cat([rand(b, 2, s, s) - 0.5, rand(b, 1, s, s) + 0.5], 1))
    across = torch.tensor([1.0, 0.1, 0.0], dtype=dtype)[None, :, None, None].expand_as(normal)
    tangent = unit(across - normal * (across * normal).sum(1, keepdim=True))
    sign = torch.where(rand(b, 1, s, s) > 0.5, 1.0, -1.0).to(dtype)
    geometry = ggx.UVGeometry(
        0.1 * (rand(b, 3, s, s) - 0.5), normal, torch.cat([tangent, sign], 1), rand(b, 1, s, s)
    )
    materials = ggx.UVMaterials(
        rand(b, 3, s, s),
        torch.cat([0.4 * (rand(b, 2, s, s) - 0.5), 0.8 + 0.2 * rand(b, 1, s, s)], 1),
        0.2 + 0.7 * rand(b, 1, s, s),
        0.1 + 0.3 * rand(b, 1, s, s),
        0.004 * (rand(b, 1, s, s) - 0.5),
    )
    place = torch.cat([rand(b, lights, 2) - 0.5, 0.5 + rand(b, lights, 1), rand(b, lights, 1).round()], 2)
    eye = torch.tensor([[0.1, 0.05, 0.6]], dtype=dtype).repeat(b, 1)
    return materials, geometry, ggx.Lights(place, 1 + rand(b, lights, 3)), eye


def _plain_shade(
    m: ggx.UVMaterials, g: ggx.UVGeometry, lights: ggx.Lights, eye: Tensor, ambient: float
) -> Tensor:
    """The same shading, texel by texel through ``brdf`` on world vectors."""
    out = torch.zeros_like(m.albedo_linear)
    for b in range(out.shape[0]):
        for r in range(out.shape[2]):
            for c in range(out.shape[3]):
                normal, (x, y, z) = g.normal[b, :, r, c], m.normal_tangent[b, :, r, c]
                tangent, sign = g.tangent[b, :3, r, c], g.tangent[b, 3, r, c]
                n = x * tangent + y * sign * torch.linalg.cross(normal, tangent) + z * normal
                n = n / n.norm()
                p = g.position[b, :, r, c] + m.displacement_m[b, 0, r, c] * normal
                v = (eye[b] - p) / (eye[b] - p).norm()
                colour = ambient * m.albedo_linear[b, :, r, c]
                for k in range(lights.place.shape[1]):
                    place, radiance = lights.place[b, k], lights.radiance[b, k]
                    if place[3] == 1:
                        d = (place[:3] - p).norm()
                        radiance, towards = radiance / d**2, (place[:3] - p) / d
                    else:
                        towards = place[:3] / place[:3].norm()
                    f = ggx.brdf(
                        n,
                        v,
                        towards,
                        m.albedo_linear[b, :, r, c],
                        m.roughness[b, :, r, c],
                        m.specular[b, :, r, c],
                    )
                    colour = colour + radiance * f * (n @ towards).clamp_min(0)
                out[b, :, r, c] = g.mask[b, 0, r, c] * colour
    return out


def test_batched_shader_equals_its_plain_twin() -> None:
    m, g, lights, eye = _random_chart(1)
    assert 0 < lights.place[..., 3].mean() < 1, "both point and directional lights must be present"
    torch.testing.assert_close(
        ggx.shade_uv(m, g, lights, eye, 0.2), _plain_shade(m, g, lights, eye, 0.2), rtol=1e-9, atol=1e-12
    )


def test_float32_agrees_with_float64_even_for_sharp_lobes() -> None:
    m, g, lights, eye = _random_chart(2)
    m = ggx.UVMaterials(
        m.albedo_linear, m.normal_tangent, 0.05 + 0 * m.roughness, m.specular, m.displacement_m
    )
    exact = ggx.shade_uv(m, g, lights, eye)
    single = ggx.shade_uv(
        ggx.UVMaterials(*(t.float() for t in vars(m).values())),
        ggx.UVGeometry(*(t.float() for t in vars(g).values())),
        ggx.Lights(lights.place.float(), lights.radiance.float()),
        eye.float(),
    )
    torch.testing.assert_close(single.double(), exact, rtol=2e-4, atol=1e-6)


def test_gradients_of_every_map_and_light_match_finite_differences() -> None:
    m, g, lights, eye = _random_chart(3, batch=1, size=3, lights=2)
    inputs = tuple(t.clone().requires_grad_(True) for t in (*vars(m).values(), lights.radiance, g.position))

    def shade(*a: Tensor) -> Tensor:
        geometry = ggx.UVGeometry(a[6], g.normal, g.tangent, g.mask)
        return ggx.shade_uv(ggx.UVMaterials(*a[:5]), geometry, ggx.Lights(lights.place, a[5]), eye, 0.2)

    assert torch.autograd.gradcheck(shade, inputs, eps=1e-7, atol=1e-5)


def test_texels_behind_the_horizon_give_finite_zero_specular_and_gradients() -> None:
    m, g, _, _ = _random_chart(4, batch=1)
    lights = ggx.Lights(torch.tensor([[[0.0, 0, -1, 0]]]).double(), torch.ones(1, 1, 3).double())
    roughness = m.roughness.clone().requires_grad_(True)
    m = ggx.UVMaterials(m.albedo_linear, m.normal_tangent, roughness, m.specular, m.displacement_m)
    out = ggx.shade_uv(m, g, lights, torch.tensor([[0, 0, -1.0]]).double())
    out.sum().backward()
    assert torch.equal(out, torch.zeros_like(out))
    assert roughness.grad is not None
    assert torch.isfinite(roughness.grad).all()


def test_reciprocity() -> None:
    v, l = _directions(4096, 5), _directions(4096, 6)  # noqa: E741
    n = torch.tensor([0, 0, 1.0]).double().expand_as(v)
    rng = torch.Generator().manual_seed(7)
    albedo = torch.rand(4096, 3, generator=rng).double()
    rough, spec = (torch.rand(4096, 1, generator=rng).double() for _ in range(2))
    torch.testing.assert_close(
        ggx.brdf(n, v, l, albedo, rough, spec), ggx.brdf(n, l, v, albedo, rough, spec), rtol=1e-10, atol=0
    )


def _directional_albedo(n_v: float, roughness: float, f: Callable[[Tensor, Tensor], Tensor]) -> float:
    """∫ f cosθ dω by GGX half-vector importance sampling on a Fibonacci set (50k points)."""
    count = 50_000
    u1 = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    u2 = torch.arange(count, dtype=torch.float64) * 0.6180339887498949 % 1
    a2 = max(roughness, ggx.MIN_ROUGHNESS) ** 4
    cos2 = (1 - u1) / (1 + (a2 - 1) * u1)
    sin, phi = torch.sqrt(1 - cos2), 2 * math.pi * u2
    h = torch.stack([sin * torch.cos(phi), sin * torch.sin(phi), torch.sqrt(cos2)], -1)
    v = torch.tensor([math.sqrt(1 - n_v**2), 0, n_v], dtype=torch.float64).expand_as(h)
    v_h = (v * h).sum(-1, keepdim=True)
    l = 2 * v_h * h - v  # noqa: E741
    pdf = a2 / (math.pi * (1 + (a2 - 1) * cos2) ** 2) * torch.sqrt(cos2) / (4 * v_h[:, 0].abs())
    value = f(v, l)[:, 0] * l[:, 2].clamp_min(0) / pdf
    return float(torch.where(v_h[:, 0] > 0, value, 0).mean())


@pytest.mark.parametrize("roughness", [0.04, 0.2, 0.4, 0.6, 0.8, 1.0])
def test_white_furnace_never_gains_energy(roughness: float) -> None:
    """F = 1 (specular 12.5 makes F0 = F90 = 1): what is missing is single scattering's known loss."""
    spec = torch.full((1, 1), 12.5).double()
    rough = torch.full((1, 1), roughness).double()
    losses = []
    for n_v in (0.1, 0.3, 0.6, 0.95):

        def lobe(v: Tensor, l: Tensor) -> Tensor:  # noqa: E741
            n = torch.tensor([0, 0, 1.0]).double().expand_as(v)
            return ggx.brdf(n, v, l, torch.zeros(1, 3).double(), rough, spec)

        losses.append(1 - _directional_albedo(n_v, roughness, lobe))
    assert min(losses) > -1e-3, "the lobe reflects more than it receives"
    # A smooth lobe loses light only at grazing angles, where reflections point into the surface.
    assert max(losses[1:]) < (0.012 if roughness <= 0.2 else 0.69)


def test_white_furnace_loss_at_normal_incidence_has_its_closed_form() -> None:
    """α = 1, n·v = 1: D = 1/π and V = 1/(2(1+c)), so the albedo is ∫ c/(1+c) dc = 1 − ln 2."""
    rough, spec = torch.ones(1, 1).double(), torch.full((1, 1), 12.5).double()

    def lobe(v: Tensor, l: Tensor) -> Tensor:  # noqa: E741
        n = torch.tensor([0, 0, 1.0]).double().expand_as(v)
        return ggx.brdf(n, v, l, torch.zeros(1, 3).double(), rough, spec)

    assert _directional_albedo(1.0, 1.0, lobe) == pytest.approx(1 - math.log(2), rel=1e-4)


def test_skin_reflects_less_than_it_receives() -> None:
    """The sum f_d + f_s is not energy conserving by construction; for skin it still stays below 1."""
    spec, rough = torch.full((1, 1), 0.5).double(), torch.full((1, 1), 0.4).double()
    n_z = torch.tensor([0, 0, 1.0]).double()
    for n_v in (0.2, 0.5, 1.0):
        specular = _directional_albedo(
            n_v,
            0.4,
            lambda v, w: ggx.brdf(n_z.expand_as(v), v, w, torch.zeros(1, 3).double(), rough, spec),
        )
        assert 0.02 < specular < 0.35
        assert 0.6 + specular < 1  # albedo 0.6 is paler than any skin


def test_specular_zero_is_purely_diffuse_and_ambient_adds_albedo() -> None:
    m, g, lights, eye = _random_chart(8)
    matte = ggx.UVMaterials(
        m.albedo_linear, m.normal_tangent, m.roughness, torch.zeros_like(m.specular), m.displacement_m
    )
    dark = ggx.Lights(lights.place, torch.zeros_like(lights.radiance))
    torch.testing.assert_close(ggx.shade_uv(matte, g, dark, eye, 0.2), g.mask * 0.2 * m.albedo_linear)
    per_sample = torch.tensor([[0.15], [0.3]]).double()
    both = ggx.shade_uv(matte, g, lights, eye, per_sample) - ggx.shade_uv(matte, g, lights, eye, 0.0)
    torch.testing.assert_close(both, g.mask * per_sample[:, :, None, None] * m.albedo_linear)


def _lambda(cosine: np.ndarray, alpha: float) -> np.ndarray:
    return (np.sqrt(1 + alpha**2 * (1 / cosine**2 - 1)) - 1) / 2


@pytest.mark.parametrize("roughness", [0.2, 0.35, 0.5, 0.7, 1.0])
def test_lobe_matches_mitsuba(roughness: float) -> None:
    """mitsuba's rough conductor with F = 1 gives D·G1·G1/(4 n·v); its Smith terms are *separable*, so
    the known ratio of the two forms, G(corr)/G(sep) = (1+Λv)(1+Λl)/(1+Λv+Λl), is taken out."""
    mi = pytest.importorskip("mitsuba")
    mi.set_variant("scalar_rgb")
    alpha = roughness**2
    bsdf = mi.load_dict(
        {"type": "roughconductor", "distribution": "ggx", "alpha": alpha, "eta": 0.0, "k": 1.0}
    )
    diffuse = mi.load_dict({"type": "diffuse", "reflectance": {"type": "rgb", "value": [0.6, 0.4, 0.3]}})
    v, l = _directions(200, 9, 0.1), _directions(200, 10, 0.1)  # noqa: E741
    context = mi.BSDFContext()
    theirs, matte = np.empty(200), np.empty((200, 3))
    for i in range(200):
        si = mi.SurfaceInteraction3f()
        si.wi = mi.Vector3f(*v[i].tolist())
        wo = mi.Vector3f(*l[i].tolist())
        theirs[i] = np.array(bsdf.eval(context, si, wo))[0] / float(l[i, 2])
        matte[i] = np.array(diffuse.eval(context, si, wo)) / float(l[i, 2])
    lv, ll = _lambda(v[:, 2].numpy(), alpha), _lambda(l[:, 2].numpy(), alpha)
    theirs *= (1 + lv) * (1 + ll) / (1 + lv + ll)

    n = torch.tensor([0, 0, 1.0]).double().expand_as(v)
    rough = torch.full((200, 1), roughness).double()
    none = torch.zeros(200, 1).double()
    ours = ggx.brdf(n, v, l, torch.zeros(200, 3).double(), rough, none + 12.5)[:, 0].numpy()
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-6)
    albedo = torch.tensor([0.6, 0.4, 0.3]).double().expand(200, 3)
    np.testing.assert_allclose(ggx.brdf(n, v, l, albedo, rough, none).numpy(), matte, rtol=1e-4)
