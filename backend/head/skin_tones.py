"""How facial skin's colour goes with its lightness: the open head's first albedo mode, the fit's belief."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.colour import lab_to_linear

# Facial skin under D65 (L*, a*, b*), from the darkest to the palest: a smooth curve of our own choosing
# through the range that skin colorimetry reports; not a table of one study.
SKIN_LAB = np.array(
    [
        (12.0, 4.0, 4.0),
        (20.0, 6.5, 7.0),
        (28.0, 9.5, 11.0),
        (36.0, 12.0, 14.5),
        (45.0, 13.5, 17.5),
        (57.0, 13.0, 18.0),
        (65.0, 12.0, 17.0),
        (72.0, 10.5, 15.5),
        (79.0, 8.0, 14.0),
    ]
)


def skin_of_lightness(
    lightness: NDArray[np.floating[Any]], shift_ab: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """Linear albedo ``(…, 3)`` of average facial skin of ``lightness`` ``(…)`` in L*, off by ``shift_ab``."""
    a, b = (np.interp(lightness, SKIN_LAB[:, 0], SKIN_LAB[:, k]) for k in (1, 2))
    return lab_to_linear(np.stack([np.asarray(lightness, np.float64), a + shift_ab[0], b + shift_ab[1]], -1))
