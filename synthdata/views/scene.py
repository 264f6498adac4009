"""What stands before the cameras of a dome; whoever draws it, by transfer or by a path tracer, gets this."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera
from backend.head.base import ParametricHead
from backend.shading.environment import Environment
from synthdata.run.people import Person


@dataclass(frozen=True)
class Scene:
    """A posed person in a light."""

    head: ParametricHead
    person: Person  # maps of the chart's size
    shown: Person  # the same maps as fine as pictures need them
    surroundings: Environment
    turn_degrees: float  # of the surroundings, right-handed about +Y
    factor: tuple[float, float, float]  # on their radiance, by channel


@dataclass(frozen=True)
class Drawn:
    """One camera's picture of a scene, not exposed yet."""

    radiance_linear: F32  # (H, W, 3), the surroundings behind the head
    parts: NDArray[np.uint8]  # (H, W) 0 beside the person, k + 1 on head.part_names[k], then what is worn
    coverage: F32  # (H, W) share of each pixel that the person covers


@dataclass(frozen=True)
class Seen:
    """A scene from all sides."""

    scene: Scene
    views: tuple[Drawn, ...]  # by camera
    shaded: F32  # (S, S, 3) radiance of the chart, each texel seen from above, not exposed


Draw = Callable[[Iterable[Scene], Sequence[Camera]], Iterator[Seen]]
