"""Environment light: orientation, SH projection, blurring, split sum, files — against closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from backend.errors import BadInput
from backend.shading import environment, latlong, prefilter, sh, studio
from backend.shading.environment import Environment

AXES = {"left": (1, 0, 0), "right": (-1, 0, 0), "up": (0, 1, 0), "down": (0, -1, 0), "front": (0, 0, 1)}


def _lobe(height: int, direction: np.ndarray, power: int) -> np.ndarray:
    """max(0, d·direction)^power as a grey lat-long."""
    lobe = np.maximum(latlong.directions(height) @ direction, 0) ** power
    return np.repeat(lobe[..., None], 3, -1).astype(np.float32)


def _random_directions(count: int, seed: int) -> np.ndarray:
    d = np.random.default_rng(seed).normal(size=(count, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)


def test_columns_and_rows_look_where_the_page_says() -> None:
    expected = {0.5: (1, 0, 0), 0.75: (0, 0, 1), 0.25: (0, 0, -1), 0.0: (-1, 0, 0)}
    for u, axis in expected.items():
        row, column = latlong.texel(np.array(axis, float), 64)
        assert row == pytest.approx(32)
        assert column / 128 % 1 == pytest.approx(u)
    assert latlong.texel(np.array([0, 1.0, 0]), 64)[0] == pytest.approx(0)


def test_blender_world_mapping_needs_no_rotation() -> None:
    """Blender's own formula, applied to the head's directions in its Z-up scene, gives our columns."""
    d = latlong.directions(16)
    x, y, z = d[..., 0], -d[..., 2], d[..., 1]  # head → Blender scene
    u, v = 0.5 - np.arctan2(y, x) / (2 * np.pi), np.arcsin(z) / np.pi + 0.5
    rows, columns = np.mgrid[0:16, 0:32] + 0.5
    np.testing.assert_allclose(u * 32, columns, atol=1e-9)
    np.testing.assert_allclose((1 - v) * 16, rows, atol=1e-9)


def test_texel_inverts_directions_and_solid_angles_cover_the_sphere() -> None:
    where = latlong.texel(latlong.directions(12), 12)
    rows, columns = np.mgrid[0:12, 0:24] + 0.5
    np.testing.assert_allclose(where, np.stack([rows, columns], -1), atol=1e-9)
    assert latlong.solid_angles(12).sum() == pytest.approx(4 * np.pi)


def test_rotation_carries_the_front_to_the_left() -> None:
    front = Environment("spot", _lobe(64, np.array([0, 0, 1.0]), 50))
    turned = front.rotated(90).radiance
    peak = latlong.directions(64)[np.unravel_index(turned[..., 0].argmax(), (64, 128))]
    assert peak @ np.array([1, 0, 0]) > 0.999
    for degrees in (17.3, -33.0):  # between texels too
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        exact = _lobe(64, np.array([s, 0, c]), 50)
        np.testing.assert_allclose(front.rotated(degrees).radiance, exact, atol=0.02)


def test_sh_of_constant_light_and_of_a_cosine_lobe_have_their_closed_forms() -> None:
    constant = Environment("constant", np.full((64, 128, 3), 0.7, np.float32))
    expected = np.zeros((9, 3))
    expected[0] = 0.7 * 4 * np.pi * 0.28209479177387814
    np.testing.assert_allclose(constant.radiance_sh, expected, atol=1e-3)  # midpoint rule in elevation

    d = np.array([0.48, 0.6, 0.64])
    lobe = Environment("lobe", _lobe(128, d, 1))
    # A clamped cosine about d projects to A_l·Y_lm(d) (Ramamoorthi & Hanrahan 2001).
    closed = (sh.COSINE_LOBE * sh.basis(d))[:, None].repeat(3, 1)
    np.testing.assert_allclose(lobe.radiance_sh, closed, atol=2e-3)


def test_sh_irradiance_equals_brute_force_for_degree_two_light() -> None:
    rng = np.random.default_rng(3)
    coefficients = rng.normal(size=(9, 3)) * 0.1
    coefficients[0] = 2.0
    at, share = latlong.directions(64), latlong.solid_angles(64)
    radiance = sh.radiance(coefficients, at)
    assert radiance.min() > 0
    normals = _random_directions(20, 4)
    brute = np.einsum("nhw,hwc->nc", np.maximum(np.einsum("nc,hwc->nhw", normals, at), 0) * share, radiance)
    np.testing.assert_allclose(sh.irradiance(coefficients, normals), brute, rtol=2e-3)


def test_irradiance_map_equals_brute_force_even_for_small_lights() -> None:
    light = studio.hard_side()
    at, share = latlong.directions(128), latlong.solid_angles(128)
    normals = _random_directions(60, 5)
    brute = np.einsum(
        "nhw,hwc->nc", np.maximum(np.einsum("nc,hwc->nhw", normals, at), 0) * share, light.radiance
    )
    ours = latlong.sample(light.prefiltered.irradiance, normals)
    np.testing.assert_allclose(ours, brute, atol=0.02 * brute.max())


@pytest.mark.parametrize("index", range(1, len(prefilter.LEVELS)))
def test_specular_levels_match_monte_carlo(index: int) -> None:
    """GGX samples about n = v = r, weighted by n·l, against the convolution."""
    roughness = prefilter.LEVELS[index][0]
    light = Environment(
        "lobes", _lobe(128, np.array([0.6, 0.0, 0.8]), 30) + _lobe(128, np.array([0, 1.0, 0]), 4)
    )
    level = light.prefiltered.specular[index]
    rng = np.random.default_rng(index)
    u1, phi = rng.random(200_000), 2 * np.pi * rng.random(200_000)
    cos2 = (1 - u1) / (1 + (roughness**4 - 1) * u1)
    sin = np.sqrt(1 - cos2)
    h = np.stack([sin * np.cos(phi), sin * np.sin(phi), np.sqrt(cos2)], -1)
    local = 2 * h[:, 2:] * h - np.array([0, 0, 1.0])
    for r in _random_directions(6, 6 + index):
        t = np.cross(r, [0.3, 0.5, 0.8])
        t /= np.linalg.norm(t)
        l = local @ np.stack([t, np.cross(r, t), r])  # noqa: E741
        weight = np.maximum(local[:, 2:], 0)
        expected = (latlong.sample(light.radiance, l) * weight).sum(0) / weight.sum()
        np.testing.assert_allclose(latlong.sample(level, r), expected, atol=0.012)


def test_blurring_keeps_constant_light_constant_everywhere() -> None:
    light = Environment("constant", np.full((64, 128, 3), 1.5, np.float32)).prefiltered
    np.testing.assert_allclose(light.specular, 1.5, rtol=1e-4)
    np.testing.assert_allclose(light.irradiance, 1.5 * np.pi, rtol=1e-4)


def test_split_sum_table_matches_an_independent_integral_of_the_shader() -> None:
    """Uniform hemisphere quadrature of ggx.brdf: nothing shared with the table's importance sampling."""
    torch = pytest.importorskip("torch")
    from backend.shading import ggx

    table = prefilter.brdf_table()
    rows = 400
    el = (np.arange(rows) + 0.5) / rows  # uniform in n·l: equal solid angles
    az = 2 * np.pi * (np.arange(2 * rows) + 0.5) / (2 * rows)
    z, a = np.meshgrid(el, az, indexing="ij")
    s = np.sqrt(1 - z * z)
    l = torch.tensor(np.stack([s * np.cos(a), s * np.sin(a), z], -1).reshape(-1, 3))  # noqa: E741
    n = torch.tensor([0.0, 0.0, 1.0]).double()
    for i, j in ((6, 14), (16, 12), (25, 20), (31, 28), (10, 31)):
        n_v, roughness = (i + 0.5) / 32, (j + 0.5) / 32
        v = torch.tensor([math.sqrt(1 - n_v**2), 0, n_v]).double()
        for specular in (0.5, 1.0):
            f = ggx.brdf(
                n.expand_as(l),
                v.expand_as(l),
                l,
                torch.zeros(1, 3).double(),
                torch.full((1, 1), roughness).double(),
                torch.full((1, 1), specular).double(),
            )
            brute = float((f[:, 0] * l[:, 2]).mean() * 2 * math.pi)
            f0 = 0.08 * specular
            ours = f0 * table[i, j, 0] + min(1, 25 * f0) * table[i, j, 1]
            assert ours == pytest.approx(brute, rel=0.02, abs=3e-4)


def test_sh_light_makes_a_non_negative_image_with_the_same_coefficients() -> None:
    key = Environment("key", _lobe(64, studio.direction(40, 30), 8) + 0.05)
    assert sh.radiance(key.radiance_sh, latlong.directions(32)).min() < 0, "this light must ring"
    image = environment.sh_to_latlong(key.radiance_sh, 64)
    assert image.shape == (64, 128, 3)
    assert image.min() >= 0
    back = Environment("back", image).radiance_sh
    np.testing.assert_allclose(back, key.radiance_sh, atol=0.01 * np.abs(key.radiance_sh).max())


def test_sh_light_that_nothing_can_emit_comes_as_close_as_it_can() -> None:
    impossible = np.zeros((9, 3))
    impossible[0], impossible[3] = 1.0, 4.0  # more slope than a point light has
    image = environment.sh_to_latlong(impossible, 32)
    assert np.isfinite(image).all()
    assert image.min() >= 0
    towards = (latlong.directions(32)[..., 0] > 0)[..., None]
    assert (image * towards).sum() > 10 * (image * ~towards).sum()
    assert (image * towards).sum() > 0


def test_hdr_file_round_trip_and_bad_files(tmp_path: Path) -> None:
    light = studio.three_point()
    environment.write_hdr(tmp_path / "studio.hdr", light.radiance)
    back = environment.read_hdr(tmp_path / "studio.hdr")
    assert back.name == "studio"
    # RGBE shares one exponent: 1/256 of the largest channel.
    np.testing.assert_allclose(back.radiance, light.radiance, atol=1e-6, rtol=0.02)

    (tmp_path / "not.hdr").write_bytes(b"JFIF nothing of the kind")
    (tmp_path / "cut.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 64 +X 128\n")
    environment.write_hdr(tmp_path / "square.hdr", np.ones((8, 8, 3), np.float32))
    for name, says in (("none", "cannot read"), ("not", "Radiance"), ("square", "twice as wide")):
        with pytest.raises(BadInput, match=says):
            environment.read_hdr(tmp_path / f"{name}.hdr")
    with pytest.raises(BadInput):
        environment.read_hdr(tmp_path / "cut.hdr")


def test_real_panorama_has_its_sky_above(shared_data: Path) -> None:
    light = environment.read_hdr(shared_data / "hdri" / "immenstadter_horn_1k.hdr")
    up = sh.irradiance(light.radiance_sh, np.array([0, 1.0, 0])).mean()
    assert up > 1.5 * sh.irradiance(light.radiance_sh, np.array([0, -1.0, 0])).mean()


@pytest.mark.parametrize("make", [studio.three_point, studio.hard_side, studio.soft_sky])
def test_studio_lights_expose_a_white_card(make: object) -> None:
    light = make()  # type: ignore[operator]
    card = latlong.sample(light.prefiltered.irradiance, np.array([0, 0, 1.0])).mean() / np.pi
    assert 0.55 < card < 1.05


def test_a_panorama_can_be_exposed_for_the_face() -> None:
    spot = Environment("spot", _lobe(64, np.array([0, 0, 1.0]), 8))
    card = latlong.sample(spot.exposed(0.8).prefiltered.irradiance, np.array([0, 0, 1.0])).mean() / np.pi
    assert card == pytest.approx(0.8, rel=0.02)
    with pytest.raises(BadInput, match="dark in front"):
        spot.rotated(180).exposed()


def test_studio_lights_shine_from_where_they_say() -> None:
    def side(light: Environment, axis: str) -> float:
        return float(latlong.sample(light.prefiltered.irradiance, np.array(AXES[axis], float)).mean())

    assert side(studio.hard_side(), "left") > 5 * side(studio.hard_side(), "right")
    assert side(studio.three_point(), "right") > 1.3 * side(studio.three_point(), "left")
    assert side(studio.soft_sky(), "up") > 2 * side(studio.soft_sky(), "down")
