"""Random Gaussians before a camera, for tests."""

from __future__ import annotations

import numpy as np
import torch

from backend.artifacts import Camera
from backend.gaussians.renderer import Gaussians


def made(count: int, seed: int = 0, dtype: torch.dtype = torch.float32, size_m: float = 0.01) -> Gaussians:
    """``count`` Gaussians of varied size, shape and opacity within some centimetres of the origin."""
    random = np.random.default_rng(seed)
    return Gaussians(
        positions=torch.tensor(random.normal(scale=0.05, size=(count, 3)), dtype=dtype),
        log_scales=torch.tensor(np.log(size_m) + random.normal(scale=0.5, size=(count, 3)), dtype=dtype),
        rotations=torch.tensor(random.normal(size=(count, 4)), dtype=dtype),
        opacity_logits=torch.tensor(random.normal(0.5, 1.5, count), dtype=dtype),
        colours_srgb=torch.tensor(random.uniform(0, 1, (count, 3)), dtype=dtype),
    )


def camera(width: int = 40, height: int = 33, focal_px: float = 120.0) -> Camera:
    """A camera half a metre away that looks at the origin, a little turned."""
    turn = np.array([[0.96, 0.0, 0.28], [0.1008, -0.9330, -0.3456], [0.26124, 0.36, -0.89568]])
    turn = np.linalg.svd(turn)[0] @ np.linalg.svd(turn)[2]
    if np.linalg.det(turn) < 0:
        turn[1] *= -1
    pose = np.concatenate([turn, [[0.003], [-0.002], [0.5]]], 1)
    return Camera(focal_px, (width / 2 + 0.3, height / 2 - 0.2), width, height, pose)
