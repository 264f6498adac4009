"""Small pictures of half-finished latents without the VAE: colours are nearly linear in them.

The linear map is fitted to the stage's own input, whose latents and picture are both at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backend.artifacts import F32


@dataclass(frozen=True)
class LatentColours:
    """sRGB of a latent pixel: ``matrix`` ``(C + 1, 3)``, its last row the constant."""

    matrix: Tensor

    @classmethod
    def fit(cls, latents: Tensor, picture_srgb: F32) -> LatentColours:
        """Least squares over the picture ``(S, S, 3)`` of ``latents`` ``(1, C, h, w)``, averaged to h×w."""
        _, channels, h, w = latents.shape
        factor = picture_srgb.shape[0] // h
        colour = picture_srgb.reshape(h, factor, w, factor, 3).mean(axis=(1, 3)).reshape(-1, 3)
        rows = _with_constant(latents)
        # A ridge of a thousandth: a chart's empty parts leave directions without any evidence.
        ridge = 1e-3 * torch.eye(channels + 1, dtype=torch.float64) * len(rows)
        target = torch.from_numpy(colour.astype(np.float64))
        return cls(torch.linalg.solve(rows.T @ rows + ridge, rows.T @ target))

    def picture(self, latents: Tensor) -> F32:
        """``(h, w, 3)`` in [0, 1] of ``latents`` ``(1, C, h, w)``."""
        h, w = latents.shape[2:]
        colour = (_with_constant(latents) @ self.matrix).clamp(0, 1).reshape(h, w, 3)
        return np.asarray(colour.numpy(), np.float32)


def _with_constant(latents: Tensor) -> Tensor:
    rows = latents[0].double().flatten(1).T
    return torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)
