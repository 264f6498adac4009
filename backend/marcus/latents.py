"""Between pictures, latents and tokens: the VAE's scale, 2×2 packing, positions (LongCat-Image-Edit)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Grid = tuple[int, int]  # rows, columns of tokens: latent pixels / 2

TEXT, NOISE, CONDITION = 0.0, 1.0, 2.0  # the first axis of the position ids


def pack(latents: Tensor) -> Tensor:
    """``(B, C, 2h, 2w)`` to tokens ``(B, h·w, 4C)``: channel-major, then the 2×2 block row by row."""
    b, c, height, width = latents.shape
    blocks = latents.reshape(b, c, height // 2, 2, width // 2, 2)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(b, (height // 2) * (width // 2), 4 * c)


def unpack(tokens: Tensor, grid: Grid) -> Tensor:
    """The inverse of ``pack``: ``(B, h·w, 4C)`` to ``(B, C, 2h, 2w)`` for ``grid`` (h, w)."""
    b, _, channels = tokens.shape
    h, w = grid
    blocks = tokens.reshape(b, h, w, channels // 4, 2, 2)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(b, channels // 4, 2 * h, 2 * w)


def position_ids(text_tokens: int, grid: Grid, *, condition: bool = True) -> tuple[Tensor, Tensor]:
    """Ids of the text ``(L, 3)`` and of noise and, after it, condition ``(N or 2N, 3)``, float64.

    Text token i is (0, i, i); image token (row, column) is (1 or 2, L + row, L + column).
    """
    count = torch.arange(text_tokens, dtype=torch.float64)
    text = torch.stack([torch.full_like(count, TEXT), count, count], dim=-1)
    rows, columns = (torch.arange(n, dtype=torch.float64) + text_tokens for n in grid)
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2)
    kinds = (NOISE, CONDITION) if condition else (NOISE,)
    image = [torch.cat([torch.full_like(places[:, :1], kind), places], dim=1) for kind in kinds]
    return text, torch.cat(image)


def encode(vae: Any, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Latents of ``images`` ``(B, 3, H, W)`` in [−1, 1]: the posterior's mode, as at inference, or with a
    ``generator`` a sample of it, as in training.
    """
    posterior = vae.encode(images.to(vae.dtype)).latent_dist
    latents: Tensor = posterior.mode() if generator is None else posterior.sample(generator)
    scaled: Tensor = (latents - vae.config.shift_factor) * vae.config.scaling_factor
    return scaled


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Images ``(B, 3, H, W)``, nominally in [−1, 1], of ``latents``; differentiable."""
    raw = latents / vae.config.scaling_factor + vae.config.shift_factor
    images: Tensor = vae.decode(raw.to(vae.dtype), return_dict=False)[0]
    return images
