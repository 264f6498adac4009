"""What expressions are believed before the photo is seen: prices by ARKit name, left–right likeness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.artifacts import F64
from backend.geometry.options import FitOptions

# Weights are not alike: jawOpen at 1 drops the lower lip by 35 mm, mouthLowerDown by 7 with both sides.
# At one price for all, every parted pair of lips would be a dropped jaw, every long chin an open one.
PRICE_FACTOR = {
    "jawOpen": 16.0,
    "mouthClose": 16.0,  # 38 mm; with jawOpen it would stretch chins under closed lips
    "jawForward": 6.0,
    "jawLeft": 6.0,
    "jawRight": 6.0,
    "mouthLeft": 2.0,
    "mouthRight": 2.0,
    "cheekPuff": 3.0,
}
# No landmark lies on the tongue; lips that open as they do to let it out are told by other expressions.
HELD = ("tongueOut",)
HELD_STIFFNESS = 1e8
GAZE_PAIRS = (
    ("eyeLookInLeft", "eyeLookOutRight"),
    ("eyeLookOutLeft", "eyeLookInRight"),
    ("eyeLookUpLeft", "eyeLookUpRight"),
    ("eyeLookDownLeft", "eyeLookDownRight"),
)


@dataclass(frozen=True)
class ExpressionPrior:
    """``linear · δ + ½ δᵀ stiffness δ`` on weights δ in [0, 1], order of the head's expressions."""

    linear: F64  # (K,) price per unit weight
    stiffness: F64  # (K, K) symmetric, positive definite


def expression_prior(
    names: tuple[str, ...], options: FitOptions, jaw_closed: bool = False
) -> ExpressionPrior:
    """The prior for ``names``: ARKit's get their own prices and pairs, others the same price each.

    ``jaw_closed`` says that the photo shows closed rows of teeth, which forbids all but a slit.
    """
    factor = np.array([PRICE_FACTOR.get(name, 1.0) for name in names])
    if jaw_closed and "jawOpen" in names:
        factor[names.index("jawOpen")] *= options.closed_rows_factor
    stiffness = np.diag(np.full(len(names), options.expression_l2))
    row = {name: k for k, name in enumerate(names)}
    for name in HELD:
        if name in row:
            stiffness[row[name], row[name]] += HELD_STIFFNESS
    for a, b in GAZE_PAIRS:
        couple(stiffness, row, a, b, options.gaze_likeness)
    for left, right in side_pairs(names):
        couple(stiffness, row, left, right, options.side_likeness)
    return ExpressionPrior(options.expression_l1 * factor, stiffness)


def side_pairs(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Left and right of one expression, of ``names``: not the gaze, nor what goes to a side."""
    gaze = {name for pair in GAZE_PAIRS for name in pair}
    return tuple(
        (name, name.removesuffix("Left") + "Right")
        for name in names
        if name.endswith("Left") and name not in gaze and name not in ("jawLeft", "mouthLeft")
    )


def couple(stiffness: F64, row: dict[str, int], a: str, b: str, strength: float) -> None:
    """Add ``½ strength (δa − δb)²`` to ``stiffness``; nothing where ``row`` lacks one of them."""
    if a in row and b in row:
        i, j = row[a], row[b]
        stiffness[i, i] += strength
        stiffness[j, j] += strength
        stiffness[i, j] -= strength
        stiffness[j, i] -= strength
