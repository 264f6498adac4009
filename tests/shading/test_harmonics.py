"""Spherical harmonics of any degree, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.legendre import Legendre

from backend.shading import harmonics, latlong, sh

DEGREE = 6


def _directions(count: int, seed: int) -> np.ndarray:
    d = np.random.default_rng(seed).normal(size=(count, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)


def test_the_first_nine_are_those_of_degree_two() -> None:
    d = _directions(50, 1)
    np.testing.assert_allclose(harmonics.basis(d, DEGREE)[:, :9], sh.basis(d), atol=1e-12)


def test_addition_theorem_holds_in_every_degree() -> None:
    """Σ_m Y_lm(a) Y_lm(b) = (2l+1)/4π · P_l(a·b)."""
    a, b = _directions(40, 2), _directions(40, 3)
    products = harmonics.basis(a, DEGREE) * harmonics.basis(b, DEGREE)
    of = harmonics.degrees(DEGREE)
    for degree in range(DEGREE + 1):
        wanted = (2 * degree + 1) / (4 * np.pi) * Legendre.basis(degree)((a * b).sum(1))
        np.testing.assert_allclose(products[:, of == degree].sum(1), wanted, atol=1e-12)


def test_turned_coefficients_are_those_of_the_turned_panorama() -> None:
    image = np.random.default_rng(4).random((32, 64, 3)).astype(np.float32)
    for turn in (90.0, -45.0):
        wanted = harmonics.project(latlong.rotate(image, turn), DEGREE)
        got = harmonics.about_y(DEGREE, turn) @ harmonics.project(image, DEGREE)
        np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_cosine_lobe_has_its_closed_form() -> None:
    """Ramamoorthi & Hanrahan 2001: A_l / A_0 = 1, 2/3, 1/4, 0, −1/24."""
    shares = harmonics.lobe(lambda cosine: np.maximum(cosine, 0), 4)
    np.testing.assert_allclose(shares, (1, 2 / 3, 1 / 4, 0, -1 / 24), atol=1e-4)


def test_a_rougher_lobe_leaves_less_of_every_degree() -> None:
    sharp, blurred = harmonics.ggx_lobe(0.4, 4), harmonics.ggx_lobe(0.8, 4)
    assert sharp[0] == pytest.approx(1)
    assert (sharp[1:] > blurred[1:]).all()


def test_coefficients_that_end_within_a_degree_are_refused() -> None:
    assert harmonics.degree_of(25) == 4
    with pytest.raises(ValueError, match="end within a degree"):
        harmonics.degree_of(24)
