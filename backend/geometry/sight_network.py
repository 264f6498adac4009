"""The small convolutional network that looks at a flat face again, once its points have been put right.

Plain NumPy: a glance costs a few milliseconds, and a reconstruction needs no torch. What trains it is the
twin in ``synthdata/shape_portraits/network.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32

BLUR_PX = 15  # of the surroundings that a pixel is compared with
DARK = 8.0  # of 255: below this noise would be contrast
LEAST_CONTRAST, LEAST_LOCAL = 0.1, 0.06  # of log brightness
PLANES = 2  # that the network sees of the picture at half its size
BLOCKS = (0, 0, 2, 0, 3, 0, 3)  # residual ones, behind each convolution
JOINED = (1, 1, 2)  # convolutions by stage of the way back to finer pictures
AFFINE = ("see", "hear", "say", "straight", "gather", "weigh", "reply")  # layers of ``SightNetwork``
STEPS = 2  # of what a point reads: its step along the flat picture; the rest goes to the shape


@dataclass(frozen=True)
class Convolution:
    """A convolution with zero padding to half its kernel; called, followed by ReLU."""

    weights: F32  # (out, in, k, k)
    bias: F32  # (out,)
    stride: int

    def __call__(self, x: F32) -> F32:
        """``(in, H, W)`` to ``(out, ceil(H / stride), ceil(W / stride))``."""
        y = self.linear(x)
        return np.asarray(np.maximum(y, 0, out=y))

    def linear(self, x: F32) -> F32:
        """The same without ReLU."""
        out, into, k, _ = self.weights.shape
        padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
        view = np.lib.stride_tricks.sliding_window_view
        windows = view(view(padded, k, 1), k, 2)
        windows = windows[:, :: self.stride, :: self.stride]
        height, width = windows.shape[1:3]
        columns = np.ascontiguousarray(windows.transpose(0, 3, 4, 1, 2)).reshape(into * k * k, -1)
        y = self.weights.reshape(out, -1) @ columns + self.bias[:, None]
        return np.asarray(y.reshape(out, height, width))


@dataclass(frozen=True)
class Block:
    """``x ↦ relu(x + narrow(relu(widen(x))))``: a residual block; size and channels stay."""

    widen: Convolution
    narrow: Convolution

    def __call__(self, x: F32) -> F32:
        y = x + self.narrow.linear(self.widen(x))
        return np.asarray(np.maximum(y, 0, out=y))


@dataclass(frozen=True)
class Affine:
    """``x ↦ W x + b``."""

    weights: F32  # (out, in)
    bias: F32  # (out,)

    def __call__(self, x: F32) -> F32:
        return np.asarray(self.weights @ x + self.bias)


@dataclass(frozen=True)
class PointReader:
    """The way back to finer pictures: what each of P points reads off them at its own place, R numbers.

    At every stage the picture is made twice as large and joined by what convolutions saw at that size.
    """

    tell: Affine  # of the vector, alike everywhere
    narrow: tuple[Affine, ...]  # by stage: of channels, before the picture grows
    join: tuple[tuple[Convolution, ...], ...]  # by stage
    places: F32  # (P, 2) in the picture, [0, 1]², x right and y down
    weights: F32  # (P, C, R) of the channels of all stages at the point's place
    bias: F32  # (P, R)

    def __call__(self, coarse: F32, skips: tuple[F32, ...], vector: F32) -> F32:
        """``(P, R)`` of the last convolution and of what was seen at twice, four and eight times its size."""
        x, read, told = coarse, [], self.tell(vector)[:, None, None]
        for narrow, join, skip in zip(self.narrow, self.join, skips, strict=True):
            channels = narrow.weights @ x.reshape(len(x), -1) + narrow.bias[:, None]
            grown = channels.reshape(-1, *x.shape[1:]).repeat(2, 1).repeat(2, 2) + told
            x, told = chained(join, np.concatenate([grown, skip])), np.zeros(1, np.float32)
            read.append(sampled(x, self.places))
        return np.asarray(np.einsum("cp,pcx->px", np.concatenate(read), self.weights) + self.bias)


def chained(convolutions: tuple[Convolution, ...], x: F32) -> F32:
    """``x`` through all ``convolutions``."""
    for convolution in convolutions:
        x = convolution(x)
    return x


def sampled(planes: F32, places: F32) -> F32:
    """``(C, P)``: ``planes`` ``(C, n, n)`` between their pixels' centres, at ``places`` ``(P, 2)``."""
    side = planes.shape[-1]
    at = np.clip(places * side - 0.5, 0, side - 1).astype(np.float32)
    low = np.minimum(at.astype(np.intp), side - 2)
    (x, y), (u, v) = low.T, (at - low).T
    top = planes[:, y, x] * (1 - u) + planes[:, y, x + 1] * u
    return np.asarray(top * (1 - v) + (planes[:, y + 1, x] * (1 - u) + planes[:, y + 1, x + 1] * u) * v)


@dataclass(frozen=True)
class Seen:
    """A flat face as the network sees it; 0 beside the face."""

    planes: F32  # (2, n, n) log brightness about its mean over its contrast; about and over its surroundings'
    sharp: F32  # (1, 2n, 2n) about and over its surroundings', at the whole size


@dataclass(frozen=True)
class SightNetwork:
    """Convolutions, joined by what is known beside the picture: ``say(relu(see, hear)) + straight`` of the
    whole face, and ``points`` by the features of each place. What these read beside their steps ``gather``
    adds to the last of what is said, and weighed with all that is known it is replied to all of it."""

    convolutions: tuple[Convolution, ...]
    blocks: tuple[tuple[Block, ...], ...]  # behind each convolution
    sharp: tuple[Convolution, ...]  # of the sharper picture, to half the planes' size
    see: Affine  # of the flattened last convolution
    hear: Affine  # of the vector
    say: Affine
    straight: Affine  # of the flattened last convolution
    points: PointReader
    gather: Affine  # of what all points read beside their steps, flattened
    weigh: Affine  # of the same and the hidden units of picture and vector
    reply: Affine  # of what was weighed, after ReLU

    def __call__(self, picture: Seen, vector: F32) -> tuple[F32, F32]:
        """``(out,)`` and ``(P, 2)`` for a ``picture`` and a ``vector`` ``(D,)``."""
        found = [picture.planes]
        for convolution, blocks in zip(self.convolutions, self.blocks, strict=True):
            x = convolution(found[-1])
            for block in blocks:
                x = block(x)
            found.append(x)
        flat = found[-1].reshape(-1)
        hidden = np.maximum(np.concatenate([self.see(flat), self.hear(vector)]), 0)
        said = self.say(hidden) + self.straight(flat)
        skips = (found[-3], found[-5], chained(self.sharp, picture.sharp))
        read = self.points(found[-1], skips, vector)
        felt = read[:, STEPS:].reshape(-1)
        gathered = self.gather(felt)
        said[-len(gathered) :] += gathered
        said += self.reply(np.maximum(self.weigh(np.concatenate([felt, hidden])), 0))
        return said, read[:, :STEPS]


def seen(grey: NDArray[Any], inside: NDArray[np.bool_], inside_sharp: NDArray[np.bool_]) -> Seen:
    """What the network sees of a flat face ``grey`` ``(2n, 2n)`` in 0–255; ``inside`` ``(n, n)`` and
    ``inside_sharp`` ``(2n, 2n)`` are the face."""
    import cv2

    def around(values: F32) -> F32:
        size = (BLUR_PX, BLUR_PX)
        return np.asarray(cv2.boxFilter(values, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT))

    def grown(values: F32) -> F32:
        return np.asarray(cv2.resize(values, grey.shape, interpolation=cv2.INTER_LINEAR))

    mask = inside.astype(np.float32)
    side = len(mask)
    halved = grey.astype(np.float32).reshape(side, 2, side, 2).mean((1, 3))
    log = np.log(halved + np.float32(DARK))
    mean = log[inside].mean()
    even = (log - mean) * mask
    contrast = np.sqrt((even * even).sum() / mask.sum())
    share = np.maximum(around(mask), 1e-2)
    middle = around(even) / share
    local = (even - middle) * mask
    strength = np.sqrt(np.maximum(around(local * local), 0) / share)  # its running sums round
    planes = [even / (contrast + LEAST_CONTRAST), local / (strength + LEAST_LOCAL)]
    finer = np.log(grey.astype(np.float32) + np.float32(DARK)) - mean - grown(middle)
    sharp = np.where(inside_sharp, finer / (grown(strength) + LEAST_LOCAL), 0)
    return Seen(np.asarray(planes, np.float32), np.asarray(sharp[None], np.float32))


def to_arrays(network: SightNetwork) -> dict[str, NDArray[Any]]:
    """``network`` as it is stored: half floats."""
    points = network.points
    layers: dict[str, Convolution | Affine] = {"points.tell": points.tell}
    for name in AFFINE:
        layers[name] = getattr(network, name)
    layers |= {f"convolutions.{k}": one for k, one in enumerate(network.convolutions)}
    for behind, blocks in enumerate(network.blocks):
        for k, block in enumerate(blocks):
            layers |= {
                f"blocks.{behind}.{k}.widen": block.widen,
                f"blocks.{behind}.{k}.narrow": block.narrow,
            }
    layers |= {f"sharp.{k}": one for k, one in enumerate(network.sharp)}
    layers |= {f"points.narrow.{k}": one for k, one in enumerate(points.narrow)}
    for stage, join in enumerate(points.join):
        layers |= {f"points.join.{stage}.{k}": one for k, one in enumerate(join)}
    out: dict[str, NDArray[Any]] = {}
    for name, layer in layers.items():
        out[f"{name}.weights"] = layer.weights.astype(np.float16)
        out[f"{name}.bias"] = layer.bias.astype(np.float32)
    out["points.places"], out["points.bias"] = points.places, points.bias.astype(np.float32)
    out["points.weights"] = points.weights.astype(np.float16)
    return out


def from_arrays(
    stored: Mapping[str, NDArray[Any]], strides: tuple[int, ...], sharp_strides: tuple[int, ...]
) -> SightNetwork:
    """What ``to_arrays`` gave. Raises: ValueError where shapes do not fit each other, KeyError."""

    def of(name: str) -> F32:
        return np.asarray(stored[name], np.float32)

    def affine(name: str) -> Affine:
        part = Affine(of(f"{name}.weights"), of(f"{name}.bias"))
        if part.weights.ndim != 2 or part.bias.shape != part.weights.shape[:1]:
            raise ValueError(f"'{name}' has weights {part.weights.shape} and bias {part.bias.shape}")
        return part

    def convolution(name: str, stride: int) -> Convolution:
        part = Convolution(of(f"{name}.weights"), of(f"{name}.bias"), stride)
        if part.weights.ndim != 4 or part.bias.shape != part.weights.shape[:1]:
            raise ValueError(f"'{name}' has weights {part.weights.shape} and bias {part.bias.shape}")
        return part

    def chain(name: str, its_strides: tuple[int, ...]) -> tuple[Convolution, ...]:
        return tuple(convolution(f"{name}.{k}", stride) for k, stride in enumerate(its_strides))

    def block(name: str) -> Block:
        return Block(convolution(f"{name}.widen", 1), convolution(f"{name}.narrow", 1))

    network = SightNetwork(
        convolutions=chain("convolutions", strides),
        blocks=tuple(
            tuple(block(f"blocks.{behind}.{k}") for k in range(count)) for behind, count in enumerate(BLOCKS)
        ),
        sharp=chain("sharp", sharp_strides),
        points=PointReader(
            affine("points.tell"),
            tuple(affine(f"points.narrow.{stage}") for stage in range(len(JOINED))),
            tuple(chain(f"points.join.{stage}", (1,) * count) for stage, count in enumerate(JOINED)),
            of("points.places"),
            of("points.weights"),
            of("points.bias"),
        ),
        **{name: affine(name) for name in AFFINE},
    )
    _check_chain("convolutions", network.convolutions, PLANES)
    for behind, blocks in enumerate(network.blocks):
        channels = network.convolutions[behind].weights.shape[0]
        for k, one in enumerate(blocks):
            if _check_chain(f"blocks.{behind}.{k}", (one.widen, one.narrow), channels) != channels:
                raise ValueError(f"'blocks.{behind}.{k}' does not keep its {channels} channels")
    _check_chain("sharp", network.sharp, 1)
    _check_points(network)
    heard = network.see.weights.shape[0] + network.hear.weights.shape[0]
    if network.say.weights.shape != (network.straight.weights.shape[0], heard):
        raise ValueError(f"'say' has weights {network.say.weights.shape}, not (…, {heard})")
    return network


def _check_chain(name: str, convolutions: tuple[Convolution, ...], channels: int) -> int:
    """How many channels come out. Raises: ValueError where one does not take what comes before it."""
    for k, one in enumerate(convolutions):
        if one.weights.shape[1] != channels:
            raise ValueError(f"'{name}.{k}' has weights {one.weights.shape} after {channels} channels")
        channels = one.weights.shape[0]
    return channels


def _check_points(network: SightNetwork) -> None:
    """Raises: ValueError where the point reader's shapes do not fit the convolutions or each other."""
    points, into, read = network.points, network.convolutions[-1].weights.shape[0], 0
    skips = (network.convolutions[-3], network.convolutions[-5], network.sharp[-1])
    for stage, (narrow, join, skip) in enumerate(zip(points.narrow, points.join, skips, strict=True)):
        if narrow.weights.shape[1] != into:
            raise ValueError(
                f"'points.narrow.{stage}' has weights {narrow.weights.shape} for {into} channels"
            )
        into = _check_chain(f"points.join.{stage}", join, len(narrow.weights) + skip.weights.shape[0])
        read += into
    count = len(points.places)
    if (
        len(points.tell.bias) != len(points.narrow[0].bias)
        or points.places.shape != (count, 2)
        or points.weights.shape[:2] != (count, read)
        or points.weights.shape[2:] != points.bias.shape[1:]
        or len(points.bias) != count
    ):
        raise ValueError(f"'points' has weights {points.weights.shape} for {count} places")
    told, gathered = network.gather.weights.shape
    if gathered != count * (points.bias.shape[1] - STEPS) or told > len(network.say.bias):
        raise ValueError(f"'gather' has weights {network.gather.weights.shape} for {points.bias.shape} read")
    known, weighed = gathered + network.say.weights.shape[1], len(network.weigh.bias)
    if network.weigh.weights.shape[1] != known or network.reply.weights.shape != (
        len(network.say.bias),
        weighed,
    ):
        raise ValueError(
            f"'weigh' and 'reply' have weights {network.weigh.weights.shape} and "
            f"{network.reply.weights.shape} for {known} numbers"
        )
