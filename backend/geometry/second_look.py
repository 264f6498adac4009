"""A second look at a face laid flat by points that are nearly right: a small network, and what is left.

The regressions of ``face_sight.py`` are linear. What they leave, a network tells from the picture laid flat
once more by the points as corrected, and from what the regressions said. It learned, on drawn portraits,
from points that were off in many ways (``synthdata/shape_portraits/train.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.geometry import sight_network
from backend.geometry.face_patch import PatchLayout, patch_layout
from backend.geometry.flat_slopes import slopes
from backend.geometry.sight_network import SightNetwork, seen

STRIDES = (2, 2, 1, 2, 1, 2, 1)  # of the network's convolutions
SHARP_STRIDES = (2, 2, 1)  # of those of the sharper picture
LEFT = ("frontal", "turned")
GLANCES = 2  # the second lays the face flat by what the first told of the points


@dataclass(frozen=True)
class Whitening:
    """``x ↦ (x − mean) @ axes``: numbers of variance 1."""

    mean: F32  # (D,)
    axes: F32  # (D, K)

    def __call__(self, x: NDArray[np.floating[Any]]) -> F32:
        return np.asarray((np.asarray(x, np.float32) - self.mean) @ self.axes, np.float32)


@dataclass(frozen=True)
class Heard:
    """What the network is told beside the picture."""

    points: Whitening  # of level points (478·3)
    errors: Whitening  # of their errors by the regressions (478·2)
    shape_scale: F32  # (C,) of the shape's coefficients by the regressions

    def __call__(
        self, points: F32, errors: NDArray[np.floating[Any]], shape: NDArray[np.floating[Any]]
    ) -> F32:
        """``(…, D)`` of ``(…, 478·3)``, ``(…, 478·2)`` and ``(…, C)``."""
        parts = (self.points(points), self.errors(errors), np.asarray(shape / self.shape_scale, np.float32))
        return np.concatenate(parts, -1)


@dataclass(frozen=True)
class Left:
    """What is left of errors and shape after the second look, for one view."""

    error_fields: F64  # (K, 478, 2) each with an amplitude ~ N(0, 1)
    error_sigma: F64  # (478,) of a point by itself
    shape_covariance: F64  # (C, C)


@dataclass(frozen=True)
class SecondLook:
    """The network with all that belongs to it; for faces that are frontal or turned to their left."""

    network: SightNetwork
    heard: Heard
    axes: F32  # (A, 478·2) level errors by the network's first A numbers
    layout: PatchLayout  # of the flat pictures: (2n, 2n)
    inside: NDArray[np.bool_]  # (n, n) the face at half their size
    slopes: F32  # (2, 478, 478) ``flat_slopes.slopes``
    left: tuple[Left, Left]  # as LEFT

    def __call__(
        self, lay: Callable[[F64], NDArray[np.uint8]], points: F32, errors: F64, shape: F64
    ) -> tuple[F64, F64]:
        """Errors ``(478·2,)`` and shape ``(C,)`` of the regressions, put right.

        ``lay`` gives the flat picture by the level ``points`` ``(478, 3)`` less errors ``(478·2,)``: first
        those that the regressions told, then those that the first glance told. The shape is the first's.
        """
        vector = self.heard(points.reshape(-1), errors, shape)
        count, told, deltas = len(self.axes), errors, []
        for _ in range(GLANCES):
            said, beside = self.network(seen(lay(told), self.inside, self.layout.inside), vector)
            at = points[:, :2] - told.reshape(-1, 2)
            here = np.einsum("pg,gpx->px", beside, self.slopes @ at)
            told = told + said[:count].astype(np.float64) @ self.axes + here.ravel()
            deltas.append(said[count:])
        return told, shape + deltas[0]


def sharper(layout: PatchLayout) -> PatchLayout:
    """The layout of a picture twice as large as ``layout``'s."""
    return patch_layout(layout.places, 2 * len(layout.weights))


def to_arrays(second: SecondLook) -> dict[str, NDArray[Any]]:
    """``second`` as it is stored."""
    out = {f"network.{name}": a for name, a in sight_network.to_arrays(second.network).items()}
    for name, part in (("points", second.heard.points), ("errors", second.heard.errors)):
        # Axes of weak components are large: by column they fit half floats.
        scale = np.abs(part.axes).max(0)
        out[f"{name}.mean"], out[f"{name}.scale"] = part.mean, scale
        out[f"{name}.axes"] = (part.axes / scale).astype(np.float16)
    out["shape_scale"], out["axes"] = second.heard.shape_scale, second.axes.astype(np.float16)
    for name, left in zip(LEFT, second.left, strict=True):
        out[f"{name}.error_fields"] = left.error_fields.astype(np.float16)
        out[f"{name}.error_sigma"] = left.error_sigma.astype(np.float32)
        out[f"{name}.shape_covariance"] = left.shape_covariance.astype(np.float32)
    return out


def from_arrays(stored: Mapping[str, NDArray[Any]], layout: PatchLayout) -> SecondLook:
    """What ``to_arrays`` gave, for flat pictures twice as large as ``layout``'s.

    Raises: KeyError, ValueError where it is not that.
    """

    def of(name: str) -> F32:
        return np.asarray(stored[name], np.float32)

    def whitening(name: str) -> Whitening:
        return Whitening(of(f"{name}.mean"), of(f"{name}.axes") * of(f"{name}.scale"))

    prefix = "network."
    network = sight_network.from_arrays(
        {name.removeprefix(prefix): a for name, a in stored.items() if name.startswith(prefix)},
        STRIDES,
        SHARP_STRIDES,
    )
    heard = Heard(whitening("points"), whitening("errors"), of("shape_scale"))
    axes = of("axes")
    told = heard.points.axes.shape[1] + heard.errors.axes.shape[1] + len(heard.shape_scale)
    if network.hear.weights.shape[1] != told or len(network.say.bias) != len(axes) + len(heard.shape_scale):
        raise ValueError("the network does not fit what it is told and asked")
    frontal, turned = (
        Left(
            np.asarray(stored[f"{name}.error_fields"], np.float64),
            np.asarray(stored[f"{name}.error_sigma"], np.float64),
            np.asarray(stored[f"{name}.shape_covariance"], np.float64),
        )
        for name in LEFT
    )
    return SecondLook(network, heard, axes, sharper(layout), layout.inside, slopes(layout), (frontal, turned))
