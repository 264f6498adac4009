"""The 1049 numbers that the regressors give, by name (facts sheet, 2.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# identity, expression, texture, angles, light, translation in x and y, in z: one head of the network each
WIDTHS = (532, 45, 439, 3, 27, 2, 1)
AMBIENT = 0.8  # added to band 0 of every colour, once


@dataclass(frozen=True)
class Coefficients:
    """A batch of B faces; identity, expression and texture are raw, the bases are not whitened."""

    identity: Tensor  # (B, 532)
    expression: Tensor  # (B, 45), not below 0 from the ResNet
    texture: Tensor  # (B, 439)
    angles: Tensor  # (B, 3) radians: pitch about x, yaw about y, roll about z
    gamma: Tensor  # (B, 3, 9) light by colour and band, with AMBIENT added
    translation: Tensor  # (B, 3) model units (decimetres)


def split(vector: Tensor, widths: tuple[int, ...] = WIDTHS) -> Coefficients:
    """Name the parts of ``vector`` ``(B, sum(widths))``; angles that are no numbers become 0."""
    identity, expression, texture, angles, light, side, depth = torch.split(vector, list(widths), dim=1)
    gamma = light.reshape(-1, 3, 9)
    gamma = torch.cat([gamma[..., :1] + AMBIENT, gamma[..., 1:]], dim=-1)
    turned = torch.where(torch.isfinite(angles), angles, torch.zeros_like(angles))
    return Coefficients(identity, expression, texture, turned, gamma, torch.cat([side, depth], dim=1))
