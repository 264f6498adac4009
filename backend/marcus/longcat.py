"""LongCat-Image-Edit's transformer as MARCUS uses it: its size, and one prediction of the velocity.

The class is diffusers'; its defaults (19 + 38 blocks) are not the released model, which has 10 + 20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.transformers.transformer_longcat_image import LongCatImageTransformer2DModel
from torch import Tensor, nn

from backend.marcus.latents import Grid, position_ids


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes that ``transformer/config.json`` states; the defaults are the released model's."""

    layers: int = 10  # double-stream blocks
    single_layers: int = 20
    heads: int = 24
    head_dim: int = 128
    channels: int = 64  # of a token: 2×2 latent pixels of 16 channels
    text_dim: int = 3584  # Qwen2.5-VL's hidden size
    rope_axes: tuple[int, int, int] = (16, 56, 56)  # sums to head_dim

    @property
    def width(self) -> int:
        return self.heads * self.head_dim


RELEASED = TransformerConfig()
TINY = TransformerConfig(
    layers=1, single_layers=2, heads=2, head_dim=16, channels=64, text_dim=32, rope_axes=(4, 6, 6)
)


def build_transformer(config: TransformerConfig, *, seed: int = 0) -> nn.Module:
    """A transformer with random weights, drawn from ``seed``; under ``torch.device("meta")`` with none."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = LongCatImageTransformer2DModel(
            patch_size=1,
            in_channels=config.channels,
            num_layers=config.layers,
            num_single_layers=config.single_layers,
            attention_head_dim=config.head_dim,
            num_attention_heads=config.heads,
            joint_attention_dim=config.text_dim,
            pooled_projection_dim=config.text_dim,
            axes_dims_rope=list(config.rope_axes),
        )
    return model.eval()


def predict(
    transformer: Any,
    noisy: Tensor,
    condition: Tensor | None,
    sigma: Tensor | float,
    text: Tensor,
    grid: Grid,
) -> Tensor:
    """The velocity dz/dσ that the model sees at ``noisy``: its training target is noise − clean.

    ``noisy`` and ``condition`` are tokens ``(B, N, C)`` of a ``grid`` of N = rows·columns, ``text``
    ``(B, L, D)``, ``sigma`` in (0, 1] for all or ``(B,)``. Returns ``(B, N, C)``. The condition's tokens
    follow the noise's, under position ids of their own; what comes out at their places is dropped.
    """
    tokens = noisy if condition is None else torch.cat([noisy, condition], dim=1)
    text_ids, image_ids = position_ids(text.shape[1], grid, condition=condition is not None)
    time = torch.as_tensor(sigma, dtype=torch.float64, device=noisy.device).to(noisy.dtype)
    out: Tensor = transformer(
        hidden_states=tokens,
        timestep=time.expand(len(noisy)),
        encoder_hidden_states=text,
        txt_ids=text_ids.to(noisy.device),
        img_ids=image_ids.to(noisy.device),
        return_dict=False,
    )[0]
    return out[:, : noisy.shape[1]]
