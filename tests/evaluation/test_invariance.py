"""Spreads within and between heads with known answers, and on avatars."""

from types import SimpleNamespace

import numpy as np
import pytest
from avatar_cases import TEXELS, make_prediction, plain_materials
from scipy.spatial.transform import Rotation

from backend.evaluation.invariance import (
    Spread,
    albedo_distance,
    identity_distance,
    over_cases,
    shape_distance_mm,
    spread,
)
from backend.head.registry import load_head


def _apart(a, b):
    return float(abs(a - b).sum())


def test_spread_pairs_photographs_of_one_head_and_of_different_heads():
    values = [np.array([v]) for v in (0.0, 1.0, 10.0, 14.0)]
    found = spread(["a", "a", "b", "b"], values, _apart)
    assert found.within == pytest.approx((1 + 4) / 2)
    assert found.between == pytest.approx(np.mean([10, 14, 9, 13]))
    assert found.ratio == pytest.approx(2.5 / 11.5)


def test_a_head_with_many_photographs_weighs_no_more():
    values = [np.array([v]) for v in (0.0, 2.0, 4.0, 10.0, 11.0)]
    found = spread(["a", "a", "a", "b", "b"], values, _apart)
    assert found.within == pytest.approx((np.mean([2, 4, 2]) + 1) / 2)


def test_unknown_spreads_are_none():
    one = [np.zeros(1), np.ones(1)]
    assert spread(["a", "b"], one, _apart) == Spread(None, 1.0)
    assert spread(["a", "a"], one, _apart) == Spread(1.0, None)
    assert Spread(None, 1.0).ratio is None
    assert Spread(0.0, 0.0).ratio is None  # the mean head: never another


def test_distances_have_their_units():
    rng = np.random.default_rng(0)
    shape = rng.normal(0, 0.08, (500, 3))
    turned = shape @ Rotation.from_euler("xyz", [0.2, -0.4, 0.1]).as_matrix().T + [0.3, 0, -1]
    assert shape_distance_mm(shape, turned) < 1e-9  # pose is no difference
    around = np.linalg.norm(shape - shape.mean(0), axis=1).mean()
    assert shape_distance_mm(shape, 1.02 * shape) == pytest.approx(20 * around, rel=1e-6)  # size is
    assert identity_distance(np.array([1.0, 1.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0, 3.0])) == 1.0
    grey = np.full((10, 3), 0.18)
    assert albedo_distance(grey, grey) == 0
    # L* 49.5 against 61.7 (18 % and 30 % reflectance): CIEDE2000 of greys is ΔL* over its S_L.
    mean = (49.496 + 61.654) / 2
    weight = 1 + 0.015 * (mean - 50) ** 2 / np.sqrt(20 + (mean - 50) ** 2)
    assert albedo_distance(grey, np.full((10, 3), 0.30)) == pytest.approx(
        (61.654 - 49.496) / weight, abs=0.02
    )


@pytest.fixture(scope="module")
def set_of_four(tmp_path_factory):
    """Two heads, each seen twice: the second time identity is off by a little and the albedo by a fifth."""
    folder, rng = tmp_path_factory.mktemp("set"), np.random.default_rng(5)
    count = len(load_head("open").identity_basis)
    pairs = []
    for subject, skin in (("anna", 0.30), ("ben", 0.12)):
        identity = rng.normal(size=count).astype(np.float32)
        for photo, (off, factor) in enumerate(((0.0, 1.0), (0.1, 1.2))):
            albedo = np.full((TEXELS, TEXELS, 3), skin * factor, np.float32)
            made = make_prediction(
                folder / f"{subject}{photo}",
                plain_materials(albedo_linear=albedo),
                identity=identity + np.float32(off),
            )
            pairs.append((SimpleNamespace(subject=subject), made))
    return pairs


def test_avatars_of_one_head_lie_nearer_than_heads(set_of_four):
    values = over_cases(set_of_four)
    assert values["spread_identity"] == pytest.approx(0.1, abs=1e-4)
    assert 1.0 < values["spread_identity_heads"] < 2.0
    assert values["spread_identity_ratio"] == pytest.approx(0.1 / values["spread_identity_heads"], rel=1e-3)
    assert 0.05 < values["spread_shape_mm"] < values["spread_shape_heads_mm"] < 10
    assert 2 < values["spread_albedo_delta_e"] < values["spread_albedo_heads_delta_e"]
    ratio = values["spread_albedo_delta_e"] / values["spread_albedo_heads_delta_e"]
    assert values["spread_albedo_ratio"] == pytest.approx(ratio, rel=1e-6)
    shuffled = [(SimpleNamespace(subject=s), made) for s, (_, made) in zip("abab", set_of_four, strict=True)]
    assert over_cases(shuffled)["spread_shape_ratio"] > 1


def test_nothing_gives_nothing():
    assert set(over_cases([]).values()) == {None}
