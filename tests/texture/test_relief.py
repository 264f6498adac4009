"""Relief against closed forms: slopes asked for are slopes found, lines are read, colour is not."""

from __future__ import annotations

from types import SimpleNamespace

import ellipsoid_head as eh
import numpy as np
import pytest

from backend.artifacts import EvenUV, Run
from backend.texture.grid import working_chart
from backend.texture.materials import materials
from backend.texture.microrelief import add_microrelief
from backend.texture.reflectance import PORE_SLOPE_DEG
from backend.texture.relief import relief

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
    assert np.abs(maps.displacement_m).max() < 2e-6  # nothing is displaced where nothing is seen


def test_painted_lips_leave_no_outline_in_the_displacement(stage):
    _, chart, fit = stage
    lon, lat = eh.chart_coordinates(SIZE)
    lips = np.exp(-((lon / 0.25) ** 2) - (((lat + 0.5) / 0.08) ** 2)) > 0.35
    albedo = _flat() * np.where(lips[..., None], np.array([0.9, 0.25, 0.3], np.float32), 1)
    maps = materials(_even(chart, albedo), fit, chart, SIZE, Run())
    around = chart.inside & (np.abs(lon) < 0.5) & (np.abs(lat + 0.5) < 0.25)
    assert np.abs(maps.displacement_m[around]).max() < 1e-5
    step = np.abs(np.diff(maps.displacement_m, axis=0))[around[1:]]
    assert step.max() < 2e-6  # metres a texel: no step at the lips' border


def test_wrinkles_are_read_and_moles_and_stubble_are_not(stage):
    _, chart, _ = stage
    work = working_chart(chart)
    lon, lat = eh.chart_coordinates(SIZE)
    skin = np.ones((SIZE, SIZE), np.float32)
    texel = 0.0004

    def depth(log_brightness, where):
        image = np.where(chart.inside, log_brightness, 0).astype(np.float32)
        found = relief(image, work, image, skin, texel)
        return float(found.fine[where].std()) / float(np.abs(log_brightness[where]).std())

    column = np.arange(SIZE)[None, :] + np.zeros((SIZE, 1))
    row = np.arange(SIZE)[:, None] + np.zeros((1, SIZE))
    middle = chart.inside & (np.abs(lon) < 0.5) & (np.abs(lat) < 0.3)
    lines = -0.12 * np.exp(-((((column - 256) % 24) - 12) ** 2) / (2 * 1.5**2))
    stubble = np.where(np.random.default_rng(0).random((SIZE, SIZE)) < 0.15, -1.0, 0.0)
    mole = -0.9 * np.exp(-((column - 256) ** 2 + (row - 256) ** 2) / (2 * 3.0**2))
    at_mole = np.hypot(column - 256, row - 256) < 8
    assert depth(lines, middle) > 8 * depth(stubble, middle)
    assert depth(lines, middle) > 5 * depth(mole, at_mole)
