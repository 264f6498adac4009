"""Fields and marks against finite differences, counts and averages of their own values."""

import numpy as np
import pytest

from synthdata.skin.fields import furrows, noise
from synthdata.skin.marks import Lines, Spots
from synthdata.skin.relief import FURROW_SLOPE_VARIANCE, NOISE_SLOPE_VARIANCE

STEP = np.float32(0.01)
UP = np.array([0, 0, 1], np.float32)
LOW, HIGH = np.full(3, -2, np.float32), np.full(3, 22, np.float32)


def _places(count=4000, seed=0):
    return np.random.default_rng(seed).uniform(1, 19, (count, 3)).astype(np.float32)


def _fine(places):
    return np.zeros(len(places), np.float32)


def _up(places):
    return np.tile(UP, (len(places), 1))


@pytest.mark.parametrize("field", [noise, furrows])
def test_a_fields_slope_is_its_derivative(field):
    places = _places()
    _, slope = field(places, _fine(places), 3.0, 5)
    for axis in range(3):
        step = STEP * np.eye(3, dtype=np.float32)[axis]
        ahead, behind = (field(places + s * step, _fine(places), 3.0, 5)[0] for s in (1, -1))
        error = np.abs((ahead - behind) / (2 * STEP) - slope[:, axis])
        assert np.quantile(error, 0.97) < 0.02 * np.abs(slope).max()  # furrows cross where cells meet


def test_noise_has_unit_variance_and_the_slopes_that_roughness_counts_on():
    value, slope = noise(10 * _places(40000), _fine(_places(40000)), 1.0, 3)
    assert abs(value.mean()) < 0.05
    assert value.std() == pytest.approx(1.0, abs=0.15)
    assert slope.var() == pytest.approx(NOISE_SLOPE_VARIANCE, rel=0.25)


def test_furrows_lower_nothing_on_average():
    value, slope = furrows(10 * _places(40000), _fine(_places(40000)), 1.0, 3)
    assert abs(value.mean()) < 0.02
    assert value.min() < -0.6
    assert slope.var() == pytest.approx(FURROW_SLOPE_VARIANCE, rel=0.25)


def test_a_coarse_texel_sees_the_average_of_noise():
    place = _places(300)
    coarse = np.full(len(place), 1.0, np.float32)
    seen, _ = noise(place, coarse, 3.0, 5)
    spread = np.random.default_rng(1).normal(0, 0.5, (400, 3)).astype(np.float32)
    spread[:, 2] *= 0.0
    many = (place[:, None] + spread).reshape(-1, 3)
    average = noise(many, _fine(many), 3.0, 5)[0].reshape(len(place), -1).mean(1)
    assert np.corrcoef(seen, average)[0, 1] > 0.97
    assert np.polyfit(seen, average, 1)[0] == pytest.approx(1.0, abs=0.12)


def _spots():
    rng = np.random.default_rng(2)
    centre = rng.uniform(1, 19, (30, 3)).astype(np.float32)
    values = rng.uniform(0.5, 1, (30, 2)).astype(np.float32)
    return Spots(centre, _up(centre), np.full(30, 1.2, np.float32), values, flat=1.3)


def _lines():
    rng = np.random.default_rng(3)
    start = rng.uniform(2, 18, (30, 3)).astype(np.float32)
    end = start + rng.normal(0, 1, (30, 3)).astype(np.float32)
    return Lines(start, end, _up(start), np.full(30, 0.8, np.float32), np.ones((30, 2), np.float32))


@pytest.mark.parametrize("kind", ["spots", "strongest"])
def test_a_marks_slope_is_its_derivative(kind):
    marks = _spots() if kind == "spots" else _lines()
    grid = marks.grid(LOW, HIGH, np.zeros(30, np.float32))
    places = _places()

    def at(p):
        drawn = marks.at if kind == "spots" else marks.strongest
        value, slope = drawn(grid, np.ascontiguousarray(p, np.float32), _up(p), _fine(p))
        return (value[:, 0] if value.ndim == 2 else value), slope

    _, slope = at(places)
    assert np.abs(slope).max() > 0.3
    for axis in range(3):
        step = STEP * np.eye(3, dtype=np.float32)[axis]
        found = (at(places + step)[0] - at(places - step)[0]) / (2 * STEP)
        assert np.quantile(np.abs(found - slope[:, axis]), 0.98) < 0.02


def test_a_mark_on_another_fold_of_skin_is_not_seen():
    spots = _spots()
    grid = spots.grid(LOW, HIGH, np.zeros(30, np.float32))
    at = spots.centre_mm
    assert (spots.at(grid, at, _up(at), _fine(at))[0][:, 0] > 0.4).all()
    assert (spots.at(grid, at, -_up(at), _fine(at))[0] == 0).all()


@pytest.mark.parametrize("footprint", [0.0, 0.5, 1.0])
def test_a_spot_holds_as_much_pigment_at_every_size(footprint):
    one = Spots(
        np.full((1, 3), 10, np.float32), UP[None], np.ones(1, np.float32), np.ones((1, 1), np.float32)
    )
    grid = one.grid(LOW, HIGH, np.full(1, footprint, np.float32))
    x, y = np.meshgrid(np.linspace(5, 15, 101), np.linspace(5, 15, 101))
    plane = np.stack([x, y, np.full_like(x, 10)], -1).reshape(-1, 3).astype(np.float32)
    value, _ = one.at(grid, plane, _up(plane), np.full(len(plane), footprint, np.float32))
    assert value.sum() * 0.01 == pytest.approx(np.pi, rel=0.02)
