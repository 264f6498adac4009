"""Relighting and self-shadowing against brute-force integrals and closed forms."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from spheres import SphereBuffer, front_camera, sphere_buffer, sphere_mesh

from backend.shading import latlong, shadows, studio
from backend.shading.environment import Environment
from backend.shading.relight import relight


def _uniform(level: float) -> Environment:
    return Environment("uniform", np.full((64, 128, 3), level, np.float32))


def test_matte_sphere_in_uniform_light_shows_its_albedo() -> None:
    camera = front_camera()
    buffer = sphere_buffer(camera, albedo=0.3, specular=0.0)
    image = relight(buffer, _uniform(2.0), camera)
    np.testing.assert_allclose(image[buffer.mask], 0.6, rtol=1e-4)
    assert (image[~buffer.mask] == 0).all()


def test_shiny_sphere_matches_the_integral_of_the_shader() -> None:
    """Brute force over every texel of the panorama through ggx.brdf."""
    torch = pytest.importorskip("torch")
    from backend.shading import ggx

    light = Environment("studio", latlong.shrink(studio.three_point().radiance, 48))
    camera = front_camera()
    buffer = sphere_buffer(camera, albedo=0.4, roughness=0.5, specular=0.7)
    image = relight(buffer, light, camera)

    rows, columns = np.nonzero(buffer.mask)
    pick = np.random.default_rng(1).choice(len(rows), 40, replace=False)
    at = torch.tensor(latlong.directions(48).reshape(-1, 3))
    received = torch.tensor((light.radiance * latlong.solid_angles(48)[..., None]).reshape(-1, 3)).double()
    ours, brute = [], []
    for r, c in zip(rows[pick], columns[pick], strict=True):
        n = torch.tensor(buffer.normal_head[r, c]).double()
        v = torch.tensor(camera.centre_head - buffer.position_head[r, c]).double()
        v = v / v.norm()
        if float(n @ v) < 0.35:  # split-sum's mirror-symmetric lobe is known to be wrong at grazing views
            continue
        one = torch.ones(1, 1).double()
        f = ggx.brdf(
            n.expand_as(at), v.expand_as(at), at, 0.4 * torch.ones(1, 3).double(), 0.5 * one, 0.7 * one
        )
        brute.append((f * (at @ n).clamp_min(0)[:, None] * received).sum(0).numpy())
        ours.append(image[r, c])
    assert len(ours) > 20
    error = np.abs(np.array(ours) - np.array(brute)).mean() / np.array(brute).mean()
    assert error < 0.03


def test_a_mirror_shows_the_panorama_where_it_reflects() -> None:
    light = studio.hard_side()
    lamp = studio.direction(68, 22)
    camera = front_camera()
    half = (lamp + np.array([0, 0, 1.0])) / np.linalg.norm(lamp + np.array([0, 0, 1.0]))
    away = half * np.array([-1, 1, 1])
    one = np.ones((1, 2), np.float32)
    flat = SphereBuffer(
        position_head=np.zeros((1, 2, 3), np.float32),
        normal_head=np.stack([half, away])[None].astype(np.float32),
        smooth_normal_head=np.stack([half, away])[None].astype(np.float32),
        albedo_linear=np.zeros((1, 2, 3), np.float32),
        roughness=0.02 * one,
        specular=one,
        part=np.ones((1, 2), np.int16),
    )
    glint, dark = relight(flat, light, camera)[0].mean(-1)
    f0 = 0.08 + 0.92 * (1 - half[2]) ** 5
    peak = light.radiance.mean(-1).max()
    assert glint == pytest.approx(f0 * peak, rel=0.25)  # 128 rows resolve the lamp just about
    assert glint > 50 * dark


def test_light_spreads_below_skin_reddest_and_conserves_light() -> None:
    camera = front_camera(size=192)
    light = studio.hard_side()
    matte = sphere_buffer(camera, specular=0.0)
    skin = dataclasses.replace(matte, part=np.minimum(matte.part, 0).astype(np.int16))
    before, after = relight(matte, light, camera), relight(skin, light, camera)
    np.testing.assert_allclose(after.sum((0, 1)), before.sum((0, 1)), rtol=0.02)
    # At the terminator the red channel reaches into the shade.
    change = np.abs(after - before)[matte.mask].mean(0)
    assert change[0] > change[1] > change[2]


def test_median_cut_keeps_the_energy_and_finds_the_lamp() -> None:
    light = studio.hard_side()
    directions, irradiances = shadows.median_cut(light.radiance, 64)
    total = (light.radiance * latlong.solid_angles(128)[..., None]).sum((0, 1))
    np.testing.assert_allclose(irradiances.sum(0), total, rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-9)
    share = irradiances.mean(1) / irradiances.mean(1).sum()
    # Close to equal: texels of a lamp 7° across are coarse, so a few regions hold one bright texel.
    assert share.max() < 0.06
    near = directions @ studio.direction(68, 22) > math.cos(math.radians(9))
    lamp = latlong.directions(128) @ studio.direction(68, 22) > math.cos(math.radians(9))
    inside = (light.radiance * latlong.solid_angles(128)[..., None] * lamp[..., None]).sum() / total.sum()
    assert share[near].sum() == pytest.approx(inside, abs=0.08)


def test_ball_over_floor_hides_its_form_factor_of_a_uniform_sky() -> None:
    """A ball of radius R at distance d and angle θ from the normal covers (R/d)² cosθ of the light."""
    ball, triangles = sphere_mesh((0, 0.12, 0), 0.06)
    maps = shadows.cast(_uniform(1.0), ball, triangles, count=1024, size=64)
    x = np.array([0.03, 0.05, 0.08, 0.12, 0.2], np.float32)
    points = np.stack([x, 0 * x, 0 * x], 1)
    up = np.tile(np.array([[0, 1, 0]], np.float32), (5, 1))
    d2 = 0.12**2 + x**2
    expected = 1 - 0.06**2 / d2 * 0.12 / np.sqrt(d2)
    np.testing.assert_allclose(shadows.lit_fraction(maps, points, up)[:, 0], expected, atol=0.02)


def test_ball_casts_its_shadow_away_from_a_lamp_and_not_on_itself() -> None:
    ball, triangles = sphere_mesh((0, 0.0, 0), 0.05)
    lamp = studio.direction(68, 22)
    maps = shadows.cast(studio.hard_side(), ball, triangles, count=64, size=128)
    behind = (-0.12 * lamp)[None].astype(np.float32)
    beside = np.array([[0, 0.12, 0]], np.float32)
    towards = lamp[None].astype(np.float32)
    assert shadows.lit_fraction(maps, behind, towards).max() < 0.35  # what is left is the room's own light
    assert shadows.lit_fraction(maps, beside, towards).min() > 0.95
    facing = (ball @ lamp) > 0.02
    normal = (ball / 0.05).astype(np.float32)
    own = shadows.lit_fraction(maps, ball[facing], normal[facing])
    assert own.mean() > 0.98
