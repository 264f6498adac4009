"""MakeHuman's CC0 shapes as traits of people: what varies together, how far, and the offsets themselves.

A trait is a few shapes whose weights belong together: the two ends of one slider, the same on both sides of
the face, or the twelve bodies by age, sex and origin. Weights are drawn trait by trait.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.errors import Missing
from synthdata.headmodel.makehuman import METRES_PER_UNIT, BaseHead

F64 = NDArray[np.float64]

FOLDERS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "nose")
# Ends of one slider, the negative one first.
OPPOSITES = (
    ("decr", "incr"),
    ("down", "up"),
    ("in", "out"),
    ("backward", "forward"),
    ("concave", "convex"),
    ("compress", "uncompress"),
)
POSES = ("head/head-angle", "head/head-trans")  # how a head is held, not whose it is
BODIES = "macrodetails"
AGES, SEXES, ORIGINS = ("young", "old"), ("female", "male"), ("african", "asian", "caucasian")
# Standard deviation of a slider whose ends are ±1: features, ears (whose sliders go by centimetres), the
# skull's proportions, weight and age.
FEATURE_SPREAD, EAR_SPREAD, SKULL_SPREAD, FLESH_SPREAD = 0.2, 0.12, 0.15, 0.4
FLESH = ("head/head-fat", "head/head-age")
DRAWS = 20_000  # for a trait's moments
SIDES_AGREE = 0.9  # correlation of a feature's left and right


@dataclass(frozen=True)
class Trait:
    """Shapes that are drawn together. ``targets`` are MakeHuman's names without ``.target.gz``."""

    family: str  # sides as ``{}``, without the direction
    targets: tuple[str, ...]

    @property
    def moves_all(self) -> bool:
        """Whether the whole head changes, and with it where it stands."""
        return self.family == BODIES or self.family.startswith("head/")

    @property
    def _spread(self) -> float:
        if self.family in FLESH:
            return FLESH_SPREAD
        if self.family.startswith("ears/"):
            return EAR_SPREAD
        return SKULL_SPREAD if self.moves_all else FEATURE_SPREAD

    def draw(self, count: int, rng: np.random.Generator) -> F64:
        """Weights ``(count, len(targets))`` of random people, each ≥ 0, not centred."""
        if self.family == BODIES:
            return _draw_bodies(count, rng)
        sides = 2 if "{}" in self.family else 1
        common = np.full((sides, sides), SIDES_AGREE) + (1 - SIDES_AGREE) * np.eye(sides)
        slider = rng.standard_normal((count, sides)) @ np.linalg.cholesky(common).T
        slider = np.clip(self._spread * slider, -1.0, 1.0)
        ends = [np.maximum(slider, 0.0)]
        if len(self.targets) > sides:
            ends = [np.maximum(-slider, 0.0), *ends]
        return np.concatenate(ends, 1)

    @cached_property
    def moments(self) -> tuple[F64, F64]:
        """Mean ``(S,)`` and covariance ``(S, S)`` of the weights, from many draws."""
        weights = self.draw(DRAWS, np.random.default_rng(DRAWS))
        return weights.mean(0), np.cov(weights, rowvar=False, bias=True)


def family_of(target: str) -> str:
    """What a target is a direction or a side of: ``eyes/l-eye-bag-in`` and ``eyes/{}-eye-bag-decr`` agree."""
    folder, name = target.split("/")
    if name.startswith(("l-", "r-", "{}-")):
        name = "{}-" + name.split("-", 1)[1]
    stem, _, last = name.rpartition("-")
    return f"{folder}/{stem if any(last in pair for pair in OPPOSITES) else name}"


def find_traits(folder: Path, without: frozenset[str] = frozenset()) -> list[Trait]:
    """All traits of the MakeHuman ``folder`` but for the families named. Raises: Missing (no shapes)."""
    present = sorted(
        f"{part}/{file.name.removesuffix('.target.gz')}"
        for part in FOLDERS
        for file in (folder / part).glob("*.target.gz")
    )
    if not present:
        raise Missing(f"'{folder}' holds none of MakeHuman's shapes (nose/*.target.gz, …)")
    traits = [] if BODIES in without else [Trait(BODIES, _bodies())]
    taken: set[str] = set()
    for name in present:
        family = family_of(name)
        if name in taken or family in without or family in POSES:
            continue
        ends = next(
            ([f"{family}-{end}" for end in pair] for pair in OPPOSITES if name.endswith(pair)),
            [name.replace("/l-", "/{}-").replace("/r-", "/{}-")],
        )
        sides = ("l", "r") if "{}" in family else ("",)
        targets = tuple(end.format(side) for end in ends for side in sides)
        missing = [target for target in targets if target not in present]
        if missing:
            raise Missing(f"'{folder}' lacks {missing[0]}.target.gz, which belongs to {name}")
        traits.append(Trait(family, targets))
        taken.update(targets)
    return traits


def read_target(folder: Path, name: str, base: BaseHead) -> F64:
    """A target's offsets at ``base``'s vertices ``(V, 3)``, metres. Raises: Missing."""
    file = folder / f"{name}.target.gz"
    if not file.is_file():
        raise Missing(f"MakeHuman's shape '{file}' is missing")
    with gzip.open(file, "rt") as lines:
        words = [line.split() for line in lines if line[:1] not in "#\n\r"]
    rows = np.array([int(word[0]) for word in words], np.intp)
    values = np.array([[float(c) for c in word[1:4]] for word in words])
    offsets = np.zeros((max(int(rows.max()), int(base.source_vertex.max())) + 1, 3))
    offsets[rows] = values * METRES_PER_UNIT
    return offsets[base.source_vertex]


def _bodies() -> tuple[str, ...]:
    return tuple(f"{BODIES}/{origin}-{sex}-{age}" for origin in ORIGINS for sex in SEXES for age in AGES)


def _draw_bodies(count: int, rng: np.random.Generator) -> F64:
    """Shares of the twelve bodies, which sum to one: any age, sex and origin, seldom pure."""
    old = rng.uniform(0.0, 0.9, count)
    male = rng.uniform(0.0, 1.0, count)
    origin = rng.dirichlet(np.ones(len(ORIGINS)), count)
    share = np.einsum("no,ns,na->nosa", origin, np.stack([1 - male, male], 1), np.stack([1 - old, old], 1))
    return np.asarray(share.reshape(count, -1))
