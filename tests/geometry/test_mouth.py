"""Parted lips: smiles keep the jaw closed, teeth say so, skin covers gums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic_head import camera_at, observe, synthetic_head

from backend.errors import Missing
from backend.geometry.cover import cover_of
from backend.geometry.expression_prior import expression_prior
from backend.geometry.landmark_fit import fit_landmarks, landmark_problem
from backend.geometry.options import FitOptions
from backend.geometry.state import FitState
from backend.geometry.teeth import rows_closed, tooth_share
from backend.head.registry import load_head

EVERY = np.ones(478, bool)
SKIN = (0.8, 0.58, 0.48)


@pytest.fixture(scope="module")
def head():
    try:
        return load_head("open")
    except Missing as error:
        pytest.skip(str(error))


def weights(head, **values):
    out = np.zeros(len(head.expression_names))
    for name, value in values.items():
        for full in (name, name + "Left", name + "Right"):
            if full in head.expression_names:
                out[head.expression_names.index(full)] = value
    return out


def fitted(head, expression, seed):
    identity = 0.7 * np.random.default_rng(seed).normal(size=len(head.identity_basis))
    camera = camera_at(yaw=0.1, distance=0.9, focal=1500.0)
    seen = observe(head, head.shape(identity, expression), camera, noise_px=1.0, seed=seed)
    state = fit_landmarks(landmark_problem(seen, head, FitOptions()), EVERY, head).state
    return dict(zip(head.expression_names, state.expression, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_a_smile_with_parted_lips_keeps_the_jaw_closed(head, seed):
    rng = np.random.default_rng(seed)
    smile = weights(
        head,
        mouthSmile=rng.uniform(0.5, 0.9),
        mouthUpperUp=rng.uniform(0.2, 0.6),
        mouthLowerDown=rng.uniform(0.3, 0.7),
    )
    found = fitted(head, smile, seed)
    assert found["jawOpen"] < 0.1
    assert found["mouthSmileLeft"] + found["mouthSmileRight"] > 0.6


@pytest.mark.parametrize("opening", [0.35, 0.7])
def test_an_open_jaw_is_still_found(head, opening):
    found = fitted(head, weights(head, jawOpen=opening), 1)
    assert found["jawOpen"] == pytest.approx(opening, abs=0.16)  # prices on weights pull it down


def test_closed_lips_do_not_open_the_jaw_behind_them(head):
    found = fitted(head, np.zeros(len(head.expression_names)), 2)
    assert found["jawOpen"] < 0.03
    assert found["mouthClose"] < 0.05


def mouth_picture(inside):
    """An observation whose gap between the lips shows ``inside(share of the gap) -> colour``."""
    egg = synthetic_head()
    seen = observe(egg, egg.mean_vertices, camera_at())
    points = seen.landmarks_px.copy()
    points[33], points[263] = (300, 300), (500, 300)
    for column, (upper, lower) in enumerate(((13, 14), (82, 87), (312, 317), (81, 178), (311, 402))):
        x = (400, 385, 415, 370, 430)[column]
        points[upper], points[lower] = (x, 500), (x, 530)
    picture = np.tile(np.array(SKIN, np.float32), (800, 800, 1))
    for row in range(500, 530):
        picture[row, 360:440] = inside((row - 500) / 30)
    skin = np.ones((800, 800), np.float32)
    skin[495:535, 350:450] = 0
    return replace(seen, photo=replace(seen.photo, rgb_srgb=picture), landmarks_px=points, skin_mask=skin)


def test_teeth_from_lip_to_lip_are_told_from_dark_and_from_tongue():
    teeth, dark, tongue = (0.9, 0.87, 0.8), (0.12, 0.05, 0.05), (0.75, 0.35, 0.35)
    assert rows_closed(mouth_picture(lambda _: teeth))
    assert not rows_closed(mouth_picture(lambda _: dark))
    assert not rows_closed(mouth_picture(lambda _: tongue))
    assert not rows_closed(mouth_picture(lambda share: teeth if share < 0.5 else dark))
    shut = mouth_picture(lambda _: teeth)
    points = shut.landmarks_px.copy()
    points[[14, 87, 317, 178, 402]] = points[[13, 82, 312, 81, 311]]
    assert tooth_share(replace(shut, landmarks_px=points)) is None


def test_the_prior_is_a_positive_quadratic_that_prefers_equal_sides(head):
    prior = expression_prior(head.expression_names, FitOptions())
    assert np.linalg.eigvalsh(prior.stiffness).min() > 0
    np.testing.assert_array_equal(prior.stiffness, prior.stiffness.T)
    both = weights(head, mouthSmile=0.5)
    one = both.copy()
    one[head.expression_names.index("mouthSmileLeft")] = 1.0
    one[head.expression_names.index("mouthSmileRight")] = 0.0
    price = [float(w @ prior.stiffness @ w) for w in (both, one)]
    assert price[0] < price[1]
    closed = expression_prior(head.expression_names, FitOptions(), jaw_closed=True)
    dearer = np.flatnonzero(closed.linear > prior.linear)
    assert [head.expression_names[k] for k in dearer] == ["jawOpen"]


def test_cover_costs_nothing_at_rest_and_its_gradient_matches_finite_differences(head):
    term = cover_of(head)
    assert term is not None
    count = len(head.identity_basis), len(head.expression_basis)
    rest = FitState(np.eye(3), np.zeros(3), 7.0, np.zeros(count[0]), np.zeros(count[1]), np.zeros(3))
    assert term.cost(rest) == 0.0
    term = replace(term, margin_m=term.margin_m + 0.01)  # thicker than any lip: every pair counts
    rng = np.random.default_rng(1)
    state = replace(rest, identity=2 * rng.normal(size=count[0]), expression=rng.uniform(0, 1, count[1]))
    assert term.cost(state) > 0
    gradient = term.model(state).gradient
    for k in range(7, state.size, 11):
        step = np.zeros(state.size)
        step[k] = 1e-6
        slope = (term.cost(state.moved(step)) - term.cost(state.moved(-step))) / 2e-6
        assert gradient[k] == pytest.approx(slope, rel=1e-3, abs=1e-4 * np.abs(gradient).max())
    assert cover_of(synthetic_head()) is None


def test_inner_lip_landmarks_meet_on_a_closed_mouth(head):
    """Face Mesh puts both inner rims of shut lips on one line, within 0.3 mm on photographs."""
    here = head.mediapipe.positions(head.mean_vertices, head.triangles)
    pairs = np.array([(13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (80, 88), (310, 318)])
    gap = np.linalg.norm(here[pairs[:, 0]] - here[pairs[:, 1]], axis=1)
    assert gap.max() < 0.0025, gap
