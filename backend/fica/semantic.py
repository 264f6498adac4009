"""What a portrait says as a whole, as one vector: CLIP at full size, a small learned encoder else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from backend.errors import BadWeights
from backend.fica.features import ConvConfig, ConvEncoder


@dataclass(frozen=True)
class ClipConfig:
    """CLIP's image tower; the defaults are ViT-L/14's, whose embedding has 768 numbers."""

    hidden: int = 1024
    intermediate: int = 4096
    layers: int = 24
    heads: int = 16
    patch: int = 14
    pixels: int = 224
    width: int = 768


@dataclass(frozen=True)
class SmallSemanticConfig:
    """The embedded encoder, which learns together with the completion."""

    widths: tuple[int, ...] = (8, 16, 24, 32, 48)  # of a ConvEncoder
    width: int = 32


SemanticConfig = ClipConfig | SmallSemanticConfig


class ClipEncoder(nn.Module):
    """CLIP's image embedding, frozen."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        self._pixels = config.pixels
        self.network: Any = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=config.hidden,
                intermediate_size=config.intermediate,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                patch_size=config.patch,
                image_size=config.pixels,
                projection_dim=config.width,
            )
        )
        self.network.requires_grad_(False)

    def forward(self, picture: Tensor) -> Tensor:
        size = (self._pixels, self._pixels)
        small = interpolate(picture, size=size, mode="bicubic", antialias=True, align_corners=False)
        mean, deviation = (
            picture.new_tensor(v).reshape(1, 3, 1, 1)
            for v in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
        )
        with torch.no_grad():
            found: Tensor = self.network((small.clamp(0, 1) - mean) / deviation).image_embeds
        return found

    def read(self, folder: Path) -> None:
        """Published weights in transformers' layout. Raises: BadWeights."""
        from transformers import CLIPVisionModelWithProjection

        try:
            published = CLIPVisionModelWithProjection.from_pretrained(folder, local_files_only=True)
            self.network.load_state_dict(published.state_dict())
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BadWeights(f"'{folder}' does not hold this recipe's CLIP ({reason})") from error


class SmallSemanticEncoder(nn.Module):
    """Pictures ``(B, 3, P, P)`` to vectors ``(B, width)``."""

    def __init__(self, config: SmallSemanticConfig) -> None:
        super().__init__()
        self.features = ConvEncoder(ConvConfig(config.widths))
        coarsest = max(self.features.channels)
        self.last = nn.Linear(self.features.channels[coarsest], config.width)
        self._coarsest = coarsest

    def forward(self, picture: Tensor) -> Tensor:
        made: Tensor = self.last(self.features(picture)[self._coarsest].mean((2, 3)))
        return made


def build_semantic(config: SemanticConfig) -> ClipEncoder | SmallSemanticEncoder:
    """With random weights."""
    return SmallSemanticEncoder(config) if isinstance(config, SmallSemanticConfig) else ClipEncoder(config)
