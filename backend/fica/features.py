"""Dense image features at several strides: Sapiens2 through transformers at full size, convolutions else.

Sapiens2's weights are Meta's under a licence of their own; nothing here fetches them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from backend.errors import BadWeights

Features = dict[int, Tensor]  # by stride: (B, C, P/stride, P/stride)


@dataclass(frozen=True)
class SapiensConfig:
    """A plain ViT of the Sapiens2 family; the defaults are about the paper's Sapiens-1B."""

    width: int = 1536
    hidden: int = 6144
    layers: int = 40
    heads: int = 24
    key_value_heads: int = 12  # of the layers between the first and last eight
    patch: int = 16


@dataclass(frozen=True)
class ConvConfig:
    """The embedded encoder: channels at strides 1, 2, 4, 8, …"""

    widths: tuple[int, ...] = (16, 24, 48, 64, 96)


EncoderConfig = SapiensConfig | ConvConfig


class ConvEncoder(nn.Module):
    """Pictures ``(B, 3, P, P)`` in [0, 1] to features at every stride."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        self.channels = {2**k: w for k, w in enumerate(config.widths)}
        self.first = convolution(3, config.widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(convolution(a, b, stride=2), convolution(b, b))
            for a, b in itertools.pairwise(config.widths)
        )

    def forward(self, picture: Tensor) -> Features:
        x = self.first(2 * picture - 1)
        found = {1: x}
        for level, layer in enumerate(self.down, 1):
            x = layer(x)
            found[2**level] = x
        return found


class SapiensEncoder(nn.Module):
    """The last features of a Sapiens2 backbone."""

    def __init__(self, config: SapiensConfig) -> None:
        super().__init__()
        from transformers import Sapiens2Backbone, Sapiens2Config

        self.channels = {config.patch: config.width}
        self.backbone: Any = Sapiens2Backbone(
            Sapiens2Config(
                patch_size=config.patch,
                hidden_size=config.width,
                intermediate_size=config.hidden,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_attention_heads=config.key_value_heads,
                num_first_full_attention_layers=min(8, config.layers),
                num_last_full_attention_layers=min(8, config.layers),
                out_indices=[config.layers],
            )
        )

    def forward(self, picture: Tensor) -> Features:
        mean, deviation = (
            picture.new_tensor(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        maps = self.backbone((picture - mean) / deviation).feature_maps
        return {next(iter(self.channels)): maps[-1]}

    def read(self, folder: Path) -> None:
        """Published weights in transformers' layout. Raises: BadWeights."""
        from transformers import Sapiens2Backbone

        try:
            published = Sapiens2Backbone.from_pretrained(folder, local_files_only=True)
            self.backbone.load_state_dict(published.state_dict())
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BadWeights(f"'{folder}' does not hold this recipe's Sapiens2 ({reason})") from error


def build_encoder(config: EncoderConfig) -> ConvEncoder | SapiensEncoder:
    """With random weights."""
    return ConvEncoder(config) if isinstance(config, ConvConfig) else SapiensEncoder(config)


def convolution(into: int, out: int, stride: int = 1) -> nn.Sequential:
    """3×3, normalised in groups, SiLU."""
    groups = next(g for g in (8, 4, 2, 1) if out % g == 0)
    return nn.Sequential(nn.Conv2d(into, out, 3, stride, 1), nn.GroupNorm(groups, out), nn.SiLU())
