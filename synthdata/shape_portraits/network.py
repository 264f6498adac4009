"""The network of ``backend/geometry/sight_network.py`` as it is trained: torch, with what training needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backend.artifacts import F32
from backend.geometry.sight_network import (
    AFFINE,
    BLOCKS,
    JOINED,
    STEPS,
    Affine,
    Block,
    Convolution,
    PointReader,
    SightNetwork,
)

TIMID = 0.1  # of the usual first weights: what a residual block adds at first
STEP = 0.05  # of the flat picture's width: what a point's step of 1 says


@dataclass(frozen=True)
class Shape:
    """How large the network is."""

    vector: int  # numbers that it is told beside the picture
    said: int
    gathered: int  # of these, the last, to which what points read besides is added
    channels: tuple[int, int, int, int] = (16, 32, 64, 96)  # by stage; each halves the picture
    wide: tuple[int, int, int] = (96, 192, 256)  # of the residual blocks, by stage that has some
    sharp: tuple[int, int] = (16, 32)  # of the sharper picture, by stage
    grown: tuple[int, int, int] = (64, 32, 32)  # channels of the stages back to finer pictures
    seen: int = 256  # hidden units of the picture
    heard: int = 128  # and of the vector
    felt: int = 3  # numbers that a point reads beside its step
    weighed: int = 256  # hidden units of what all points read beside it
    side: int = 112
    dropout: float = 0.3


class TrainedSight(nn.Module):
    """``(B, 2, n, n)`` planes, ``(B, 1, 2n, 2n)`` sharper ones and ``(B, D)`` vectors to ``(B, said)`` and
    ``(B, P, 2)``, the steps that each of the points at ``places`` ``(P, 2)`` reads at its own place."""

    def __init__(self, shape: Shape, places: F32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = 2, shape.side
        for stage, wide in enumerate(shape.channels):
            for kernel, stride in ((5, 2),) if stage == 0 else ((3, 2), (3, 1)):
                layers += _convolution(channels, wide, kernel, stride)
                channels = wide
            side = (side + 1) // 2
        flat = channels * side * side
        self.convolutions = nn.Sequential(*layers)
        hidden = iter(shape.wide)
        self.blocks = nn.ModuleList()
        for convolution, count in zip(self._convolutions(), BLOCKS, strict=True):
            width = next(hidden) if count else 0
            behind = [ResidualBlock(convolution.out_channels, width) for _ in range(count)]
            self.blocks.append(nn.Sequential(*behind))
        self.see, self.hear = nn.Linear(flat, shape.seen), nn.Linear(shape.vector, shape.heard)
        self.say = nn.Linear(shape.seen + shape.heard, shape.said)
        self.straight = nn.Linear(flat, shape.said)
        self.drop, self.gathered = nn.Dropout(shape.dropout), shape.gathered
        first, then = shape.sharp
        self.sharp = nn.Sequential(
            *_convolution(1, first, 5, 2), *_convolution(first, then, 3, 2), *_convolution(then, then, 3, 1)
        )
        self.tell = nn.Linear(shape.vector, shape.grown[0])
        self.narrow, self.join = nn.ModuleList(), nn.ModuleList()
        skips = (shape.channels[2], shape.channels[1], then)
        for wide, skip, count in zip(shape.grown, skips, JOINED, strict=True):
            self.narrow.append(nn.Conv2d(channels, wide, 1))
            chain = _convolution(wide + skip, wide, 3, 1)
            for _ in range(count - 1):
                chain += _convolution(wide, wide, 3, 1)
            self.join.append(nn.Sequential(*chain))
            channels = wide
        self.drop_planes = nn.Dropout2d(shape.dropout / 3)
        numbers = STEPS + shape.felt
        self.read = nn.Parameter(torch.zeros(len(places), sum(shape.grown), numbers))
        self.read_bias = nn.Parameter(torch.zeros(len(places), numbers))
        felt = len(places) * shape.felt
        self.gather = nn.Linear(felt, shape.gathered)
        self.weigh = nn.Linear(felt + shape.seen + shape.heard, shape.weighed)
        self.reply = nn.Linear(shape.weighed, shape.said)
        self.unit: Tensor
        self.register_buffer("unit", torch.tensor([STEP] * STEPS + [1.0] * shape.felt))
        self.places: Tensor
        self.register_buffer("places", torch.from_numpy(np.asarray(places, np.float32)))
        with torch.no_grad():  # at first it adds next to nothing to the regressions
            self.say.weight.mul_(0.1)
            self.straight.weight.zero_()
            for part in self.reply.parameters():
                part.zero_()

    def _convolutions(self) -> list[nn.Conv2d]:
        return [layer for layer in self.convolutions if isinstance(layer, nn.Conv2d)]

    def forward(self, planes: Tensor, sharp: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        found, layers = [planes], list(self.convolutions)
        for first, blocks in zip(range(0, len(layers), 3), self.blocks, strict=True):
            x = found[-1]
            for layer in layers[first : first + 3]:
                x = layer(x)
            found.append(blocks(x))
        flat, heard = self.drop(found[-1].flatten(1)), self.drop(vector)
        hidden = torch.cat([self.see(flat), self.hear(heard)], 1)
        said: Tensor = self.say(self.drop(hidden.relu())) + self.straight(flat)
        skips = (found[-3], found[-5], self.sharp(sharp))
        read = self._read(found[-1], skips, self.tell(heard)[:, :, None, None])
        felt = self.drop(read[:, :, STEPS:].flatten(1))
        weighed = self.weigh(torch.cat([felt, self.drop(hidden.relu())], 1)).relu()
        said = said + self.reply(self.drop(weighed))
        said = said + nn.functional.pad(self.gather(felt), (said.shape[1] - self.gathered, 0))
        return said, read[:, :, :STEPS]

    def _read(self, x: Tensor, skips: tuple[Tensor, ...], told: Tensor) -> Tensor:
        read: list[Tensor] = []
        grid = (self.places * 2 - 1).expand(len(x), 1, -1, -1)
        for narrow, join, skip in zip(self.narrow, self.join, skips, strict=True):
            grown = nn.functional.interpolate(narrow(x), scale_factor=2, mode="nearest")
            if not read:
                grown = grown + told
            x = join(torch.cat([grown, skip], 1))
            if len(read) + 1 < len(skips):
                x = self.drop_planes(x)
            read.append(_at(x.float(), grid))
        return self.unit * (
            torch.einsum("bcp,pcx->bpx", torch.cat(read, 1), self.read.float()) + self.read_bias
        )


class ResidualBlock(nn.Module):
    """The trained twin of ``sight_network.Block``."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.widen = nn.Sequential(*_convolution(channels, wide, 3, 1))
        self.narrow = nn.Sequential(*_convolution(wide, channels, 3, 1)[:2])
        with torch.no_grad():
            for layer in self.narrow:
                if isinstance(layer, nn.BatchNorm2d):
                    layer.weight.mul_(TIMID)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.narrow(self.widen(x))
        return (x + added).relu()


def _convolution(into: int, out: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    ]


def _at(planes: Tensor, grid: Tensor) -> Tensor:
    """``(B, C, P)``: ``planes`` between their pixels' centres."""
    return nn.functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)[:, :, 0]


def exported(network: TrainedSight) -> SightNetwork:
    """The same in NumPy, its normalisations folded into the convolutions before them."""

    def array(value: Tensor) -> NDArray[np.float32]:
        return np.asarray(value.detach().float().numpy(), np.float32).copy()

    def affine(layer: nn.Linear) -> Affine:
        return Affine(array(layer.weight), array(layer.bias))

    def folded(convolution: nn.Module, norm: nn.Module) -> Convolution:
        if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            raise TypeError("every convolution has its normalisation behind it")
        if norm.running_mean is None or norm.running_var is None:
            raise TypeError("normalisation has no running statistics")
        gain = array(norm.weight) / np.sqrt(array(norm.running_var) + norm.eps)
        weights = array(convolution.weight) * gain[:, None, None, None]
        bias = array(norm.bias) - array(norm.running_mean) * gain
        return Convolution(weights, bias, int(convolution.stride[0]))

    def narrow(layer: nn.Module) -> Affine:
        if not isinstance(layer, nn.Conv2d) or layer.bias is None:
            raise TypeError("what narrows is a convolution with a bias")
        return Affine(array(layer.weight)[:, :, 0, 0], array(layer.bias))

    def chain(sequence: nn.Module) -> tuple[Convolution, ...]:
        layers = list(sequence.children())
        return tuple(folded(*pair) for pair in zip(layers[::3], layers[1::3], strict=True))

    def block(one: ResidualBlock) -> Block:
        return Block(folded(*list(one.widen)[:2]), folded(*one.narrow))

    points = PointReader(
        affine(network.tell),
        tuple(narrow(layer) for layer in network.narrow),
        tuple(chain(join) for join in network.join),
        array(network.places),
        array(network.unit * network.read),
        array(network.unit * network.read_bias),
    )
    return SightNetwork(
        convolutions=chain(network.convolutions),
        blocks=tuple(tuple(block(one) for one in _blocks(some)) for some in network.blocks),
        sharp=chain(network.sharp),
        points=points,
        **{name: affine(getattr(network, name)) for name in AFFINE},
    )


def adopt(network: TrainedSight, said: SightNetwork, look: Callable[[], object]) -> None:
    """Give ``network`` the weights of ``said``, whose shape it has.

    ``look`` shows it some pictures; from what it sees there its normalisations are set so that it says the
    same while it is trained. Raises: ValueError where shapes differ.
    """
    pairs = [
        pair
        for trained, stored in (
            (network.convolutions, said.convolutions),
            (network.sharp, said.sharp),
            *zip(network.join, said.points.join, strict=True),
            *(
                part
                for trained_blocks, stored_blocks in zip(network.blocks, said.blocks, strict=True)
                for trained, stored in zip(_blocks(trained_blocks), stored_blocks, strict=True)
                for part in ((trained.widen, (stored.widen,)), (trained.narrow, (stored.narrow,)))
            ),
        )
        for pair in _with_norms(trained, stored)
    ]
    with torch.no_grad():
        for name in AFFINE:
            _put(getattr(network, name), getattr(said, name))
        _put(network.tell, said.points.tell)
        for layer, narrow in zip(network.narrow, said.points.narrow, strict=True):
            _put(layer, narrow)
        network.read.copy_(torch.from_numpy(said.points.weights) / network.unit)
        network.read_bias.copy_(torch.from_numpy(said.points.bias) / network.unit)
        for convolution, norm, stored in pairs:
            _same_shape(convolution.weight, stored.weights)
            convolution.weight.copy_(torch.from_numpy(stored.weights))
            _set(norm, torch.zeros_like(norm.bias), torch.ones_like(norm.bias), stored)
        seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

        def note(module: nn.Module, _: object, out: Tensor) -> None:
            values = out.float()
            seen[module] = values.mean((0, 2, 3)), values.var((0, 2, 3), unbiased=False)

        hooks = [convolution.register_forward_hook(note) for convolution, _, _ in pairs]
        network.eval()
        look()
        for hook in hooks:
            hook.remove()
        for convolution, norm, stored in pairs:
            _set(norm, *seen[convolution], stored)


def _blocks(chain: nn.Module) -> list[ResidualBlock]:
    return [layer for layer in chain.children() if isinstance(layer, ResidualBlock)]


def _with_norms(
    trained: nn.Module, stored: tuple[Convolution, ...]
) -> list[tuple[nn.Conv2d, nn.BatchNorm2d, Convolution]]:
    convolutions = [layer for layer in trained.children() if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in trained.children() if isinstance(layer, nn.BatchNorm2d)]
    return list(zip(convolutions, norms, stored, strict=True))


def _put(layer: nn.Module, stored: Affine) -> None:
    if not isinstance(layer, nn.Linear | nn.Conv2d) or layer.bias is None:
        raise TypeError("an affine layer has weights and a bias")
    _same_shape(layer.weight.flatten(1), stored.weights)
    layer.weight.copy_(torch.from_numpy(stored.weights).reshape(layer.weight.shape))
    layer.bias.copy_(torch.from_numpy(stored.bias))


def _set(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, stored: Convolution) -> None:
    """A normalisation of that mean and variance which does nothing but add the bias of ``stored``."""
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("normalisation has no running statistics")
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(torch.from_numpy(stored.bias) + mean)


def _same_shape(weights: Tensor, stored: F32) -> None:
    if tuple(weights.shape) != stored.shape:
        raise ValueError(f"a layer of weights {stored.shape} where {tuple(weights.shape)} are trained")
