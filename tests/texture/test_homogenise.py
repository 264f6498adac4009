"""Homogenisation against known albedo under known light."""

from __future__ import annotations

import ellipsoid_head as eh
import numpy as np
import pytest

from backend.artifacts import CompleteUV, Run
from backend.geometry.light import GLOSS
from backend.shading import sh
from backend.texture.asymmetry import large_structures
from backend.texture.homogenise import homogenise
from backend.texture.visibility import shadowed_transfer

SIZE = 256
LIGHTS = {
    "from the left": ((0.9, 0.1, 0.4), 0.45),
    "from the right": ((-0.8, 0.3, 0.5), 0.45),
    "from above": ((0.0, 1.0, 0.5), 0.5),
    "from the front": ((0.1, 0.2, 1.0), 0.6),
}


@pytest.fixture(scope="module")
def stage():
    head = eh.make_head()
    chart = eh.make_chart(head, SIZE)
    return head, chart, eh.skin_albedo(SIZE), chart.inside & (chart.normal_head[..., 2] > 0)


def _seen(chart, lit):
    return CompleteUV(lit, chart.inside.astype(np.float32))


def _error(image, albedo, where):
    """Mean absolute error after the best common scale, so that exposure earns nothing."""
    a, b = image[where].astype(np.float64), albedo[where].astype(np.float64)
    return np.abs(a * (a * b).sum() / (a * a).sum() - b).mean()


@pytest.mark.parametrize("name", LIGHTS)
@pytest.mark.parametrize("knowledge", ["light known", "light guessed"])
def test_most_of_the_light_goes_out(stage, name, knowledge):
    head, chart, albedo, front = stage
    direction, ambient = LIGHTS[name]
    light = eh.directional_light(direction, ambient, 1.2)
    lit = eh.shade(albedo, chart, light)
    guess = light if knowledge == "light known" else 0.6 * light + 0.4 * eh.uniform_light()
    even = homogenise(_seen(chart, lit), eh.make_fit(head, guess.astype(np.float32)), chart, Run())
    assert _error(even.rgb_linear, albedo, front) < 0.5 * _error(lit, albedo, front)


def test_an_evenly_lit_chart_stays_as_it_is(stage):
    head, chart, albedo, _ = stage
    light = eh.uniform_light()
    even = homogenise(_seen(chart, eh.shade(albedo, chart, light)), eh.make_fit(head, light), chart, Run())
    # Creases (the sides of the nose) are opened up a little: even light does not reach them all.
    change = np.abs(even.rgb_linear / np.maximum(albedo, 0.05) - 1)[chart.inside]
    assert np.median(change) < 0.03
    assert np.percentile(change, 95) < 0.12
    assert np.median(even.relit[chart.inside]) < 0.05


def test_moles_brows_and_lips_stay(stage):
    head, chart, albedo, _ = stage
    light = eh.directional_light((0.9, 0.1, 0.4), 0.45, 1.2)
    even = homogenise(_seen(chart, eh.shade(albedo, chart, light)), eh.make_fit(head, light), chart, Run())
    lon, lat = eh.chart_coordinates(SIZE)
    for a, b, away in ((0.7, -0.1, 0.12), (0.4, 0.3, 0.2), (-0.4, 0.3, 0.2)):
        spot = (np.hypot(lon - a, lat - b) < 0.02) & chart.inside
        beside = (np.abs(np.hypot(lon - a, lat - b - away) - 0.0) < 0.04) & chart.inside
        truth = albedo[spot].mean() / albedo[beside].mean()
        found = even.rgb_linear[spot].mean() / even.rgb_linear[beside].mean()
        assert found == pytest.approx(truth, rel=0.25)


def test_what_was_filled_in_deep_shadow_is_as_light_as_in_a_brighter_photo(stage):
    head, chart, albedo, _ = stage
    light = eh.directional_light((0.9, 0.1, 0.4), 0.2, 1.2)
    lon, _ = eh.chart_coordinates(SIZE)
    lit = eh.shade(albedo, chart, light)
    seen = (chart.inside & (lon > -0.3)).astype(np.float32)
    bright, dark = (
        homogenise(CompleteUV(g * lit, seen), eh.make_fit(head, g * light), chart, Run()).rgb_linear
        for g in (np.float32(1.0), np.float32(0.12))
    )
    filled = chart.inside & (lon < -0.4)
    ratio = dark[filled].mean(-1) / np.maximum(bright[filled].mean(-1), 1e-3)
    assert np.percentile(ratio, 5) > 0.9


def test_painted_lips_stay_and_a_part_of_them_that_light_reddens_does_not(stage):
    head, chart, albedo, _ = stage
    light = eh.uniform_light()
    fit = eh.make_fit(head, light)
    lon, lat = eh.chart_coordinates(SIZE)
    lips = (np.hypot(lon / 0.25, (lat + 0.5) / 0.08) < 0.8) & chart.inside
    middle, sides = lips & (np.abs(lon) < 0.08), lips & (np.abs(lon) > 0.13)
    skin = chart.inside & (np.abs(np.abs(lon) - 0.5) < 0.1) & (np.abs(lat + 0.5) < 0.1)

    def redness(image, here, beside):
        rgb, other = image[here].mean(0), image[beside].mean(0)
        return float(np.log(rgb[0] / rgb[2]) - np.log(other[0] / other[2]))

    painted = albedo.copy()
    painted[lips] *= np.array([1.1, 0.45, 0.5], np.float32)
    even = homogenise(_seen(chart, eh.shade(painted, chart, light)), fit, chart, Run()).rgb_linear
    assert redness(even, lips, skin) == pytest.approx(redness(painted, lips, skin), rel=0.2)

    lit = eh.shade(albedo, chart, light)
    lit[middle] *= np.array([1.3, 0.8, 0.6], np.float32)
    even = homogenise(_seen(chart, lit), fit, chart, Run()).rgb_linear
    truth = redness(albedo, middle, sides)
    assert abs(redness(even, middle, sides) - truth) < 0.8 * abs(redness(lit, middle, sides) - truth)


def test_a_hard_shadow_over_one_half_is_balanced_and_named(stage):
    head, chart, albedo, front = stage
    light = eh.directional_light((0.0, 0.2, 1.0), 0.6, 0.8)
    lit = eh.shade(albedo, chart, light)
    lon, _ = eh.chart_coordinates(SIZE)
    shadow = lon < -0.1
    lit[shadow] *= np.array([0.28, 0.30, 0.34], np.float32)  # skylight fills the shadow, bluish
    run = Run()
    even = homogenise(_seen(chart, lit), eh.make_fit(head, light), chart, run)
    assert any("shadow" in w for w in run.warnings)
    assert _error(even.rgb_linear, albedo, front) < 0.5 * _error(lit, albedo, front)
    cheek = front & (np.abs(np.abs(lon) - 0.8) < 0.2)
    left, right = even.rgb_linear[cheek & (lon > 0)].mean(0), even.rgb_linear[cheek & (lon < 0)].mean(0)
    assert right == pytest.approx(left, rel=0.15)


def test_a_cast_shadow_on_both_cheeks_goes_out_up_to_its_edge(stage):
    head, chart, albedo, front = stage
    light = eh.uniform_light()
    lit = eh.shade(albedo, chart, light)
    lon, lat = eh.chart_coordinates(SIZE)
    away = np.hypot(np.abs(lon) - 0.75, lat + 0.05)
    lit[away < 0.16] *= 0.45  # on both sides, so that comparing them tells nothing
    even = homogenise(_seen(chart, lit), eh.make_fit(head, light), chart, Run()).rgb_linear
    ratio = even.mean(-1) / albedo.mean(-1)
    ratio = ratio / np.median(ratio[front & (away > 0.3)])
    edge, rim = front & (away > 0.13) & (away < 0.155), front & (away > 0.165) & (away < 0.19)
    assert np.median(ratio[edge]) > 0.75
    assert np.median(ratio[rim]) == pytest.approx(1, abs=0.08)  # a blurred correction glows here


def test_a_white_highlight_on_the_forehead_is_reduced(stage):
    head, chart, albedo, _ = stage
    light = eh.uniform_light()
    lit = eh.shade(albedo, chart, light)
    lon, lat = eh.chart_coordinates(SIZE)
    gloss = 0.25 * np.exp(-((lon / 0.15) ** 2) - ((lat - 0.6) / 0.1) ** 2)
    shiny = (lit + gloss[..., None] * chart.inside[..., None]).astype(np.float32)
    even = homogenise(_seen(chart, shiny), eh.make_fit(head, light), chart, Run())
    spot = gloss > 0.12
    assert np.abs(even.rgb_linear - albedo)[spot].mean() < 0.5 * np.abs(shiny - albedo)[spot].mean()


def test_an_unbalanced_white_point_is_left_to_the_camera(stage):
    head, chart, albedo, _ = stage
    # The fit says greenish light; photos are white-balanced, so most of it must be the skin's own colour.
    light = eh.uniform_light()
    green = (light * np.array([0.9, 1.1, 0.9])).astype(np.float32)
    lit = eh.shade(albedo * np.array([0.9, 1.1, 0.9], np.float32), chart, light)
    even = homogenise(_seen(chart, lit), eh.make_fit(head, green), chart, Run()).rgb_linear[chart.inside]
    seen = lit[chart.inside]
    ratio = (even[:, 1] / even[:, 0]).mean() / (seen[:, 1] / seen[:, 0]).mean()
    assert 0.9 < ratio < 1.0


def test_creases_do_not_glow_when_the_fitted_head_is_deeper_than_the_face(stage):
    head, chart, albedo, _ = stage
    # Lit without self-shadowing: dividing by a shadowed shading would brighten beside the nose.
    light = eh.directional_light((0.6, 0.3, 0.8), 0.4, 1.2)
    even = homogenise(_seen(chart, eh.shade(albedo, chart, light)), eh.make_fit(head, light), chart, Run())
    lon, lat = eh.chart_coordinates(SIZE)
    beside = chart.inside & (np.abs(np.abs(lon) - 0.25) < 0.05) & (np.abs(lat + 0.05) < 0.1)
    assert np.percentile(even.rgb_linear[beside] / albedo[beside], 95) < 1.3


def test_output_is_finite_filled_and_the_same_twice(stage):
    head, chart, albedo, _ = stage
    light = eh.directional_light((0.9, 0.1, -0.4), 0.1, 1.2)  # from behind: half the chart is near black
    lit = eh.shade(albedo, chart, light)
    fit = eh.make_fit(head, light)
    first = homogenise(_seen(chart, lit), fit, chart, Run())
    assert np.isfinite(first.rgb_linear).all()
    assert first.rgb_linear.min() >= 0
    assert 0 <= first.relit.min() <= first.relit.max() <= 1
    assert np.array_equal(first.rgb_linear, homogenise(_seen(chart, lit), fit, chart, Run()).rgb_linear)


def test_small_one_sided_features_are_no_light_and_large_ones_are():
    inside = np.ones((128, 128), bool)
    data = np.zeros((128, 128, 1), np.float32)
    data[:, 64:] = 0.8
    r, c = np.mgrid[0:128, 0:128]
    data[(r - 40) ** 2 + (c - 30) ** 2 < 9] = -1.5
    field = large_structures(data, np.ones((128, 128), np.float32), inside, radius=8)[..., 0]
    assert abs(field[40, 30]) < 0.15
    assert field[60, 100] == pytest.approx(0.8, abs=0.05)
    assert field[60, 68] - field[60, 59] > 0.6  # the edge is still sharp


def test_transfer_without_occluders_is_the_closed_form_and_a_cavity_is_darker():
    head = eh.make_head()
    transfer, openness = shadowed_transfer(head, head.mean_vertices)
    # An ellipsoid is convex away from its nose: nothing there may be lost.
    z, x = head.mean_vertices[:, 2], head.mean_vertices[:, 0]
    convex = (z < 0.03) & (np.abs(head.mean_vertices[:, 1]) < 0.08)
    assert openness[convex].min() > 0.97
    light = eh.directional_light((0.5, 0.5, 0.5), 0.5, 1.0)
    normal = eh.make_chart(head, 64)
    assert sh.irradiance(light, normal.normal_head).shape[-1] == 3
    exact = sh.irradiance(
        light,
        head.mean_vertices[convex]
        / eh.RADII**2
        / np.linalg.norm(head.mean_vertices[convex] / eh.RADII**2, axis=1, keepdims=True),
    )
    assert np.abs(transfer[convex] @ light / exact - 1).max() < 0.05
    beside_nose = (np.abs(np.abs(x) - 0.022) < 0.006) & (z > 0.06) & (np.abs(head.mean_vertices[:, 1]) < 0.03)
    assert openness[beside_nose].min() < openness[convex].min()


@pytest.mark.parametrize("strength", [0.25, 3.0])
def test_albedo_has_the_fitted_level_however_the_photo_is_exposed(stage, strength):
    head, chart, albedo, front = stage
    light = eh.directional_light((0.3, 0.3, 0.9), 0.5, 1.2)
    gloss = GLOSS * eh.shade(np.ones_like(albedo), chart, light)
    lit = (strength * (eh.shade(albedo, chart, light) + gloss)).astype(np.float32)
    even = homogenise(_seen(chart, lit), eh.make_fit(head, light), chart, Run())
    ratio = even.rgb_linear[front] / albedo[front]
    assert np.median(ratio) == pytest.approx(1, abs=0.08)
