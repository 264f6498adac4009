"""What the loop trains: a task has players (weights with an objective), samples, pictures and a product."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from backend.artifacts import F32

Sample = dict[str, Tensor]  # of one record, without a batch axis
Terms = dict[str, Tensor]  # what the loss consists of, 0-dimensional, to be looked at


@dataclass(frozen=True)
class Player:
    """Weights that have an objective and an optimiser of their own."""

    name: str
    objective: nn.Module  # forward(batch) -> (loss, Terms); holds what it trains, frozen parts included


class Task(ABC):
    """A trainer as the loop sees it. Methods run on every process but ``picture`` and ``write``."""

    players: Sequence[Player]

    @abstractmethod
    def __len__(self) -> int:
        """Records to train with."""

    @abstractmethod
    def sample(self, record: int, number: int) -> Sample:
        """Decode a record; what is random follows from ``number`` alone. Called from threads."""

    def begin(self, step: int) -> None:  # noqa: B027  # most tasks have nothing to do
        """Called before every step, and after a resume with the step that follows."""

    def after_step(self) -> None:  # noqa: B027
        """Called when all players have made their step."""

    @abstractmethod
    def picture(self) -> F32:
        """What the weights make of a few fixed records now, ``(H, W, 3)`` sRGB."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write the product as inference reads it into ``folder``, which exists."""


def collate(samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Samples stacked along a new first axis."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def trained_state(objective: nn.Module) -> dict[str, Tensor]:
    """What training changes: parameters with a gradient, and buffers that belong to the state.

    Frozen parameters are left out: they come from where they came from before.
    """
    trainable = {name for name, p in objective.named_parameters() if p.requires_grad}
    frozen = {name for name, p in objective.named_parameters()} - trainable
    return {name: tensor for name, tensor in objective.state_dict().items() if name not in frozen}
