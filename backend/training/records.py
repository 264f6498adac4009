"""Any record of a set, in any order: where each lies in its shard."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput
from backend.training.loader import Record, TrainingSet
from backend.training.schema import SHARD_FOLDER, Kind, Split

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class RecordIndex:
    """Where the records of a split lie. Reading is safe from several threads."""

    paths: tuple[Path, ...]
    shard: NDArray[np.int32]  # (N,) row of paths
    start: NDArray[np.int64]  # (N,) byte in the shard
    end: NDArray[np.int64]  # (N,)

    def __len__(self) -> int:
        return len(self.shard)

    def read(self, row: int) -> Record:
        """Key and members of record ``row``. Raises: BadInput."""
        path = self.paths[self.shard[row]]
        start, end = int(self.start[row]), int(self.end[row])
        try:
            with path.open("rb") as file:
                file.seek(start)
                data = file.read(end - start)
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
                names = [(info.name, tar.extractfile(info)) for info in tar]
                members = {name.partition(".")[2]: file.read() for name, file in names if file is not None}
        except (OSError, tarfile.TarError) as error:
            raise BadInput(f"shard '{path.name}' cannot be read ({error})") from error
        return names[0][0].partition(".")[0], members


def index_records(data: TrainingSet, kind: Kind, split: Split) -> RecordIndex:
    """The index of a split, in the set's order; headers alone are read.

    Raises: BadInput when a shard is missing or damaged, or when the split is empty.
    """
    shards = [s for s in data.manifest.shards if s.kind == kind and s.split == split]
    paths = tuple(data.folder / SHARD_FOLDER / s.name for s in shards)
    places = [
        (row, start, end)
        for row, (path, shard) in enumerate(zip(paths, shards, strict=True))
        for start, end in _counted(path, shard.records)
    ]
    if not places:
        raise BadInput(f"'{data.folder}' has no {kind} to {split} with; make a larger set")
    columns = np.array(places, np.int64)
    return RecordIndex(paths, columns[:, 0].astype(np.int32), columns[:, 1], columns[:, 2])


def _counted(path: Path, records: int) -> list[tuple[int, int]]:
    try:
        with tarfile.open(path, mode="r:") as tar:
            found = list(_spans(tar))
    except FileNotFoundError as error:
        raise BadInput(f"shard '{path.name}' is missing; `likeness synth run … --resume` makes it") from error
    except (OSError, tarfile.TarError) as error:
        raise BadInput(f"shard '{path.name}' is damaged or cut short ({error})") from error
    if len(found) != records:
        raise BadInput(f"shard '{path.name}' holds {len(found)} records, not {records}; make it again")
    return found


def _spans(tar: tarfile.TarFile) -> Iterator[tuple[int, int]]:
    """First and last byte of each record: members of one key follow one another."""
    key, start, end = "", 0, 0
    for info in tar:
        its_key = info.name.partition(".")[0]
        if its_key != key:
            if key:
                yield start, end
            key, start = its_key, info.offset
        end = info.offset_data + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    if key:
        yield start, end
