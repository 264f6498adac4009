"""The renderer for CPUs, differentiable through torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from backend.artifacts import F32, Camera
from backend.gaussians.renderer import Gaussians
from backend.gaussians.tile_renderer import GaussianArrays, draw, gradients_of


class NumbaRenderer:
    """Tiles of 16×16 pixels on the CPU. The same input gives the same bytes, whatever the threads."""

    name = "numba tiles"

    def render(self, gaussians: Gaussians, camera: Camera) -> Tensor:
        """See ``Renderer.render``."""
        picture: Tensor = _Drawn.apply(  # type: ignore[no-untyped-call]
            gaussians.positions,
            gaussians.log_scales,
            gaussians.rotations,
            gaussians.opacity_logits,
            gaussians.colours_srgb,
            camera,
        )
        return picture


class _Drawn(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        positions: Tensor,
        log_scales: Tensor,
        rotations: Tensor,
        opacity_logits: Tensor,
        colours: Tensor,
        camera: Camera,
    ) -> Tensor:
        arrays = (_array(a) for a in (positions, log_scales, rotations, opacity_logits, colours))
        context.drawn = draw(GaussianArrays(*arrays), camera)
        return torch.from_numpy(context.drawn.picture)

    @staticmethod
    def backward(context: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        to = gradients_of(context.drawn, _array(given[0]))
        arrays = (to.positions, to.log_scales, to.rotations, to.opacity_logits, to.colours_srgb)
        return (*(torch.from_numpy(a) for a in arrays), None)


def _array(tensor: Tensor) -> F32:
    return np.ascontiguousarray(tensor.detach().numpy(), np.float32)
