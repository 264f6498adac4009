"""Light and albedo from shaded colours, against closed forms and known light."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from synthetic_head import camera_at, observe, synthetic_head

from backend.geometry.fit import estimate_appearance
from backend.geometry.light import (
    GLOSS,
    LightOptions,
    basis_gradient,
    fibonacci_directions,
    fit_light,
    minimise_quadratic_with_positive_rows,
)
from backend.geometry.normals import vertex_normals
from backend.geometry.photometric import predicted_linear, psnr_db
from backend.geometry.skin_samples import crop_face
from backend.geometry.state import FitState
from backend.shading import sh

SPHERE = fibonacci_directions(4000)
CAMERA_WARD = np.array([0.0, 0.0, 1.0])


def light_from(panorama):
    """SH radiance ``(9, 3)`` of radiance given at SPHERE, by quadrature."""
    return sh.basis(SPHERE).T @ panorama * (4 * np.pi / len(SPHERE))


def key_light(direction, tint=(1.0, 0.9, 0.8), ambient=0.3):
    d = np.asarray(direction) / np.linalg.norm(direction)
    return light_from((ambient + 1.4 * np.maximum(SPHERE @ d, 0) ** 2)[:, None] * np.array(tint))


def front_normals():
    return SPHERE[SPHERE[:, 2] > 0.15]


def test_constant_light_gives_constant_irradiance():
    irradiance = sh.irradiance(light_from(np.full((len(SPHERE), 3), 0.7)), SPHERE)
    np.testing.assert_allclose(irradiance, 0.7 * np.pi, rtol=1e-3)


def test_basis_gradient_matches_finite_differences():
    d = SPHERE[::400]
    for axis in range(3):
        step = np.eye(3)[axis] * 1e-6
        slope = (sh.basis(d + step) - sh.basis(d - step)) / 2e-6
        np.testing.assert_allclose(basis_gradient(d)[:, :, axis], slope, atol=1e-8)


@pytest.mark.parametrize("direction", [(0.6, 0.5, 0.6), (-0.9, 0.2, 0.4), (0.0, 1.0, 0.3)])
def test_known_albedo_gives_the_light_back(direction):
    """With the albedo fixed, irradiance over the seen normals is the truth's within 2 %."""
    truth = key_light(direction)
    normals = front_normals()
    albedo = np.tile([0.5, 0.3, 0.22], (len(normals), 1))
    colour = albedo * sh.irradiance(truth, normals) / np.pi
    none = np.zeros((0, len(normals), 3))
    free = LightOptions(exposure_sigma=10.0, white_balance_sigma=10.0, band_sigma=(10.0, 10.0))
    fit = fit_light(colour, normals, albedo, none, CAMERA_WARD, options=free)
    np.testing.assert_allclose(
        sh.irradiance(fit.radiance_sh, normals), sh.irradiance(truth, normals), rtol=0.02, atol=0.01
    )


def test_skin_tone_and_light_share_the_scale_as_exposure_says():
    """Half as bright a face under the same exposure is read as darker skin rather than a darker room."""
    normals = front_normals()
    albedo = np.tile([0.45, 0.28, 0.2], (len(normals), 1))
    tone = np.tile([0.1, 0.08, 0.06], (1, len(normals), 1))
    light = key_light((0.3, 0.4, 0.8))
    betas = []
    for factor in (1.0, 0.4):
        colour = factor * albedo * sh.irradiance(light, normals) / np.pi
        fit = fit_light(colour, normals, albedo, tone, CAMERA_WARD)
        betas.append(fit.albedo_coefficients[0])
        shown = (
            (albedo + fit.albedo_coefficients[0] * tone[0]) * sh.irradiance(fit.radiance_sh, normals) / np.pi
        )
        assert np.abs(shown / colour - 1).max() < 0.05
    assert betas[1] < betas[0] - 0.7


def test_highlights_do_not_become_light():
    normals = front_normals()
    albedo = np.tile([0.5, 0.3, 0.22], (len(normals), 1))
    truth = key_light((0.4, 0.6, 0.7))
    colour = albedo * sh.irradiance(truth, normals) / np.pi
    glossy = normals @ np.array([0.2, 0.4, 0.89]) > 0.96
    assert glossy.mean() > 0.02
    colour[glossy] += 0.5
    none = np.zeros((0, len(normals), 3))
    fit = fit_light(colour, normals, albedo, none, CAMERA_WARD)
    ratio = sh.irradiance(fit.radiance_sh, normals) / sh.irradiance(truth, normals)
    assert np.abs(ratio - 1).max() < 0.06


def test_light_from_one_hard_side_stays_non_negative():
    """A half-black face pulls degree 2 into ringing; radiance must stay ≥ 0 all around."""
    normals = front_normals()
    albedo = np.tile([0.5, 0.3, 0.22], (len(normals), 1))
    colour = albedo * (0.03 + 1.2 * np.maximum(normals @ np.array([0.95, 0.1, 0.29]), 0))[:, None]
    none = np.zeros((0, len(normals), 3))
    fit = fit_light(colour, normals, albedo, none, CAMERA_WARD)
    radiance = sh.radiance(fit.radiance_sh, SPHERE)
    assert radiance.min() > -0.02 * radiance.max()
    assert radiance.max() > 0.5


def test_positive_rows_quadratic_agrees_with_a_general_solver():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(12, 6))
    h, b, g = a.T @ a + np.eye(6), rng.normal(size=6) * 5, rng.normal(size=(15, 6))
    x = minimise_quadratic_with_positive_rows(h, b, g)
    reference = minimize(
        lambda v: 0.5 * v @ h @ v - b @ v,
        np.zeros(6),
        jac=lambda v: h @ v - b,
        constraints={"type": "ineq", "fun": lambda v: g @ v, "jac": lambda v: g},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert (g @ x).min() > -1e-9
    np.testing.assert_allclose(x, reference.x, atol=1e-5)


def render(head, vertices, camera, light, beta):
    """The shaded head as an sRGB picture, by an independent per-pixel loop over the rasteriser's buffers."""
    from backend.colour import linear_to_srgb
    from backend.uvspace.rasterise import rasterise_camera

    seen = rasterise_camera(vertices, head.triangles, camera)
    normal = seen.interpolate(vertex_normals(vertices, head.triangles), head.triangles).astype(float)
    normal /= np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1e-9)
    shown = seen.interpolate(head.albedo(beta), head.triangles) * sh.irradiance(light, normal) / np.pi
    return linear_to_srgb(shown), (seen.triangle >= 0).astype(np.float32)


def test_light_is_recovered_from_a_rendered_head():
    head = synthetic_head()
    camera = camera_at()
    beta = np.array([0.0, 1.0, -0.5, 0.3], np.float32)
    light = key_light((0.5, 0.5, 0.7), (1.0, 1.0, 1.0))
    exposure = sh.irradiance(light, camera.centre_head / np.linalg.norm(camera.centre_head)).mean() / np.pi
    light *= LightOptions().exposure / exposure
    picture, mask = render(head, head.mean_vertices, camera, light, beta)
    seen = observe(head, head.mean_vertices, camera, rgb=picture, skin=mask)
    rt = camera.world_to_camera
    state = FitState(rt[:, :3], rt[:, 3], np.log(camera.focal_px), np.zeros(20), np.zeros(10), np.zeros(3))
    found = estimate_appearance(seen, head, state, crop_face(seen))
    normals = found.samples.normals
    ratio = sh.irradiance(found.light.radiance_sh, normals) / sh.irradiance(light, normals)
    assert np.abs(ratio - 1).mean() < 0.04
    assert np.abs(ratio - 1).max() < 0.12
    assert psnr_db(found.samples, found.light) > 38
    assert predicted_linear(found.samples, found.light).shape == found.samples.colour.shape


@pytest.mark.parametrize("luminance", [0.05, 0.15, 0.4])
def test_a_believed_tone_decides_how_bright_the_light_is(luminance):
    """The same picture, three beliefs: albedo takes the believed level, light makes up for it."""
    from backend.geometry.tone import ToneBelief

    normals = front_normals()
    mean = np.tile([0.45, 0.28, 0.2], (len(normals), 1))
    basis = 0.4 * mean[None]
    colour = (0.5 * mean + GLOSS) * sh.irradiance(key_light((0.3, 0.4, 0.8), (1, 1, 1)), normals) / np.pi
    unit = np.array([0.45, 0.28, 0.2])
    skin = unit * luminance / float(unit @ [0.2126, 0.7152, 0.0722])
    tone = ToneBelief(skin, 0.2, 5.0, np.zeros(3), 2)
    fit = fit_light(colour, normals, mean, basis, CAMERA_WARD, tone=tone)
    albedo = mean + fit.albedo_coefficients[0] * basis[0]
    assert albedo.mean(0) @ [0.2126, 0.7152, 0.0722] == pytest.approx(luminance, rel=0.15)
    shown = (albedo + GLOSS) * sh.irradiance(fit.radiance_sh, normals) / np.pi
    assert np.median(np.abs(shown / colour - 1)) < 0.08
