"""The fixed template that the shading loss lights: a head's mean shape, rasterised into its chart."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.head.base import ParametricHead
from backend.shading.ggx import UVGeometry
from backend.uvspace.chart import chart_maps


def template_geometry(head: ParametricHead, texels: int, device: torch.device) -> UVGeometry:
    """Position, normal, tangent and mask ``(1, ·, S, S)`` of the mean head (appendix: fixed priors).

    Head space, metres. Texels outside the chart have mask 0 and a frame of their own that shades to no NaN.
    """
    maps = chart_maps(head, head.mean_vertices, texels)
    outside = ~maps.inside
    normal, tangent = maps.normal_head.copy(), maps.tangent_head.copy()
    normal[outside] = (0, 0, 1)
    tangent[outside] = (1, 0, 0, 1)
    return UVGeometry(
        position=_batch(maps.position_head, device),
        normal=_batch(normal, device),
        tangent=_batch(tangent, device),
        mask=_batch(maps.inside[..., None].astype(np.float32), device),
    )


def _batch(image: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))[None].to(device)
