"""What the user can ask of the MARCUS engine. Only light imports: the command line reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MarcusOptions:
    """Options of one call; its result depends on all but ``device`` and ``compiled``, and on the weights."""

    caption: str | None = None  # of the face; None lets Qwen2.5-VL look
    turbo: bool = False  # few steps, another result
    guided: tuple[float, float] = (0.0, 1.0)  # noise levels between which guidance works
    fp8: bool = False  # the blocks multiply in 8 bits where the device can
    compiled: bool = False  # torch.compile: minutes once, then faster steps
    device: str | None = None  # "cuda", "cuda:1", "cpu"; None takes the GPU there is
    weights: Path | None = None  # folder of fetched weights; None is the user's own

    @property
    def is_plain(self) -> bool:
        """Whether nothing was asked for that only this engine has."""
        return self == MarcusOptions(device=self.device, weights=self.weights)
