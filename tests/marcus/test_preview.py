"""Cheap previews: exact where colours are linear in the latents."""

from __future__ import annotations

import numpy as np
import torch

from backend.marcus.preview import LatentColours


def test_linear_colours_are_found_and_averaged():
    rng = np.random.default_rng(0)
    picture = rng.random((64, 64, 3)).astype(np.float32)
    small = picture.reshape(8, 8, 8, 8, 3).mean((1, 3))
    mixed = small @ rng.standard_normal((3, 6)) + rng.standard_normal(6)
    latents = torch.from_numpy(mixed).permute(2, 0, 1)[None]
    colours = LatentColours.fit(latents, picture)
    assert np.abs(colours.picture(latents) - small).mean() < 0.02
    assert colours.picture(latents * 100).max() <= 1
