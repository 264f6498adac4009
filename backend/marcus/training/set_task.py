"""What the trainers on a set's instances share: records by number, fixed ones for pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.artifacts import F32
from backend.training.loader import Instance, decode_instance, open_set
from backend.training.records import RecordIndex, index_records
from backend.training.schema import Manifest


@dataclass(frozen=True)
class Instances:
    """The instances of a set to train with, and those that pictures show."""

    train: RecordIndex
    shown: tuple[tuple[RecordIndex, int], ...]  # half of them are trained with, half held out where there are
    manifest: Manifest

    def __len__(self) -> int:
        return len(self.train)

    def read(self, row: int) -> Instance:
        """Raises: BadInput."""
        return decode_instance(self.train.read(row))

    def read_shown(self) -> list[Instance]:
        """Raises: BadInput."""
        return [decode_instance(index.read(row)) for index, row in self.shown]


def open_instances(folder: Path, shown: int) -> Instances:
    """Raises: BadInput (no set, incomplete, damaged, nothing to train with)."""
    data = open_set(folder)
    train = index_records(data, "instances", "train")
    held_out = any(s.kind == "instances" and s.split == "val" and s.records for s in data.manifest.shards)
    indices = [train]
    if held_out and shown > 1:
        indices.append(index_records(data, "instances", "val"))
    share = -(-shown // len(indices))
    rows = [
        (index, int(row))
        for index in indices
        for row in np.linspace(0, len(index) - 1, min(share, len(index))).astype(int)
    ]
    return Instances(train, tuple(rows[:shown]), data.manifest)


def tiled(rows: list[list[F32]], gap: int = 4) -> F32:
    """Pictures ``(H, W, 3)`` of one size, row by row, on white."""
    height, width = rows[0][0].shape[:2]
    page = np.ones(
        (len(rows) * (height + gap) - gap, max(map(len, rows)) * (width + gap) - gap, 3), np.float32
    )
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            y, x = i * (height + gap), j * (width + gap)
            page[y : y + height, x : x + width] = np.clip(picture, 0, 1)
    return page
