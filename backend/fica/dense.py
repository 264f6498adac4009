"""The dense predictor: UV, vertex position and normal of every pixel of a portrait (method 2.1).

The paper fine-tunes Sapiens for each task; here one encoder has a decoder for each, and one more that says
where a surface of the atlas is seen. Losses as in its supplement: UV and vertices L1, normals cosine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, normalize

from backend.fica.features import (
    ConvConfig,
    EncoderConfig,
    Features,
    SapiensConfig,
    build_encoder,
    convolution,
)
from backend.fica.unwrap import DenseMaps

REACH_M = 0.2  # a head's surface lies within about this of the origin: the unit of vertices inside
TASKS = {"uv": 2, "vertex": 3, "normal": 3, "known": 1}


@dataclass(frozen=True)
class DenseConfig:
    """Sizes; the defaults are the full size."""

    encoder: EncoderConfig = field(default_factory=SapiensConfig)
    decoder: tuple[int, ...] = (768, 384, 192, 96)  # channels after each doubling from the coarsest features


TINY_DENSE = DenseConfig(ConvConfig(), (64, 48, 24, 16))


class Decoder(nn.Module):
    """From the coarsest features up to the picture's size, joined by finer ones where there are any."""

    def __init__(self, channels: dict[int, int], widths: tuple[int, ...], out: int) -> None:
        super().__init__()
        self._coarsest = max(channels)
        if 2 ** len(widths) != self._coarsest:
            raise ValueError(f"{len(widths)} doublings do not undo a stride of {self._coarsest}")
        layers, before, stride = [], channels[self._coarsest], self._coarsest
        for width in widths:
            stride //= 2
            layers.append(convolution(before + channels.get(stride, 0), width))
            before = width
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv2d(before, out, 3, padding=1)

    def forward(self, features: Features) -> Tensor:
        x, stride = features[self._coarsest], self._coarsest
        for layer in self.layers:
            stride //= 2
            x = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = layer(torch.cat([x, features[stride]], 1) if stride in features else x)
        made: Tensor = self.last(x)
        return made


class DensePredictor(nn.Module):
    """Portraits ``(B, 3, P, P)`` in display sRGB to ``DenseMaps``; P is a multiple of the coarsest stride."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder)
        self.decoders = nn.ModuleDict(
            {name: Decoder(self.encoder.channels, config.decoder, width) for name, width in TASKS.items()}
        )

    def raw(self, picture: Tensor) -> dict[str, Tensor]:
        """What the decoders say, with the seen surface as logits."""
        features = self.encoder(picture)
        made = {name: decoder(features) for name, decoder in self.decoders.items()}
        return {
            "uv": 0.5 + made["uv"],
            "vertex": REACH_M * made["vertex"],
            "normal": normalize(made["normal"], dim=1, eps=1e-6),
            "known": made["known"],
        }

    def forward(self, picture: Tensor) -> DenseMaps:
        made = self.raw(picture)
        return DenseMaps(made["uv"], made["vertex"], made["normal"], torch.sigmoid(made["known"]))


def dense_losses(made: dict[str, Tensor], truth: DenseMaps) -> dict[str, Tensor]:
    """Means over the pixels that show the atlas: UV and vertex L1 (of 1 and of REACH_M), 1 − cosine of
    normals; over all pixels the cross-entropy of where that is.
    """
    known = truth.known
    count = known.sum().clamp_min(1)
    cosine = (made["normal"] * truth.normal).sum(1, keepdim=True)
    return {
        "uv": ((made["uv"] - truth.uv).abs() * known).sum() / (2 * count),
        "vertex": ((made["vertex"] - truth.vertex).abs() * known).sum() / (3 * count * REACH_M),
        "normal": ((1 - cosine) * known).sum() / count,
        "known": binary_cross_entropy_with_logits(made["known"], known),
    }
