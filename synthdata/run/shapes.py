"""The shape of a face that goes with its sex, its age and a weight."""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files

import msgspec
import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead

F64 = NDArray[np.float64]

SPREAD, FARTHEST = 0.8, 2.2  # standard deviations; rarer shapes let mouths cross the skin
YOUNG, OLD = 25.0, 90.0  # years, the ends of the age direction
MEAN_OLD = 0.45  # where between them the mean head is
MANLY, MANLY_SPREAD = 0.32, 0.16  # of the way from woman to man, from the middle: one in fifty is beyond it
EVERY = 61  # vertex of the modes that is looked at, to know them again
WEIGHT_SPREAD, HEAVIEST = 0.2, 0.6  # of the way from lean to heavy, from the middle


class _Directions(msgspec.Struct, frozen=True):
    """``synthdata.headmodel.joint``: coefficients of a whole step."""

    modes: str  # ``digest_of_modes`` of the head they belong to
    sex: tuple[float, ...]  # woman to man
    age: tuple[float, ...]  # YOUNG to OLD
    weight: tuple[float, ...]  # lean to heavy


def draw_shape(rng: np.random.Generator, head: ParametricHead, age_years: float, is_male: bool) -> F64:
    """Coefficients of the head's modes ``(K_id,)`` for a random person of this age and sex.

    What the modes hold of sex, age and weight is replaced by that of the person; the rest, asymmetry with it,
    is drawn. A head whose directions are not known is drawn whole.
    """
    drawn = np.clip(rng.normal(size=len(head.identity_basis)), -FARTHEST, FARTHEST) * SPREAD
    manly = rng.normal(MANLY, MANLY_SPREAD) * (1 if is_male else -1)
    old = np.clip((age_years - YOUNG) / (OLD - YOUNG), 0, 1) + 0.08 * rng.normal() - MEAN_OLD
    weight = np.clip(WEIGHT_SPREAD * rng.normal() + 0.1 * (old + 0.2), -HEAVIEST, HEAVIEST)
    known = _directions()
    if known.modes != digest_of_modes(head):
        return drawn
    steps = np.array([known.sex, known.age, known.weight])
    across, _ = np.linalg.qr(steps.T)
    person = drawn - across @ (across.T @ drawn) + np.array([manly, old, weight]) @ steps
    return np.asarray(np.clip(person, -FARTHEST, FARTHEST))


def digest_of_modes(head: ParametricHead) -> str:
    """Which identity modes these are, whatever else of a head's file changes."""
    some = np.ascontiguousarray(head.identity_basis[:, ::EVERY])
    return hashlib.blake2b(some.tobytes(), digest_size=16).hexdigest()


@functools.cache
def _directions() -> _Directions:
    text = files("synthdata.run").joinpath("joint_traits.json").read_bytes()
    return msgspec.json.decode(text, type=_Directions)
