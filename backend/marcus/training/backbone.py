"""What the diffusion trainers stand on: transformer, pictures as latents, text; published or tiny.

The tiny backbone is LongCat's transformer with few blocks and **random** frozen weights, on plain pixels
in place of a VAE's latents and hashed words in place of Qwen2.5-VL. It shows that trainers work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from backend.errors import Missing
from backend.marcus.flow import Shift
from backend.marcus.latents import Grid
from backend.training.recipe import ReleasedBackbone, TinyBackbone

_WORDS = 24  # tokens of the tiny text
_GATE = 0.5  # of the tiny backbone's blocks


class Codec(Protocol):
    """Pictures to latents and back, differentiably."""

    def shape(self, texels: int) -> tuple[int, int, int]:
        """(channels, rows, columns) of a square picture's latents."""

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures ``(B, 3, S, S)`` in [0, 1]."""

    def decode(self, latents: Tensor) -> Tensor:
        """The inverse; values may leave [0, 1]."""


class Text(Protocol):
    """Prompts to tokens for the transformer."""

    def encode(self, prompts: Sequence[str], pictures: Tensor) -> Tensor:
        """``(B, L, D)`` for B prompts and condition pictures ``(B, 3, S, S)`` in [0, 1]."""


@dataclass(frozen=True)
class Assembled:
    """Parts that are not trained, but for what an adapter adds to the transformer."""

    transformer: Any
    codec: Codec
    text: Text
    shift: Shift  # of the noise levels with the picture's size

    def grid(self, texels: int) -> Grid:
        _, rows, columns = self.codec.shape(texels)
        return rows // 2, columns // 2

    def mu(self, texels: int) -> float:
        """The shift of the noise levels at this size, as at inference."""
        rows, columns = self.grid(texels)
        return self.shift.mu(rows * columns)


class Pixels:
    """A codec without weights: latents are the pixels, in [−1, 1]."""

    def shape(self, texels: int) -> tuple[int, int, int]:
        return 3, texels, texels

    def encode(self, pictures: Tensor) -> Tensor:
        return 2 * pictures - 1

    def decode(self, latents: Tensor) -> Tensor:
        return 0.5 + 0.5 * latents


class HashedWords:
    """Each word a fixed random direction; the place in the sentence comes from the transformer's own ids."""

    def __init__(self, width: int, seed: int) -> None:
        self._table = torch.randn(1 << 12, width, generator=torch.Generator().manual_seed(seed))
        self._table[0] = 0  # no word

    def encode(self, prompts: Sequence[str], pictures: Tensor) -> Tensor:
        import zlib

        rows = torch.zeros(len(prompts), _WORDS, dtype=torch.long)
        for k, prompt in enumerate(prompts):
            for j, word in enumerate(prompt.lower().replace(",", " ").split()[:_WORDS]):
                rows[k, j] = 1 + zlib.crc32(word.encode()) % (len(self._table) - 1)
        return self._table[rows].to(pictures)


def assemble(
    backbone: ReleasedBackbone | TinyBackbone, weights: Path | None, device: torch.device
) -> Assembled:
    """The backbone of a recipe; ``weights`` is the folder of LongCat-Image-Edit.

    Raises: Missing (the released one without its folder), BadWeights (damaged or another model).
    """
    if isinstance(backbone, TinyBackbone):
        return _tiny(backbone, device)
    if weights is None:
        raise Missing(
            "this recipe needs LongCat-Image-Edit (29 GB, Apache-2.0): give its folder as --weights, "
            "or train the recipe `tiny`"
        )
    from backend.marcus.training.released import assemble_released

    return assemble_released(backbone, weights, device)


def _tiny(backbone: TinyBackbone, device: torch.device) -> Assembled:
    from backend.marcus.longcat import TransformerConfig, build_transformer

    config = TransformerConfig(
        layers=backbone.layers,
        single_layers=backbone.single_layers,
        heads=backbone.heads,
        head_dim=backbone.head_dim,
        channels=4 * 3,
        text_dim=backbone.text_dim,
        rope_axes=backbone.rope_axes,
    )
    transformer: Any = build_transformer(config, seed=backbone.seed).to(device)
    _open(transformer)
    return Assembled(transformer, Pixels(), HashedWords(backbone.text_dim, backbone.seed), Shift())


@torch.no_grad()
def _open(transformer: Any) -> None:
    """What goes in comes out, and every block is heard: as in a network that has learned something.

    AdaLN-Zero's gates are random and near zero here; an adapter behind a shut gate learns slowly.
    """
    transformer.proj_out.weight.copy_(torch.linalg.pinv(transformer.x_embedder.weight))
    transformer.proj_out.bias.zero_()
    for block in transformer.transformer_blocks:
        for norm in (block.norm1, block.norm1_context):
            chunks = norm.linear.bias.view(6, -1)  # shift, scale, gate of attention, then of feed-forward
            chunks[2] += _GATE
            chunks[5] += _GATE
    for block in transformer.single_transformer_blocks:
        block.norm.linear.bias.view(3, -1)[2] += _GATE
