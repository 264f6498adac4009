"""Arrays of an avatar: sparse expression offsets, and .npz files written whole or not at all."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SparseOffsets:
    """Expression offsets stored by the vertices that they move (compressed rows)."""

    start: NDArray[np.int64]  # (E + 1,) expression e owns rows start[e]:start[e + 1]
    vertex: NDArray[np.int32]  # (N,)
    offset: NDArray[np.float32]  # (N, 3) head space, metres at weight 1

    def __len__(self) -> int:
        return len(self.start) - 1

    def rows(self, expression: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Vertices ``(n,)`` and their offsets ``(n, 3)`` in metres of one expression."""
        own = slice(int(self.start[expression]), int(self.start[expression + 1]))
        return self.vertex[own], self.offset[own]

    @classmethod
    def from_dense(cls, offsets: NDArray[np.floating[Any]], smallest_m: float = 1e-6) -> SparseOffsets:
        """From ``(E, V, 3)`` metres; vertices that move less than ``smallest_m`` are left out."""
        moved = (
            np.abs(offsets).max(axis=2) > smallest_m if offsets.size else np.zeros(offsets.shape[:2], bool)
        )
        start = np.concatenate([[0], np.cumsum(moved.sum(axis=1))]).astype(np.int64)
        return cls(start, np.nonzero(moved)[1].astype(np.int32), offsets[moved].astype(np.float32))


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write ``arrays`` by their names to ``path``; nothing is pickled. Raises: OSError."""
    # By way of memory: where the disk is full, numpy's half-written archive would complain once more.
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getbuffer())
