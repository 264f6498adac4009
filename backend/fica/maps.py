"""What flows between FiCA's networks: maps on the atlas as tensors ``(B, C, S, S)``.

Texture is display sRGB in [0, 1]. Geometry is head space in metres; networks see it as the distance from the
mean head over SPAN_M, about [−1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backend.fica.atlas import Atlas

SPAN_M = 0.03  # identities lie within about this of the mean head
PARTIAL_CHANNELS = 10  # rgb 3, mask 1, normal 3, vertex 3
RGB, MASK, NORMAL, VERTEX = slice(0, 3), slice(3, 4), slice(4, 7), slice(7, 10)


@dataclass(frozen=True)
class HeadMaps:
    """A head on the atlas: what completion makes, refinement betters and the prior reads."""

    texture: Tensor  # (B, 3, S, S) display sRGB
    geometry: Tensor  # (B, 3, S, S) metres, head space, neutral face


@dataclass(frozen=True)
class Frame:
    """The atlas as tensors, on the device where maps are worked on."""

    inside: Tensor  # (1, 1, S, S) 1 on texels that show a surface
    part: Tensor  # (S, S) index of the part, −1 without surface
    rows: Tensor  # (N,) flat indices of the texels with a surface
    mean: Tensor  # (1, 3, S, S) geometry of the mean head, metres

    @property
    def size(self) -> int:
        return int(self.part.shape[0])

    def coded(self, geometry: Tensor) -> Tensor:
        """Metres to what networks see; 0 where there is no surface."""
        return (geometry - self.mean) / SPAN_M * self.inside

    def metres(self, coded: Tensor) -> Tensor:
        """The inverse on texels with a surface; the mean head's value elsewhere."""
        return self.mean + coded * SPAN_M * self.inside


def frame_of(atlas: Atlas, device: torch.device | str = "cpu") -> Frame:
    """``atlas`` and its mean head."""
    mean = channels_first(atlas.on_texels(atlas.head.mean_vertices))
    part = torch.from_numpy(atlas.part.astype(np.int64))
    return Frame(
        inside=torch.from_numpy(atlas.inside.astype(np.float32))[None, None].to(device),
        part=part.to(device),
        rows=torch.nonzero(part.reshape(-1) >= 0)[:, 0].to(device),
        mean=mean[None].to(device),
    )


def channels_first(image: np.ndarray[Any, Any]) -> Tensor:
    """``(H, W, C)`` as a float tensor ``(C, H, W)``."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))


def signed(texture: Tensor) -> Tensor:
    """[0, 1] to [−1, 1]."""
    return 2 * texture - 1


def unsigned(coded: Tensor) -> Tensor:
    """[−1, 1] to [0, 1]; values may leave it."""
    return 0.5 + 0.5 * coded
