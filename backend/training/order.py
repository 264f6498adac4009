"""Which record each step's samples come from, and the chance of each sample: functions of seed and number.

A sample's number is its place in the whole training. What is random about it (noise, its level, light, crop)
follows from the seed and that number alone, so that a run that was killed goes on exactly, and any number of
processes draws the same samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class Order:
    """A new random order of all records in every epoch."""

    def __init__(self, seed: int, records: int) -> None:
        self._seed, self._records = seed, records
        self._epoch, self._rows = -1, np.empty(0, np.int64)

    def record(self, number: int) -> int:
        """The record of sample ``number``."""
        epoch, place = divmod(number, self._records)
        if epoch != self._epoch:
            self._rows = np.random.default_rng([self._seed, 0, epoch]).permutation(self._records)
            self._epoch = epoch
        return int(self._rows[place])


def numbers_of(step: int, batch: int, microbatch: int, rank: int, world: int) -> list[range]:
    """The sample numbers of ``step`` that process ``rank`` of ``world`` works on, by microbatch."""
    each = batch // world
    first = step * batch + rank * each
    return [range(k, k + microbatch) for k in range(first, first + each, microbatch)]


def generator(seed: int, number: int) -> torch.Generator:
    """Torch's generator for what is random about sample ``number``."""
    import torch

    state = np.random.SeedSequence([seed, 1, number]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
