"""A rig of fixed cameras around the head."""

from __future__ import annotations

import math
from dataclasses import dataclass

from backend.artifacts import F64, Camera
from synthdata.headmodel.preview import look_at

DISTANCE_M, FRAME_M = 1.1, 0.36  # an 85 mm portrait lens, about
ASIDE_MOST_DEG = 110.0
LOWEST_DEG, HIGHEST_DEG = -25.0, 50.0
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class DomeCamera:
    """One camera and where it stands."""

    camera: Camera
    yaw_degrees: float  # towards the subject's left
    pitch_degrees: float  # upwards


def dome_cameras(count: int, centre_head: F64, size_px: int) -> tuple[DomeCamera, ...]:
    """``count`` cameras of equal share of the dome's area; the first looks straight into the face.

    The others lie on a Fibonacci lattice between ASIDE_MOST_DEG to either side, LOWEST_DEG and HIGHEST_DEG.
    """
    low, high = (math.sin(math.radians(d)) for d in (LOWEST_DEG, HIGHEST_DEG))
    places = [(0.0, 0.0)]
    for number in range(count - 1):
        height = low + (high - low) * (number + 0.5) / (count - 1)
        turn = (number * _GOLDEN + 0.25) % 1.0
        places.append((ASIDE_MOST_DEG * (2 * turn - 1), math.degrees(math.asin(height))))
    x, y, z = (float(c) for c in centre_head)
    return tuple(
        DomeCamera(look_at((x, y, z), yaw, pitch, DISTANCE_M, FRAME_M, size_px), yaw, pitch)
        for yaw, pitch in places
    )
