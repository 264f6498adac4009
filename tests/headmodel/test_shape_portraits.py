"""Learning from drawn portraits: a known linear relation is found; spoiled pictures stay pictures."""

from __future__ import annotations

import numpy as np
import pytest

from backend.geometry.face_patch import PATCH_PX
from backend.head.open_head import load_open_head
from synthdata.shape_portraits.drawing import DRAWN_PX, spoiled
from synthdata.shape_portraits.learn import Examples, Learner, principal, whitened
from synthdata.shape_portraits.sightings import face_rows


@pytest.fixture(scope="module")
def head():
    return load_open_head()


def test_rows_of_the_face_come_with_their_mirror_images(head):
    rows = face_rows(head)
    assert set(head.mirror_vertex[rows].tolist()) == set(rows.tolist())
    assert 1000 < len(rows) < 2500


def test_whitened_values_have_unit_variance():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(500, 6)) * [5, 3, 2, 1, 0.1, 0.1] + 7).astype(np.float32)
    out = whitened(values, 4)(values)
    np.testing.assert_allclose(np.cov(out.T, bias=True), np.eye(4), atol=1e-3)
    mean, variance, _ = principal(values, 4)
    np.testing.assert_allclose(mean, values.mean(0), atol=1e-3)
    assert (np.diff(variance) > 0).all()


def test_spoiled_pictures_stay_square_and_in_range():
    rng = np.random.default_rng(1)
    picture = rng.random((DRAWN_PX, DRAWN_PX, 3)).astype(np.float32)
    for _ in range(6):
        out = spoiled(picture, rng)
        assert out.shape[0] == out.shape[1] <= DRAWN_PX
        assert 0 <= out.min() <= out.max() <= 1


def test_a_linear_relation_is_learned_and_its_noise_measured(head, monkeypatch):
    """Errors that follow from four hidden numbers which points and picture show; 0.02 of noise."""
    from synthdata.shape_portraits import learn

    for name, value in (("POINT_AXES", 8), ("PICTURE_AXES", 12), ("ERROR_AXES", 6), ("COEFFICIENTS", 4)):
        monkeypatch.setattr(learn, name, value)
    monkeypatch.setattr(learn, "RIDGE", 1.0)
    rng = np.random.default_rng(2)
    rows = face_rows(head)[::20]
    count = 400

    def shown(width: int, noise: float) -> np.ndarray:
        clean = hidden @ rng.normal(size=(4, width))
        return (clean + noise * rng.normal(size=(count, width))).astype(np.float32)

    hidden = rng.normal(size=(count, 4))
    examples = Examples(
        points=shown(478 * 3, 0.05),
        features=shown(PATCH_PX, 0.05),
        error=0.1 * shown(478 * 2, 0.2),
        offset_m=1e-3 * shown(3 * len(rows), 0.01),
        yaw=hidden[:, 0].astype(np.float32),
        fold=np.arange(count) % 5,
    )
    view = Learner(head, examples, rows).view(np.ones(count), np.ones(count, bool))
    told = view.errors(np.concatenate([examples.points, examples.features], 1).astype(float))
    left = examples.error - told
    assert left.std() < 0.2 * examples.error.std()
    assert np.diag(view.shape_covariance).max() < 0.1  # of a population whose variance is 1
    assert view.error_sigma.mean() == pytest.approx(0.02, rel=0.4)
