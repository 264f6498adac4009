"""Refinement: one feed-forward pass that moves texture and geometry towards the portrait (method 2.3).

A U-Net on the atlas; its coarse levels attend to features of the portrait and of the rendered mesh, which say
where the two differ. The last layer begins at zero: untrained, it changes nothing.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from backend.fica.dit import begin_at_zero
from backend.fica.features import ConvConfig, EncoderConfig, SapiensConfig, build_encoder, convolution
from backend.fica.maps import Frame, HeadMaps, signed
from backend.fica.surface import normal_map

_IN = 3 + 3 + 3 + 1  # texture, coded geometry, normal, inside
_TEXTURE_STEP, _GEOMETRY_STEP = 0.5, 0.5  # of one unit of the answer: display sRGB, coded geometry


@dataclass(frozen=True)
class RefinementConfig:
    """Sizes; the defaults are the full size."""

    encoder: EncoderConfig = field(default_factory=SapiensConfig)
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)  # at the atlas' size, half, …
    attending: int = 2  # of the coarsest levels
    heads: int = 8


TINY_REFINEMENT = RefinementConfig(
    ConvConfig((12, 16, 32, 48, 64)), (16, 24, 32, 48, 64), attending=2, heads=4
)


class CrossAttention(nn.Module):
    """Texels ``(B, C, h, w)`` look at image tokens ``(B, L, D)``."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(context)
        self.query, self.key, self.value = (
            nn.Linear(width, width),
            nn.Linear(context, width),
            nn.Linear(context, width),
        )
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        b, c, h, w = x.shape
        flat = x.flatten(2).transpose(1, 2)
        told = self.context_norm(tokens)
        q, k, v = (self._split(t) for t in (self.query(self.norm(flat)), self.key(told), self.value(told)))
        mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, h * w, c)
        flat = flat + self.out(mixed)
        flat = flat + self.mlp(flat)
        picture: Tensor = flat.transpose(1, 2).reshape(b, c, h, w)
        return picture

    def _split(self, tokens: Tensor) -> Tensor:
        b, n, w = tokens.shape
        return tokens.reshape(b, n, self.heads, w // self.heads).transpose(1, 2)


class RefinementNetwork(nn.Module):
    """Head maps with portrait and rendering to head maps."""

    def __init__(self, config: RefinementConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.encoder = build_encoder(config.encoder)
        self._stride = max(self.encoder.channels)
        context = self.encoder.channels[self._stride] + _PLACE
        self.sides = nn.Parameter(0.02 * torch.randn(2, context))  # which picture a token is of
        self.first = convolution(_IN, widths[0])
        self.down = nn.ModuleList(convolution(a, b, 2) for a, b in itertools.pairwise(widths))
        self.attention = nn.ModuleList(
            CrossAttention(width, context, config.heads) for width in widths[-config.attending :]
        )
        self.up = nn.ModuleList(
            convolution(widths[k] + widths[k - 1], widths[k - 1]) for k in range(len(widths) - 1, 0, -1)
        )
        self.last = nn.Conv2d(widths[0], 6, 3, padding=1)
        begin_at_zero(self.last)

    def forward(self, maps: HeadMaps, portrait: Tensor, rendered: Tensor, frame: Frame) -> HeadMaps:
        """``portrait`` and ``rendered`` ``(B, 3, P, P)`` in display sRGB from the same camera."""
        tokens = torch.cat([self._tokens(portrait, 0), self._tokens(rendered, 1)], 1)
        x = self.first(_stacked(maps, frame))
        kept = []
        plain = len(self.down) + 1 - len(self.attention)
        for level in range(len(self.down) + 1):
            if level:
                kept.append(x)
                x = self.down[level - 1](x)
            if level >= plain:
                x = self.attention[level - plain](x, tokens)
        for layer in self.up:
            x = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = layer(torch.cat([x, kept.pop()], 1))
        moved = self.last(x) * frame.inside
        texture = (maps.texture + _TEXTURE_STEP * moved[:, :3]).clamp(0, 1)
        geometry = frame.metres(frame.coded(maps.geometry) + _GEOMETRY_STEP * moved[:, 3:])
        return HeadMaps(texture, geometry)

    def _tokens(self, picture: Tensor, side: int) -> Tensor:
        features = self.encoder(picture)[self._stride]
        b, _, h, w = features.shape
        place = _picture_places(h, w).to(features)[None].expand(b, -1, -1, -1)
        tokens = torch.cat([features, place], 1).flatten(2).transpose(1, 2)
        return tokens + self.sides[side]


_PLACE = 8


def _picture_places(rows: int, columns: int) -> Tensor:
    """Sines and cosines of the place in a picture, ``(_PLACE, rows, columns)``."""
    y = ((torch.arange(rows) + 0.5) / rows)[:, None].expand(rows, columns)
    x = ((torch.arange(columns) + 0.5) / columns)[None].expand(rows, columns)
    turned = [torch.pi * k * axis for axis in (x, y) for k in (1, 2)]
    return torch.stack([f(t) for t in turned for f in (torch.sin, torch.cos)])


def _stacked(maps: HeadMaps, frame: Frame) -> Tensor:
    inside = frame.inside.expand(len(maps.texture), -1, -1, -1)
    normals = normal_map(maps.geometry, frame)
    return torch.cat([signed(maps.texture) * inside, frame.coded(maps.geometry), normals, inside], 1)
