"""The albedo basis, held to what skin shows."""

from __future__ import annotations

from dataclasses import replace

import ellipsoid_head as eh
import numpy as np
import pytest

from backend.texture.albedo_prior import believable, fitted_albedo, plain_skin


@pytest.fixture(scope="module")
def head():
    """A head with a mode that darkens the face, and takes the neck's blue away twice as fast."""
    made = eh.make_head()
    neck = 1 / (1 + np.exp((made.mean_vertices[:, 1] + 0.07) / 0.008))
    darker = -0.3 * made.albedo_mean * (1 + neck[:, None] * np.array([-0.3, 0.1, 1.2]))
    regions = {**made.regions, "face": (1 - neck).astype(np.float32), "neck": neck.astype(np.float32)}
    return replace(made, albedo_basis=darker[None].astype(np.float32), regions=regions)


def _tint(albedo):
    log = np.log(np.maximum(albedo, 1e-3))
    return log - log.mean(-1, keepdims=True)


def test_a_neck_without_blue_gets_the_faces_hue(head):
    albedo = head.albedo(np.array([2.6]))
    neck = (head.regions["neck"] > 0.9) & (plain_skin(head) > 0.9)
    assert albedo[neck, 2].max() < 0.005  # the basis alone: no blue is left
    kept = believable(head, albedo)
    off = _tint(kept)[neck] - _tint(head.albedo_mean)[neck]
    assert np.abs(off).max() < 0.25
    assert kept.min() > 0


def test_the_faces_own_tone_stays(head):
    albedo = head.albedo(np.array([2.6]))
    face = (head.regions["neck"] < 0.05) & (plain_skin(head) > 0.9)
    assert np.median(believable(head, albedo)[face] / albedo[face], axis=0) == pytest.approx(
        [1, 1, 1], rel=0.03
    )


def test_what_persons_differ_by_stays(head):
    cheeks = head.regions["nose"][:, None] * np.array([0.06, -0.03, -0.03])
    albedo = (head.albedo_mean * np.exp(cheeks)).astype(np.float32)
    change = np.log(believable(head, albedo) / albedo)
    assert np.abs(change).max() < 0.02


def test_a_fit_says_what_it_believes(head):
    fit = eh.make_fit(head, eh.uniform_light())
    fit = replace(fit, albedo_coefficients=np.array([2.6], np.float32))
    assert np.array_equal(fitted_albedo(fit), believable(head, head.albedo(fit.albedo_coefficients)))
