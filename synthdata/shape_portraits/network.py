"""The network of ``backend/geometry/sight_network.py`` as it is trained: torch, with what training needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backend.geometry.sight_network import Affine, Convolution, SightNetwork


@dataclass(frozen=True)
class Shape:
    """How large the network is."""

    vector: int  # numbers that it is told beside the picture
    said: int
    channels: tuple[int, ...] = (16, 32, 64, 96)  # by stage; each halves the picture
    seen: int = 256  # hidden units of the picture
    heard: int = 128  # and of the vector
    side: int = 112
    dropout: float = 0.3


class TrainedSight(nn.Module):
    """``(B, 2, n, n)`` planes and ``(B, D)`` vectors to ``(B, said)``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = 2, shape.side
        for stage, wide in enumerate(shape.channels):
            for kernel, stride in ((5, 2),) if stage == 0 else ((3, 2), (3, 1)):
                layers += [
                    nn.Conv2d(channels, wide, kernel, stride, kernel // 2, bias=False),
                    nn.BatchNorm2d(wide),
                    nn.ReLU(),
                ]
                channels = wide
            side = (side + 1) // 2
        flat = channels * side * side
        self.convolutions = nn.Sequential(*layers)
        self.see, self.hear = nn.Linear(flat, shape.seen), nn.Linear(shape.vector, shape.heard)
        self.say = nn.Linear(shape.seen + shape.heard, shape.said)
        self.straight = nn.Linear(flat, shape.said)
        self.drop = nn.Dropout(shape.dropout)
        with torch.no_grad():  # at first it adds next to nothing to the regressions
            self.say.weight.mul_(0.1)
            self.straight.weight.zero_()

    def forward(self, planes: Tensor, vector: Tensor) -> Tensor:
        flat = self.drop(self.convolutions(planes).flatten(1))
        hidden = torch.cat([self.see(flat), self.hear(self.drop(vector))], 1)
        said: Tensor = self.say(self.drop(hidden.relu())) + self.straight(flat)
        return said


def exported(network: TrainedSight) -> SightNetwork:
    """The same in NumPy, its normalisations folded into the convolutions before them."""

    def array(value: Tensor) -> NDArray[np.float32]:
        return np.asarray(value.detach().float().numpy(), np.float32).copy()

    def affine(layer: nn.Linear) -> Affine:
        return Affine(array(layer.weight), array(layer.bias))

    layers = list(network.convolutions)
    convolutions = []
    for convolution, norm in zip(layers[::3], layers[1::3], strict=True):
        if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            raise TypeError("every convolution has its normalisation behind it")
        if norm.running_mean is None or norm.running_var is None:
            raise TypeError("normalisation has no running statistics")
        gain = array(norm.weight) / np.sqrt(array(norm.running_var) + norm.eps)
        weights = array(convolution.weight) * gain[:, None, None, None]
        bias = array(norm.bias) - array(norm.running_mean) * gain
        convolutions.append(Convolution(weights, bias, int(convolution.stride[0])))
    return SightNetwork(
        tuple(convolutions),
        affine(network.see),
        affine(network.hear),
        affine(network.say),
        affine(network.straight),
    )
