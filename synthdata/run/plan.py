"""What a set consists of, worked out before anything is made: a pure function of its recipe."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from backend.training.schema import SPLITS, Kind, Recipe, Renderer, Split

_BLOCK: tuple[Split, ...] = ("train",) * 8 + ("val", "test")  # of every ten identities, in random order


@dataclass(frozen=True)
class Preset:
    """Sizes of a set."""

    instances_per_person: int
    persons_per_shard: int
    texels: int
    portrait_px: int
    cameras: int = 0
    count: int = 0  # instances where none are asked for; 0: it must be said
    cycles_every: int = 0  # persons; 0: the preset renders none unless it is asked to
    cycles_instances: int = 2  # of a person: with more, sets of hundreds show few people


CYCLES_SAMPLES = 12
RENDERERS = ("transfer", "cycles", "both")

PRESETS = {
    "smoke": Preset(
        instances_per_person=4, persons_per_shard=8, texels=256, portrait_px=384, count=24, cycles_every=2
    ),
    "marcus": Preset(instances_per_person=8, persons_per_shard=16, texels=512, portrait_px=512),
    "fica": Preset(instances_per_person=6, persons_per_shard=4, texels=256, portrait_px=512, cameras=16),
    # What the tiny recipes of FiCA's networks learn from on a processor.
    "fica-small": Preset(instances_per_person=3, persons_per_shard=4, texels=128, portrait_px=192, cameras=8),
}


@dataclass(frozen=True)
class Unit:
    """One identity in all its lights, or expressions: what a worker makes at a time."""

    identity: int
    split: Split
    first: int  # instance
    end: int
    renderer: Renderer = "transfer"

    @property
    def count(self) -> int:
        return self.end - self.first


@dataclass(frozen=True)
class ShardPlan:
    """Units whose records share a tar of each kind."""

    split: Split
    number: int
    units: tuple[Unit, ...]

    def name(self, kind: Kind) -> str:
        """The file's."""
        return f"{self.split}-{'' if kind == 'instances' else f'{kind}-'}{self.number:06d}.tar"


def shown_texels(texels: int, portrait_px: int) -> int:
    """Texels a side of the maps that pictures are drawn with: the chart's, or as fine as pictures need."""
    return max(texels, -(-3 * portrait_px // 2 // 64) * 64)


def plan_units(recipe: Recipe) -> tuple[Unit, ...]:
    """All units by identity; unit k is the same whatever the count, but for the last one's end."""
    out: list[Unit] = []
    start = 0
    while start < recipe.count:
        number = len(out)
        is_rendered = recipe.cycles_every > 0 and number % recipe.cycles_every == recipe.cycles_every - 1
        is_portrait = is_rendered and not recipe.cameras
        step = recipe.cycles_instances if is_portrait else recipe.instances_per_person
        end = min(start + step, recipe.count)
        split = split_of(number, recipe.seed)
        out.append(Unit(number, split, start, end, "cycles" if is_rendered else "transfer"))
        start = end
    return tuple(out)


def plan_shards(recipe: Recipe) -> tuple[ShardPlan, ...]:
    """Shards in the manifest's order: train, val, test, each by number."""
    by_split: dict[Split, list[Unit]] = defaultdict(list)
    for unit in plan_units(recipe):
        by_split[unit.split].append(unit)
    out = []
    for split in SPLITS:
        units = by_split.get(split, [])
        for number, start in enumerate(range(0, len(units), recipe.persons_per_shard)):
            out.append(ShardPlan(split, number, tuple(units[start : start + recipe.persons_per_shard])))
    return tuple(out)


def split_of(identity: int, seed: int) -> Split:
    """Where an identity goes: of every ten in a row, eight to train, one each to val and test."""
    block, place = divmod(identity, len(_BLOCK))
    order = np.random.default_rng([seed, 3, block]).permutation(len(_BLOCK))
    return _BLOCK[int(order[place])]
