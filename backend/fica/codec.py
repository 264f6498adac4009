"""The autoencoder between maps and latents: 8× smaller each way, one for texture and geometry.

The paper names SDXL's VAE and latents of 32×32×16. SDXL's own has 4 channels; ours has SDXL's blocks and the
paper's 16 channels, so that a 256² atlas becomes 32×32×16 (docs/fica.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

FACTOR = 8
_FIRST_LOG_VARIANCE = -6.0  # of the posterior, before anything is learned


@dataclass(frozen=True)
class CodecConfig:
    """Sizes of ``diffusers.AutoencoderKL``."""

    widths: tuple[int, int, int, int] = (128, 256, 512, 512)  # of its four levels
    layers: int = 2  # residual blocks of a level
    channels: int = 16  # of the latents
    groups: int = 32


TINY_CODEC = CodecConfig(widths=(16, 24, 32, 32), layers=1, channels=8, groups=8)


class Codec(nn.Module):
    """Maps ``(B, 3, S, S)`` in [−1, 1] to latents ``(B, C, S/8, S/8)`` of about unit variance, and back."""

    scale: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        from diffusers import AutoencoderKL

        self.config = config
        self.network: Any = AutoencoderKL(
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=config.widths,
            layers_per_block=config.layers,
            latent_channels=config.channels,
            norm_num_groups=config.groups,
            mid_block_add_attention=True,
        )
        with torch.no_grad():  # a narrow posterior: the first steps hear the maps, not its noise
            narrow = self.network.quant_conv
            narrow.weight[config.channels :] = 0
            narrow.bias[config.channels :] = _FIRST_LOG_VARIANCE
        self.register_buffer("scale", torch.ones(()))  # on the posterior's mean

    def encode(self, maps: Tensor) -> Tensor:
        """The posterior's mean, scaled."""
        mean: Tensor = self.network.encode(maps).latent_dist.mode()
        return mean * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """The inverse; values may leave [−1, 1]."""
        decoded: Tensor = self.network.decode(latents / self.scale, return_dict=False)[0]
        return decoded

    def loss(
        self, maps: Tensor, weight: Tensor, noise: Tensor, kl_weight: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """L1 of maps coded with ``noise`` ``(B, C, h, w)`` on texels of ``weight`` ``(B, 1, S, S)``, with the
        divergence from a unit Gaussian; the L1 alone; and the posterior's mean, unscaled, without gradients.
        """
        posterior = self.network.encode(maps).latent_dist
        made = self.network.decode(posterior.mean + posterior.std * noise, return_dict=False)[0]
        error = l1_loss(made * weight, maps * weight) * weight.numel() / weight.sum().clamp_min(1)
        loss = error + kl_weight * posterior.kl().mean() / noise[0].numel()
        return loss, error, posterior.mean.detach()
