"""The completion network: a diffusion transformer whose every block hears the partial maps through an MLP.

FiCA's supplement: latents in patches of 2, 28 DiT+ControlMLP blocks, about 2 B parameters. What it does not
say is stated in docs/fica.md: width 1920, 30 heads, adaLN-Zero as in DiT (Peebles and Xie 2023), control
added through a gated two-layer MLP whose last layer begins at zero (as ControlNet's), semantic embedding and
domain added to the noise level's embedding.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from backend.fica.codec import FACTOR
from backend.fica.maps import PARTIAL_CHANNELS

PATCH = 2
_FREQUENCIES = 256  # of the noise level's and the domain's sinusoids


class Domain(IntEnum):
    """What is denoised; the constant that tells the network so."""

    PHOTOGRAPH = 0  # image-only pre-training
    TEXTURE = 1
    GEOMETRY = 2


@dataclass(frozen=True)
class DiTConfig:
    """Sizes; the defaults are the full size."""

    width: int = 1920
    blocks: int = 28
    heads: int = 30
    mlp_ratio: float = 4.0
    latent_channels: int = 16
    latent_size: int = 32  # rows and columns of the latents
    semantic_width: int = 768  # of CLIP ViT-L/14's image embedding

    @property
    def tokens_a_side(self) -> int:
        return self.latent_size // PATCH


TINY_DIT = DiTConfig(
    width=96, blocks=4, heads=4, mlp_ratio=2.0, latent_channels=8, latent_size=8, semantic_width=32
)


class ControlMLP(nn.Module):
    """What a block is told of the partial maps: control tokens ``(B, N, W)`` to what is added, at first 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.last = nn.Linear(width, width)
        begin_at_zero(self.last)

    def forward(self, control: Tensor) -> Tensor:
        told: Tensor = self.last(nn.functional.gelu(self.first(control), approximate="tanh"))
        return told


class Block(nn.Module):
    """One DiT block with its ControlMLP; adaLN-Zero."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        w, hidden = config.width, int(config.mlp_ratio * config.width)
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(w, elementwise_affine=False, eps=1e-6)
        self.norm2 = nn.LayerNorm(w, elementwise_affine=False, eps=1e-6)
        self.qkv, self.out = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.mlp = nn.Sequential(nn.Linear(w, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, w))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(w, 6 * w))
        self.control = ControlMLP(w)
        begin_at_zero(self.modulation[1])

    def forward(self, x: Tensor, condition: Tensor, control: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, -1)
        x = x + self.control(control)
        x = x + gate1 * self._attend(self.norm1(x) * (1 + scale1) + shift1)
        result: Tensor = x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)
        return result

    def _attend(self, x: Tensor) -> Tensor:
        b, n, w = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        mixed: Tensor = self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, w))
        return mixed


class CompletionDiT(nn.Module):
    """Velocity of latents ``(B, C, h, w)`` at noise levels (B,) for a domain, given what a portrait tells."""

    place: Tensor

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.is_checkpointed = False  # blocks are computed again on the way back, to spare memory
        w = config.width
        self.patches = nn.Conv2d(config.latent_channels, w, PATCH, PATCH)
        self.partial = _partial_stem(w)
        self.level = nn.Sequential(nn.Linear(_FREQUENCIES, w), nn.SiLU(), nn.Linear(w, w))
        self.domain = nn.Sequential(nn.Linear(_FREQUENCIES, w), nn.SiLU(), nn.Linear(w, w))
        self.semantic = nn.Sequential(nn.Linear(config.semantic_width, w), nn.SiLU(), nn.Linear(w, w))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(w, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(w, 2 * w))
        self.out = nn.Linear(w, PATCH * PATCH * config.latent_channels)
        self.register_buffer("place", _places(config.tokens_a_side, w), persistent=False)
        begin_at_zero(self.modulation[1])
        begin_at_zero(self.out)

    def forward(
        self, noisy: Tensor, sigma: Tensor, domain: Tensor, partial: Tensor, semantic: Tensor
    ) -> Tensor:
        """``noisy`` ``(B, C, h, w)``, ``sigma`` (B,) in [0, 1], ``domain`` (B,) of ``Domain``, ``partial``
        ``(B, 10, 8h, 8w)``, all zero where nothing is known, ``semantic`` ``(B, D)``.
        """
        x = self.patches(noisy).flatten(2).transpose(1, 2) + self.place
        control = self.partial(partial).flatten(2).transpose(1, 2) + self.place
        condition = (
            self.level(_sinusoids(1000 * sigma))
            + self.domain(_sinusoids(100 * domain))
            + self.semantic(semantic)
        )
        for block in self.blocks:
            if self.is_checkpointed and torch.is_grad_enabled():
                x = checkpoint(block, x, condition, control, use_reentrant=False)
            else:
                x = block(x, condition, control)
        shift, scale = self.modulation(condition)[:, None].chunk(2, -1)
        return self._pictures(self.out(self.norm(x) * (1 + scale) + shift))

    def _pictures(self, tokens: Tensor) -> Tensor:
        b, side, c = len(tokens), self.config.tokens_a_side, self.config.latent_channels
        blocks = tokens.reshape(b, side, side, PATCH, PATCH, c)
        return blocks.permute(0, 5, 1, 3, 2, 4).reshape(b, c, side * PATCH, side * PATCH)


def begin_at_zero(layer: nn.Module) -> None:
    """A layer whose answer is zero until it has learned."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _partial_stem(width: int) -> nn.Sequential:
    """Partial maps to one control token for each patch: FACTOR·PATCH texels a side."""
    halvings = round(math.log2(FACTOR * PATCH))
    widths = [PARTIAL_CHANNELS, *(max(16, width >> (halvings - k)) for k in range(1, halvings + 1))]
    layers: list[nn.Module] = []
    for into, out in itertools.pairwise(widths):
        layers += [nn.Conv2d(into, out, 3, 2, 1), nn.SiLU()]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], width, 1))


def _sinusoids(values: Tensor) -> Tensor:
    """``(B,)`` as ``(B, _FREQUENCIES)`` cosines and sines of geometric frequencies."""
    half = _FREQUENCIES // 2
    steps = torch.arange(half, device=values.device, dtype=torch.float32)
    turned = values.float()[:, None] * torch.exp(-math.log(10_000) * steps / half)
    return torch.cat([torch.cos(turned), torch.sin(turned)], -1)


def _places(side: int, width: int) -> Tensor:
    """Fixed two-dimensional sine and cosine embedding ``(1, side², width)``."""
    quarter = width // 4
    steps = torch.exp(-math.log(10_000) * torch.arange(quarter, dtype=torch.float32) / quarter)
    turned = torch.arange(side, dtype=torch.float32)[:, None] * steps
    axis = torch.cat([torch.sin(turned), torch.cos(turned)], -1)
    rows, columns = axis[:, None].expand(side, side, -1), axis[None].expand(side, side, -1)
    flat = torch.cat([rows, columns], -1).reshape(1, side * side, -1)
    return nn.functional.pad(flat, (0, width - flat.shape[-1]))
