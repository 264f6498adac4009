"""Real-ESRGAN's critic: a U-Net with spectral norm that judges every pixel (Wang et al. 2021, 3.3)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu
from torch.nn.utils.parametrizations import spectral_norm

_SLOPE = 0.2


class PixelCritic(nn.Module):
    """Three levels down and up again, skips added; ``(B, 3, H, W)`` to logits ``(B, 1, H, W)``, H, W of 8."""

    def __init__(self, features: int) -> None:
        super().__init__()
        widths = [features, 2 * features, 4 * features, 8 * features]
        self.first = nn.Conv2d(3, features, 3, padding=1)
        self.down = nn.ModuleList(_normed(a, b, kernel=4, stride=2) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(
            _normed(b, a, kernel=3, stride=1)
            for a, b in zip(reversed(widths[:-1]), reversed(widths[1:]), strict=True)
        )
        self.last = nn.Sequential(
            _normed(features, features, kernel=3, stride=1),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(features, 1, 3, padding=1),
        )

    def forward(self, picture: Tensor) -> Tensor:
        x = leaky_relu(self.first(picture), _SLOPE)
        kept = []
        for layer in self.down:
            kept.append(x)
            x = leaky_relu(layer(x), _SLOPE)
        for layer, skip in zip(self.up, reversed(kept), strict=True):
            x = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = leaky_relu(layer(x), _SLOPE) + skip
        logits: Tensor = self.last(x)
        return logits


def _normed(into: int, out: int, *, kernel: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(into, out, kernel, stride, padding=1, bias=False))


def generator_loss(logits_made: Tensor) -> Tensor:
    """−log σ(D(made)): what was made should pass for true."""
    return torch.nn.functional.softplus(-logits_made).mean()


def critic_loss(logits_true: Tensor, logits_made: Tensor) -> Tensor:
    """−log σ(D(true)) − log(1 − σ(D(made)))."""
    softplus = torch.nn.functional.softplus
    return softplus(-logits_true).mean() + softplus(logits_made).mean()
