"""The universal prior: a head's maps to identity biases, and these with a drive to Gaussians (method 2.4).

Ψ = E(T, G); {δx, δc, q, s, o} = D(e, v, g, Ψ), one Gaussian for each texel of the atlas. The decoder also
says how the expression moves the surface, as codec avatars do, so that Gaussians sit on a posed position map.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from backend.fica.dit import begin_at_zero
from backend.fica.maps import Frame, HeadMaps, signed
from backend.fica.surface import (
    OPAQUE_LOGIT,
    at_texels,
    base_log_scales,
    product,
    quaternions,
    surface_frames,
)
from backend.gaussians.renderer import Gaussians

_SLOPE = 0.2
_FIRST = 8  # texels a side of the decoder's first level
GAZE, VIEW = 4, 3  # numbers: both eyes' angles in radians; unit direction from the head to the camera
_OFFSET_M, _MOTION_M = 0.01, 0.01  # of one unit of the decoder's answer
_TURN, _COLOUR = 0.1, 0.25
MOST_LOG_SCALE = 1.5  # Gaussians stay within e^±1.5 of their texel's size


@dataclass(frozen=True)
class PriorConfig:
    """Sizes; the defaults are the full size, 1024² texels."""

    texels: int = 1024
    expression_width: int = 52
    widths: tuple[int, ...] = (256, 256, 128, 128, 64, 64, 32, 16)  # channels at 8², 16², … texels²
    encoder_widths: tuple[int, ...] = (32, 32, 64, 64, 128, 128, 256, 256)  # at texels, texels/2, … 8²

    def __post_init__(self) -> None:
        levels = round(math.log2(self.texels / _FIRST)) + 1
        if _FIRST << (levels - 1) != self.texels or {len(self.widths), len(self.encoder_widths)} != {levels}:
            raise ValueError(f"{self.texels} texels take {levels} levels from {_FIRST} on")


TINY_PRIOR = PriorConfig(texels=128, widths=(48, 40, 32, 24, 16), encoder_widths=(8, 16, 24, 32, 48))


@dataclass(frozen=True)
class Drive:
    """What moves an avatar."""

    expression: Tensor  # (B, 52) weights in ARKit's order of the head
    gaze: Tensor  # (B, 4) left eye's and right eye's angles, radians: to its left, up
    view: Tensor  # (B, 3) unit, head space, from the head's origin to the camera


@dataclass(frozen=True)
class Decoded:
    """What the decoder says on the atlas, before Gaussians are placed."""

    motion: Tensor  # (B, 3, S, S) metres by which the expression moves the neutral surface, head space
    offset: Tensor  # (B, N, 3) metres along tangent, bitangent, normal
    turn: Tensor  # (B, N, 4) quaternion in the tangent frame, not unit
    log_scale: Tensor  # (B, N, 3) on top of the texel's, within ±MOST_LOG_SCALE
    logit: Tensor  # (B, N)
    colour: Tensor  # (B, N, 3) on top of the texture, display sRGB

    def float(self) -> Decoded:
        """In float32."""
        return Decoded(*(getattr(self, f.name).float() for f in fields(self)))


class IdentityEncoder(nn.Module):
    """The hypernetwork: texture and geometry to bias maps of every level of both branches."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        e = config.encoder_widths
        self.texture, self.geometry = _contraction(e), _contraction(e)
        self.mixed = nn.ModuleList(
            nn.Conv2d(2 * e[-1 - level], 2 * width, 1) for level, width in enumerate(config.widths)
        )

    def forward(self, maps: HeadMaps, frame: Frame) -> list[Tensor]:
        """Biases ``(B, 2·C, n, n)`` from the coarsest level on: the first half is the geometry branch's."""
        texture = _pyramid(self.texture, signed(maps.texture) * frame.inside)
        geometry = _pyramid(self.geometry, frame.coded(maps.geometry))
        return [
            mix(torch.cat([t, g], 1))
            for mix, t, g in zip(self.mixed, reversed(texture), reversed(geometry), strict=True)
        ]


class Branch(nn.Module):
    """From a code to maps of ``out`` channels; at each level x ← (x + bias)/√2, then twice the size."""

    def __init__(self, config: PriorConfig, code: int, out: int) -> None:
        super().__init__()
        self._first = config.widths[0]
        self.start = nn.Linear(code, config.widths[0] * _FIRST**2)
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(config.widths))
        self.last = nn.Conv2d(config.widths[-1], out, 3, padding=1)
        begin_at_zero(self.last)

    def forward(self, code: Tensor, biases: list[Tensor]) -> Tensor:
        x = self.start(code).reshape(len(code), self._first, _FIRST, _FIRST)
        x = leaky_relu((x + biases[0]) / math.sqrt(2), _SLOPE)
        for layer, bias in zip(self.up, biases[1:], strict=True):
            x = layer(interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
            x = leaky_relu((x + bias) / math.sqrt(2), _SLOPE)
        made: Tensor = self.last(x)
        return made


class UniversalPrior(nn.Module):
    """Encoder and decoder. ``mean_log_extent`` is the running average of texels' sizes over training."""

    mean_log_extent: Tensor

    def __init__(self, config: PriorConfig, frame: Frame) -> None:
        super().__init__()
        if frame.size != config.texels:
            raise ValueError(f"the atlas has {frame.size} texels, the prior {config.texels}")
        self.config = config
        self.encoder = IdentityEncoder(config)
        drive = config.expression_width + GAZE
        self.geometry_branch = Branch(config, drive, 3 + 3 + 4 + 3 + 1)
        self.colour_branch = Branch(config, drive + VIEW, 3)
        sizes = surface_frames(frame.mean, frame).log_extent[0]
        self.register_buffer("mean_log_extent", sizes.clone())

    def biases(self, maps: HeadMaps, frame: Frame) -> list[Tensor]:
        """Ψ of a head: made once for each avatar."""
        made: list[Tensor] = self.encoder(maps, frame)
        return made

    def decode(self, drive: Drive, biases: list[Tensor], frame: Frame) -> Decoded:
        """One row for each row of ``drive``; ``biases`` of as many heads, or of one."""
        halves = [bias.chunk(2, 1) for bias in biases]
        code = torch.cat([drive.expression, drive.gaze], 1)
        shape = self.geometry_branch(code, [half[0] for half in halves])
        colour = self.colour_branch(torch.cat([code, drive.view], 1), [half[1] for half in halves])
        rows = frame.rows
        offset, turn, scale, logit = torch.split(at_texels(shape[:, 3:], rows), [3, 4, 3, 1], -1)
        upright = turn.new_tensor([1.0, 0, 0, 0])
        return Decoded(
            motion=_MOTION_M * shape[:, :3] * frame.inside,
            offset=_OFFSET_M * offset,
            turn=upright + _TURN * turn,
            log_scale=MOST_LOG_SCALE * torch.tanh(scale / MOST_LOG_SCALE),
            logit=OPAQUE_LOGIT + logit[..., 0],
            colour=_COLOUR * at_texels(colour, rows),
        )

    def place(self, decoded: Decoded, maps: HeadMaps, posed: Tensor, frame: Frame) -> list[Gaussians]:
        """Gaussians on the posed position map ``(B, 3, S, S)``, metres; row by row."""
        frames = surface_frames(posed, frame)
        rows = frame.rows
        position = frames.position + (frames.rotation @ decoded.offset[..., None])[..., 0]
        scales = base_log_scales(self.mean_log_extent)[None] + decoded.log_scale
        turns = product(quaternions(frames.rotation), decoded.turn)
        colours = (at_texels(maps.texture, rows) + decoded.colour).clamp_min(0)
        return [
            Gaussians(position[k], scales[k], turns[k], decoded.logit[k], colours[k % len(colours)])
            for k in range(len(position))
        ]

    def forward(self, maps: HeadMaps, drive: Drive, frame: Frame) -> list[Gaussians]:
        """The avatar of each row's head under each row's drive, on the surface the decoder poses."""
        decoded = self.decode(drive, self.biases(maps, frame), frame)
        return self.place(decoded, maps, maps.geometry + decoded.motion, frame)

    @torch.no_grad()
    def remember_sizes(self, geometry: Tensor, frame: Frame, share: float = 0.05) -> None:
        """Move the running average towards the texel sizes of ``geometry`` ``(B, 3, S, S)``."""
        seen = surface_frames(geometry, frame).log_extent.mean(0)
        self.mean_log_extent.lerp_(seen, share)


def without_residual(decoded: Decoded) -> Decoded:
    """The warm-up's first steps: no offsets, turns or sizes, so that colours settle on a sound surface."""
    upright = torch.zeros_like(decoded.turn)
    upright[..., 0] = 1
    zero = torch.zeros_like
    return replace(decoded, offset=zero(decoded.offset), turn=upright, log_scale=zero(decoded.log_scale))


def _contraction(widths: tuple[int, ...]) -> nn.ModuleList:
    first = nn.Conv2d(3, widths[0], 3, padding=1)
    down = [nn.Conv2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(widths)]
    return nn.ModuleList([first, *down])


def _pyramid(layers: nn.ModuleList, x: Tensor) -> list[Tensor]:
    found = []
    for layer in layers:
        x = leaky_relu(layer(x), _SLOPE)
        found.append(x)
    return found
