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


@dataclass(frozen=True)
class Convolution:
    """A convolution with zero padding to half its kernel, followed by ReLU."""

    weights: F32  # (out, in, k, k)
    bias: F32  # (out,)
    stride: int

    def __call__(self, x: F32) -> F32:
        """``(in, H, W)`` to ``(out, ceil(H / stride), ceil(W / stride))``."""
        out, into, k, _ = self.weights.shape
        padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
        view = np.lib.stride_tricks.sliding_window_view
        windows = view(view(padded, k, 1), k, 2)
        windows = windows[:, :: self.stride, :: self.stride]
        height, width = windows.shape[1:3]
        columns = np.ascontiguousarray(windows.transpose(0, 3, 4, 1, 2)).reshape(into * k * k, -1)
        y = self.weights.reshape(out, -1) @ columns + self.bias[:, None]
        return np.asarray(np.maximum(y, 0, out=y).reshape(out, height, width))


@dataclass(frozen=True)
class Affine:
    """``x ↦ W x + b``."""

    weights: F32  # (out, in)
    bias: F32  # (out,)

    def __call__(self, x: F32) -> F32:
        return np.asarray(self.weights @ x + self.bias)


@dataclass(frozen=True)
class SightNetwork:
    """Convolutions, joined by what is known beside the picture; ``say(relu(see, hear)) + straight``."""

    convolutions: tuple[Convolution, ...]
    see: Affine  # of the flattened last convolution
    hear: Affine  # of the vector
    say: Affine
    straight: Affine  # of the flattened last convolution

    def __call__(self, planes: F32, vector: F32) -> F32:
        """``(out,)`` for ``planes`` ``(2, n, n)`` of ``seen`` and a ``vector`` ``(D,)``."""
        x = planes
        for convolution in self.convolutions:
            x = convolution(x)
        flat = x.reshape(-1)
        hidden = np.maximum(np.concatenate([self.see(flat), self.hear(vector)]), 0)
        return self.say(hidden) + self.straight(flat)


def seen(grey: NDArray[Any], inside: NDArray[np.bool_]) -> F32:
    """What the network sees ``(2, n, n)`` of a flat face ``(n, n)`` in 0–255: log brightness about its
    mean over its contrast, and the same about and over those of the surroundings; 0 beside the face."""
    import cv2

    def around(values: F32) -> F32:
        size = (BLUR_PX, BLUR_PX)
        return np.asarray(cv2.boxFilter(values, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT))

    mask = inside.astype(np.float32)
    log = np.log(grey.astype(np.float32) + np.float32(DARK))
    even = (log - log[inside].mean()) * mask
    contrast = np.sqrt((even * even).sum() / mask.sum())
    share = np.maximum(around(mask), 1e-2)
    local = (even - around(even) / share) * mask
    strength = np.sqrt(np.maximum(around(local * local), 0) / share)  # its running sums round
    planes = [even / (contrast + LEAST_CONTRAST), local / (strength + LEAST_LOCAL)]
    return np.asarray(planes, np.float32)


def to_arrays(network: SightNetwork) -> dict[str, NDArray[Any]]:
    """``network`` as it is stored: half floats."""
    out: dict[str, NDArray[Any]] = {}
    for k, convolution in enumerate(network.convolutions):
        out[f"convolutions.{k}.weights"] = convolution.weights.astype(np.float16)
        out[f"convolutions.{k}.bias"] = convolution.bias.astype(np.float32)
    for name in ("see", "hear", "say", "straight"):
        part: Affine = getattr(network, name)
        out[f"{name}.weights"] = part.weights.astype(np.float16)
        out[f"{name}.bias"] = part.bias.astype(np.float32)
    return out


def from_arrays(stored: Mapping[str, NDArray[Any]], strides: tuple[int, ...]) -> SightNetwork:
    """What ``to_arrays`` gave. Raises: ValueError where shapes do not fit each other, KeyError."""

    def of(name: str) -> F32:
        return np.asarray(stored[name], np.float32)

    def affine(name: str) -> Affine:
        part = Affine(of(f"{name}.weights"), of(f"{name}.bias"))
        if part.weights.ndim != 2 or part.bias.shape != part.weights.shape[:1]:
            raise ValueError(f"'{name}' has weights {part.weights.shape} and bias {part.bias.shape}")
        return part

    convolutions = tuple(
        Convolution(of(f"convolutions.{k}.weights"), of(f"convolutions.{k}.bias"), stride)
        for k, stride in enumerate(strides)
    )
    channels = 2
    for k, one in enumerate(convolutions):
        if (
            one.weights.ndim != 4
            or one.weights.shape[1] != channels
            or one.bias.shape != one.weights.shape[:1]
        ):
            raise ValueError(f"convolution {k} has weights {one.weights.shape} after {channels} channels")
        channels = one.weights.shape[0]
    network = SightNetwork(convolutions, affine("see"), affine("hear"), affine("say"), affine("straight"))
    heard = network.see.weights.shape[0] + network.hear.weights.shape[0]
    if network.say.weights.shape != (network.straight.weights.shape[0], heard):
        raise ValueError(f"'say' has weights {network.say.weights.shape}, not (…, {heard})")
    return network
