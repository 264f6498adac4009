"""What trained networks do on people they never saw: what is measured, and how it is told."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from backend.errors import BadInput
from backend.fica.maps import HeadMaps
from backend.fica.training.people import People, has_moments, open_people
from backend.head.base import ParametricHead
from backend.training.schema import Split

HELD_OUT: tuple[Split, ...] = ("val", "test")
Person = tuple[int, int]  # split and neutral moment


@dataclass(frozen=True)
class Means:
    """Means over what was measured, with their standard errors over people where there are two or more."""

    of: str
    pictures: int
    values: dict[str, float]
    errors: dict[str, float]

    def __str__(self) -> str:
        told = (
            f"{name} {value:.4g}" + (f" ± {self.errors[name]:.2g}" if name in self.errors else "")
            for name, value in self.values.items()
        )
        return f"{self.of}: {', '.join(told)} ({self.pictures} pictures)"


class Tally:
    """Collects what is measured of each picture, by what it is of and whom it shows."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[Person, dict[str, float]]]] = {}

    def add(self, of: str, person: Person, values: dict[str, float]) -> None:
        self._rows.setdefault(of, []).append((person, values))

    def means(self) -> list[Means]:
        """In the order in which they came."""
        return [_means(of, rows) for of, rows in self._rows.items()]


def _means(of: str, rows: list[tuple[Person, dict[str, float]]]) -> Means:
    names, people = rows[0][1], sorted({person for person, _ in rows})
    values = {name: statistics.fmean(one[name] for _, one in rows) for name in names}
    errors = {}
    if len(people) > 1:
        for name in names:
            each = [statistics.fmean(one[name] for p, one in rows if p == person) for person in people]
            errors[name] = statistics.stdev(each) / math.sqrt(len(each))
    return Means(of, len(rows), values, errors)


def psnr(made: Tensor, wanted: Tensor, weight: Tensor) -> float:
    """dB of pictures ``(3, H, W)`` in [0, 1] over the pixels of ``weight`` ``(1, H, W)``."""
    error = ((made.clamp(0, 1) - wanted) ** 2 * weight).sum() / (3 * weight.sum()).clamp_min(1)
    return -10 * math.log10(max(float(error), 1e-10))


def open_held_out(folder: Path, head: ParametricHead, texels: int, pixels: int) -> list[People]:
    """The people of the splits that nothing was trained with. Raises: BadInput when there are none."""
    found = [
        open_people(folder, split, head, texels, pixels) for split in HELD_OUT if has_moments(folder, split)
    ]
    if not found:
        raise BadInput(f"'{folder}' has nobody held out; make a set of ten people or more")
    return found


def mean_maps(people: People) -> HeadMaps:
    """The average head of a split: what one knows without a portrait."""
    every = [people.maps(row) for row in people.persons()]
    return HeadMaps(
        torch.stack([m.texture for m in every]).mean(0), torch.stack([m.geometry for m in every]).mean(0)
    )
