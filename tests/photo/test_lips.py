"""An open mouth is cut out up to the lips, thin ones as well."""

from __future__ import annotations

import numpy as np

from backend.photo import face_regions as regions
from backend.photo.skin import covered_probability

SIDE = 512
CENTRE = np.array([256.0, 340.0])


def _smiling(upper: float, lower: float) -> np.ndarray:
    """478 points whose mouth is 80 px wide and 16 px open between lips of these thicknesses."""
    points = np.zeros((478, 2))
    for contour, half_width, top, bottom in (
        (regions.INNER_LIPS, 40.0, 8.0, 8.0),
        (regions.OUTER_LIPS, 46.0, 8.0 + upper, 8.0 + lower),
    ):
        turn = 2 * np.pi * np.arange(len(contour)) / len(contour)
        height = np.where(np.sin(turn) > 0, bottom, top)
        points[list(contour)] = CENTRE + np.stack([half_width * np.cos(turn), height * np.sin(turn)], 1)
    points[[13, 14]] = CENTRE + np.array([[0, -8], [0, 8]])
    points[[78, 308]] = CENTRE + np.array([[-40, 0], [40, 0]])
    points[[234, 454]] = CENTRE + np.array([[-130, -60], [130, -60]])
    return points


def test_most_of_a_thin_lip_stays_skin() -> None:
    covered = covered_probability(np.full((SIDE, SIDE, 3), 150, np.uint8), _smiling(5.0, 10.0))
    column = covered[:, 256]
    assert column[335:346].min() > 0.95  # teeth
    assert column[340 - 8 - 5 : 340 - 8 - 2].max() < 0.2  # the upper lip's outer three fifths
    assert column[340 + 8 + 3 : 340 + 8 + 10].max() < 0.1
