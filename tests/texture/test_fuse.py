"""Two photographs' texels in one chart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.artifacts import ChartMaps, PartialUV, Run
from backend.shading import sh
from backend.texture.fuse import fuse

SIZE = 256


class Fit:
    """What ``fuse`` reads of a fit."""

    def __init__(self, radiance_sh: np.ndarray) -> None:
        self.radiance_sh = radiance_sh


@pytest.fixture(scope="module")
def ball():
    """A half ball laid flat, its albedo, two lights, and what each of two photographs shows of it."""
    v, u = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1) * 1.6 - 0.8
    normal = np.stack([u, -v, np.sqrt(np.maximum(1 - u**2 - v**2, 0.05))], -1)
    normal = (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32)
    grain = np.random.default_rng(2).uniform(0.9, 1.1, (SIZE, SIZE, 1))
    albedo = (np.array([0.5, 0.35, 0.28]) * grain).astype(np.float32)
    chart = ChartMaps(
        np.zeros((SIZE, SIZE), np.int32),
        np.zeros((SIZE, SIZE, 3), np.float32),
        np.ones((SIZE, SIZE), bool),
        normal,
        normal,
        np.zeros((SIZE, SIZE, 4), np.float32),
    )
    lights = np.zeros((2, 9, 3))
    lights[:, 0] = [[3.0, 2.9, 2.7], [1.4, 1.5, 1.8]]
    lights[0, 3], lights[1, 3] = -0.9, 0.7
    share = np.clip((u + 0.3) / 0.6, 0, 1).astype(np.float32)  # the first sees the right side
    made = []
    for light, confidence in zip(lights, (share, 1 - share * 0.7), strict=True):
        shown = albedo * sh.irradiance(light, normal) / np.pi
        seen = np.where(confidence[..., None] > 0, shown, 0).astype(np.float32)
        made.append(PartialUV(chart, seen, confidence.astype(np.float32), 1.0))
    truth = albedo * sh.irradiance(lights[0], normal) / np.pi
    return made, [Fit(light) for light in lights], truth


def relative_error(partial, truth):
    seen = partial.confidence > 0.2
    return np.abs(partial.rgb_linear - truth)[seen].mean() / truth[seen].mean()


def test_what_the_first_does_not_show_comes_from_the_other_in_the_firsts_light(ball):
    partials, fits, truth = ball
    fused = fuse(partials, fits, Run())
    assert (fused.confidence > 0.2).mean() > (partials[0].confidence > 0.2).mean() + 0.3
    assert relative_error(fused, truth) < 0.02


def test_lights_that_were_fitted_wrongly_are_made_good_by_what_both_show(ball):
    partials, fits, truth = ball
    wrong = [fits[0], Fit(fits[1].radiance_sh * np.array([0.6, 0.8, 1.3]))]
    assert relative_error(fuse(partials, wrong, Run()), truth) < 0.03


def test_what_the_first_shows_surely_is_left_alone(ball):
    partials, fits, _ = ball
    fused = fuse(partials, fits, Run())
    sure = partials[0].confidence > 0.55
    np.testing.assert_array_equal(fused.rgb_linear[sure], partials[0].rgb_linear[sure])


def test_charts_of_other_sizes_are_refused(ball):
    partials, fits, _ = ball
    small = replace(partials[1].chart, face_id=np.zeros((64, 64), np.int32))
    with pytest.raises(ValueError, match="sizes"):
        fuse([partials[0], replace(partials[1], chart=small)], fits, Run())
