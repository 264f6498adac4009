"""The published LongCat-Image-Edit under the trainers: all three networks on the device, frozen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backend.marcus import latents
from backend.marcus.conditioning import TextEncoder
from backend.marcus.models import Models
from backend.marcus.placement import Placement
from backend.marcus.training.backbone import Assembled
from backend.training.recipe import ReleasedBackbone

_FACTOR = 8  # pixels of a side of a latent pixel


class VaeCodec:
    """The published VAE; its latents are the posterior's mode, as at inference."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae.requires_grad_(False)

    def shape(self, texels: int) -> tuple[int, int, int]:
        return int(self._vae.config.latent_channels), texels // _FACTOR, texels // _FACTOR

    def encode(self, pictures: Tensor) -> Tensor:
        return latents.encode(self._vae, 2 * pictures - 1).float()

    def decode(self, coded: Tensor) -> Tensor:
        return 0.5 + 0.5 * latents.decode(self._vae, coded).float()


class QwenText:
    """Qwen2.5-VL reads the prompt and the condition picture, as at inference."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    def encode(self, prompts: Sequence[str], pictures: Tensor) -> Tensor:
        images = pictures.float().permute(0, 2, 3, 1).cpu().numpy()
        rows = [self._encoder.encode(prompt, image) for prompt, image in zip(prompts, images, strict=True)]
        return torch.cat(rows).to(pictures.device)


def assemble_released(backbone: ReleasedBackbone, weights: Path, device: torch.device) -> Assembled:
    """Raises: Missing, BadWeights."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    models = Models(weights, Placement(device=device, dtype=dtype, staged=False))
    with models.text() as text, models.vae() as vae, models.transformer() as loaded:
        transformer: Any = loaded
    if backbone.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    return Assembled(transformer, VaeCodec(vae), QwenText(text), models.shift())
