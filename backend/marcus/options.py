"""What the user can ask of the MARCUS engine. Only light imports: the command line reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MarcusOptions:
    """Options of one call; its result depends on caption and turbo, and on the weights."""

    caption: str | None = None  # of the face; None lets Qwen2.5-VL look
    turbo: bool = False  # few steps, another result
    device: str | None = None  # "cuda", "cuda:1", "cpu"; None takes the GPU there is
    weights: Path | None = None  # folder of fetched weights; None is the user's own
