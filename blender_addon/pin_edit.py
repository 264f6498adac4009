"""The head whose pins are being dragged, and the answers of its re-solves. No Blender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import protocol
from .pins import PinBoard
from .view import sentence


@dataclass(frozen=True)
class Solution:
    """Head-space vertices ``(V, 3)``, metres."""

    neutral: NDArray[np.float32]
    photographed: NDArray[np.float32]


@dataclass
class PinEdit:
    """One drag session; it ends with Enter, Esc, undo or another file."""

    head: str  # UUID of its collection
    job: str
    board: PinBoard
    photo: Path
    seconds: float | None = None  # of the last re-solve
    landmark_error_px: float | None = None
    problem: str | None = None
    solution: Solution | None = None  # that is not in the mesh yet

    def take(self, reply: protocol.Reply, bulk: Sequence[protocol.Buffer]) -> None:
        """A re-solve came back."""
        if not isinstance(reply, protocol.Refined) or len(bulk) != 3:
            self.failed(ValueError("the backend answered the re-solve with something else; update it"))
            return
        neutral, photographed, landmarks = (np.frombuffer(frame, np.float32) for frame in bulk)
        self.board.solved(landmarks.reshape(-1, 2))
        self.solution = Solution(neutral.reshape(-1, 3), photographed.reshape(-1, 3))
        self.seconds, self.landmark_error_px, self.problem = reply.seconds, reply.landmark_error_px, None

    def failed(self, error: Exception) -> None:
        """A re-solve failed; the pins stay where they are."""
        self.board.lost()
        self.problem = sentence(str(error))
