"""Relief against closed forms: slopes asked for are slopes found, lines are read, colour is not."""

from __future__ import annotations

from types import SimpleNamespace

import ellipsoid_head as eh
import numpy as np
import pytest

from backend.artifacts import EvenUV, Run
from backend.shading import sh
from backend.texture.grid import working_chart
from backend.texture.materials import materials
from backend.texture.microrelief import add_microrelief
from backend.texture.mirror import mirror_index
from backend.texture.reflectance import PORE_SLOPE_DEG
from backend.texture.relief import furrows, tangent_normals
from backend.texture.shaded_relief import light_gradient, shaded_relief
from backend.texture.trust import texel_metres
from backend.uvspace.chart import tangent_to_head

SIZE = 512


def _plane(size, texel, seed):
    """A plane through head space at a random angle."""
    axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    u, v = np.meshgrid(np.arange(size) * texel, np.arange(size) * texel)
    position = (u[..., None] * axes[0] + v[..., None] * axes[1] + 0.1).astype(np.float32)
    return SimpleNamespace(position_head=position, face_id=np.zeros((size, size), np.int32))


@pytest.mark.parametrize("texel", [0.00035, 0.00018, 0.00009])
def test_pores_have_the_slope_that_was_asked_for_at_1k_2k_and_4k(texel):
    wanted = np.tan(np.radians(5))
    slope = np.zeros((256, 256, 2), np.float32)
    slope[..., 0] = wanted
    height = np.zeros((256, 256), np.float32)
    add_microrelief(height, slope, _plane(256, texel, 1), texel, seed=3)
    gx = (height[1:-1, 2:] - height[1:-1, :-2]) / (2 * texel)
    gy = (height[2:, 1:-1] - height[:-2, 1:-1]) / (2 * texel)
    assert np.sqrt((gx**2 + gy**2).mean()) == pytest.approx(wanted, rel=0.15)
    assert height.std() < 8e-5  # pores, not craters


def test_lip_lines_run_down_the_lips():
    texel, size = 0.0003, 128
    u, v = np.meshgrid(np.arange(size) * texel, np.arange(size) * texel)
    position = np.stack([u, -v, np.full_like(u, 0.1)], -1).astype(np.float32)
    slope = np.zeros((size, size, 2), np.float32)
    slope[..., 1] = 0.1
    height = np.zeros((size, size), np.float32)
    chart = SimpleNamespace(position_head=position, face_id=np.zeros((size, size), np.int32))
    add_microrelief(height, slope, chart, texel, seed=0)
    across, along = np.diff(height, axis=1), np.diff(height, axis=0)
    assert across.std() > 3 * along.std()


@pytest.fixture(scope="module")
def stage():
    head = eh.make_head()
    chart = eh.make_chart(head, SIZE)
    return head, chart, eh.make_fit(head, eh.uniform_light())


def _even(chart, albedo):
    return EvenUV(np.where(chart.inside[..., None], albedo, 0).astype(np.float32), np.zeros((SIZE, SIZE)))


def _flat():
    return np.broadcast_to(eh.SKIN, (SIZE, SIZE, 3)).astype(np.float32)


def test_even_skin_has_pores_of_its_region(stage):
    _, chart, fit = stage
    maps = materials(_even(chart, _flat()), fit, chart, SIZE, Run())
    lon, lat = eh.chart_coordinates(SIZE)
    tilt = np.degrees(np.arccos(np.clip(maps.normal_tangent[..., 2], -1, 1)))

    def slope(a, b):
        near = chart.inside & (np.hypot(lon - a, lat - b) < 0.06)
        return np.sqrt((tilt[near] ** 2).mean())

    assert slope(0, 0.6) == pytest.approx(PORE_SLOPE_DEG["forehead"], rel=0.35)
    assert slope(0.4, 0.3) == pytest.approx(PORE_SLOPE_DEG["brows"], rel=0.35)


def test_painted_lips_leave_no_outline_in_the_normals(stage):
    _, chart, fit = stage
    lon, lat = eh.chart_coordinates(SIZE)
    lips = np.exp(-((lon / 0.25) ** 2) - (((lat + 0.5) / 0.08) ** 2)) > 0.35
    albedo = _flat() * np.where(lips[..., None], np.array([0.9, 0.25, 0.3], np.float32), 1)
    plain = materials(_even(chart, _flat()), fit, chart, SIZE, Run())
    painted = materials(_even(chart, albedo), fit, chart, SIZE, Run())
    around = chart.inside & (np.abs(lon) < 0.5) & (np.abs(lat + 0.5) < 0.25)
    turned = np.linalg.norm(painted.normal_tangent - plain.normal_tangent, axis=-1)
    assert turned[around].max() < np.radians(0.5)


def test_wrinkles_are_read_and_moles_and_stubble_are_not(stage):
    _, chart, _ = stage
    work = working_chart(chart)
    lon, lat = eh.chart_coordinates(SIZE)
    skin = np.ones((SIZE, SIZE), np.float32)
    texel = 0.0004

    def depth(log_brightness, where):
        image = np.where(chart.inside, log_brightness, 0).astype(np.float32)
        found = furrows(image, work, image, skin, texel)
        return float(found[where].std()) / float(np.abs(log_brightness[where]).std())

    column = np.arange(SIZE)[None, :] + np.zeros((SIZE, 1))
    row = np.arange(SIZE)[:, None] + np.zeros((1, SIZE))
    middle = chart.inside & (np.abs(lon) < 0.5) & (np.abs(lat) < 0.3)
    lines = -0.12 * np.exp(-((((column - 256) % 24) - 12) ** 2) / (2 * 1.5**2))
    stubble = np.where(np.random.default_rng(0).random((SIZE, SIZE)) < 0.15, -1.0, 0.0)
    mole = -0.9 * np.exp(-((column - 256) ** 2 + (row - 256) ** 2) / (2 * 3.0**2))
    at_mole = np.hypot(column - 256, row - 256) < 8
    assert depth(lines, middle) > 8 * depth(stubble, middle)
    assert depth(lines, middle) > 5 * depth(mole, at_mole)


def _lit_from_the_side():
    """Brighter on the subject's left (+x)."""
    light = eh.uniform_light().astype(np.float32)
    light[3] += 0.5 * light[0]
    return light


def test_the_light_gradient_is_the_change_of_brightness_with_the_normal():
    light = _lit_from_the_side()
    radiance = np.asarray(light, np.float64) @ [0.2126, 0.7152, 0.0722]

    def brightness(normal):
        return sh.basis(normal.astype(np.float32)) @ (radiance * sh.COSINE_LOBE)

    normal = np.array([[0.1, 0.2, 1.0], [-0.4, 0.1, 0.9], [0.5, -0.3, 0.8]])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    gradient = light_gradient(normal.astype(np.float32), light)
    assert np.abs((gradient * normal).sum(1)).max() < 1e-5
    for axis in np.eye(3):
        along = axis - normal * (normal @ axis)[:, None]
        moved = normal + 1e-3 * along
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        change = np.log(brightness(moved) / brightness(normal)) / 1e-3
        assert change == pytest.approx((gradient * along).sum(1), abs=0.02)


@pytest.mark.parametrize("side", [1, -1])
def test_relief_is_found_from_its_own_shading(stage, side):
    head, chart, _ = stage
    light = _lit_from_the_side()
    light[3] *= side
    fit = eh.make_fit(head, light)
    work = working_chart(chart)
    texel = texel_metres(work)
    lon, lat = eh.chart_coordinates(SIZE)
    # Ridges down the face, 10 mm apart; the light comes from one side.
    truth = (1e-4 * np.cos(2 * np.pi * chart.position_head[..., 0] / 0.010)).astype(np.float32)
    bent = tangent_to_head(chart.normal_head, chart.tangent_head, tangent_normals(truth, chart, texel))
    radiance = np.asarray(light, np.float64) @ [0.2126, 0.7152, 0.0722] * sh.COSINE_LOBE
    ratio = (sh.basis(bent) @ radiance) / (sh.basis(chart.normal_head) @ radiance)
    log = np.where(chart.inside, np.log(np.maximum(ratio, 1e-3)), 0).astype(np.float32)
    skin = np.ones((SIZE, SIZE), np.float32)
    index = mirror_index(head, work.face_id, work.barycentric)
    found = shaded_relief(log, work, skin, index, fit, texel)
    middle = chart.inside & (np.abs(lon) < 0.5) & (np.abs(lat) < 0.4)
    likeness = np.corrcoef(found.height_m[middle], truth[middle])[0, 1]
    assert likeness > 0.8
    assert found.height_m[middle].std() < truth[middle].std()  # careful, never more than there is
    left = log[middle] - found.log_shading[middle]
    assert left.std() < log[middle].std()  # what the relief shades is not left in the colour
