"""What the expression prior rules out."""

from __future__ import annotations

import numpy as np

from backend.geometry.expression_prior import expression_prior
from backend.geometry.options import FitOptions


def test_lips_opened_as_for_the_tongue_do_not_bring_it_out():
    """A shape that other expressions explain as well: the fit must not choose the tongue's."""
    names = ("jawOpen", "mouthLowerDownLeft", "tongueOut")
    rng = np.random.default_rng(5)
    jaw, lower = rng.normal(0, 40, (2, 60))
    columns = np.stack([jaw, lower, 0.22 * jaw + 0.25 * lower], 1)
    seen = columns[:, 2] + rng.normal(0, 0.1, 60)
    prior = expression_prior(names, FitOptions())
    solved = np.linalg.solve(columns.T @ columns + prior.stiffness, columns.T @ seen - prior.linear)
    assert abs(solved[2]) < 0.01
    assert np.abs(columns[:, :2] @ solved[:2] - seen).mean() < 0.1 * np.abs(seen).mean()
    free = expression_prior(tuple(f"other{k}" for k in range(3)), FitOptions())
    assert np.linalg.solve(columns.T @ columns + free.stiffness, columns.T @ seen)[2] > 0.05
