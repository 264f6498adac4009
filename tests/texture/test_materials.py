"""Material maps: ranges, frames, bands, regions, resampling, determinism."""

from __future__ import annotations

import ellipsoid_head as eh
import numpy as np
import pytest

from backend.artifacts import EvenUV, Run
from backend.errors import BadInput
from backend.texture.materials import ALBEDO_RANGE, materials
from backend.texture.reflectance import BY_REGION, regional
from backend.texture.regions import to_chart
from backend.texture.relief import tangent_normals

SIZE = 512


@pytest.fixture(scope="module")
def made():
    head = eh.make_head()
    chart = eh.make_chart(head, SIZE)
    albedo = eh.skin_albedo(SIZE)
    even = EvenUV(np.where(chart.inside[..., None], albedo, 0).astype(np.float32), np.zeros((SIZE, SIZE)))
    fit = eh.make_fit(head, eh.uniform_light())
    return even, fit, chart, materials(even, fit, chart, SIZE, Run())


def test_all_maps_are_in_range_and_finite_also_outside_the_chart(made):
    *_, maps = made
    for image in (maps.albedo_linear, maps.roughness, maps.specular):
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert image.max() <= 1
    assert maps.albedo_linear.min() > 0
    assert np.isfinite(maps.displacement_m).all()


def test_normals_are_unit_and_face_outwards(made):
    *_, maps = made
    assert np.linalg.norm(maps.normal_tangent, axis=-1) == pytest.approx(1, abs=1e-4)
    assert maps.normal_tangent[..., 2].min() > 0.8
    assert np.abs(maps.normal_tangent[..., :2].mean((0, 1))).max() < 0.01


def test_what_the_photo_does_not_tell_is_the_regions_prior(made):
    _, fit, chart, maps = made
    assert not maps.displacement_m.any()
    priors = to_chart(regional(fit.head)[:, :2], fit.head.triangles, chart.face_id, chart.barycentric)
    assert np.abs(maps.roughness - priors[..., 0])[chart.inside].max() < 1e-5
    assert np.abs(maps.specular - priors[..., 1])[chart.inside].max() < 1e-5


def test_albedo_of_plausible_skin_is_kept(made):
    _, _, chart, maps = made
    truth = eh.skin_albedo(SIZE)
    assert np.abs(maps.albedo_linear - truth)[chart.inside].mean() < 0.005


@pytest.mark.parametrize("scale", [8.0, 0.01])
def test_no_texel_leaves_the_range_of_skin_and_hair(made, scale):
    even, fit, chart, _ = made
    wrong = EvenUV(even.rgb_linear * np.float32(scale), even.relit)
    found = materials(wrong, fit, chart, SIZE, Run()).albedo_linear[chart.inside]
    assert found.min() >= ALBEDO_RANGE[0] - 1e-6
    assert found.max() <= ALBEDO_RANGE[1] + 1e-6


def test_tangent_normals_of_a_known_ramp():
    head = eh.make_head()
    chart = eh.make_chart(head, 256)
    # A height that grows with world y: the slope's direction in space is known at every texel.
    slope = 0.2
    height = (slope * chart.position_head[..., 1]).astype(np.float32)
    found = tangent_normals(height, chart, 0.002)
    n, t = chart.normal_head, chart.tangent_head[..., :3]
    b = chart.tangent_head[..., 3:] * np.cross(n, t)
    up = np.array([0, slope, 0], np.float32)
    gradient = up - n * (n @ up)[..., None]
    expected = np.stack([-(gradient * t).sum(-1), -(gradient * b).sum(-1), np.ones(n.shape[:2])], -1)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    lon, lat = eh.chart_coordinates(256)
    smooth = chart.inside & (np.abs(lat) < 1.0) & (np.abs(lon) < 2.8) & (np.abs(lon) > 0.5)
    angle = np.degrees(np.arccos(np.clip((found * expected).sum(-1), -1, 1)))[smooth]
    assert np.median(angle) < 0.5
    assert np.percentile(angle, 98) < 3


def test_lips_are_glossier_than_the_forehead_and_the_forehead_than_the_rest(made):
    _, fit, _, maps = made
    lon, lat = eh.chart_coordinates(SIZE)

    def around(a, b):
        return maps.roughness[np.hypot(lon - a, lat - b) < 0.05].mean()

    assert around(0, -0.5) < around(0, 0.6) < around(2.5, 0.0)
    values = regional(fit.head)
    bounds = np.array(list(BY_REGION.values()))
    assert values[:, 0].min() >= bounds[:, 0].min() - 1e-6
    assert values[:, 0].max() <= bounds[:, 0].max() + 1e-6


def test_colour_of_brows_is_not_embossed(made):
    _, _, _, maps = made
    lon, lat = eh.chart_coordinates(SIZE)
    brow = (np.abs(np.abs(lon) - 0.4) < 0.12) & (np.abs(lat - 0.3) < 0.03)
    cheek = (np.abs(np.abs(lon) - 0.9) < 0.12) & (np.abs(lat) < 0.1)
    tilt = np.linalg.norm(maps.normal_tangent[..., :2], axis=-1)
    assert tilt[brow].mean() < 1.5 * tilt[cheek].mean()


@pytest.mark.parametrize("size", [256, 1024])
def test_another_map_size_is_resampled(made, size):
    even, fit, chart, maps = made
    other = materials(even, fit, chart, size, Run())
    assert other.albedo_linear.shape == (size, size, 3)
    assert np.linalg.norm(other.normal_tangent, axis=-1) == pytest.approx(1, abs=1e-4)
    assert other.albedo_linear.mean() == pytest.approx(maps.albedo_linear.mean(), rel=0.01)


def test_a_tiny_map_is_refused(made):
    even, fit, chart, _ = made
    with pytest.raises(BadInput, match="too small"):
        materials(even, fit, chart, 8, Run())


def test_the_seed_decides_the_pores(made):
    even, fit, chart, maps = made
    assert np.array_equal(materials(even, fit, chart, SIZE, Run()).normal_tangent, maps.normal_tangent)
    other = materials(even, fit, chart, SIZE, Run(seed=9))
    assert not np.array_equal(other.normal_tangent, maps.normal_tangent)
    assert np.array_equal(other.albedo_linear, maps.albedo_linear)
