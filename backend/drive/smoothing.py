"""Keyframes made calm without lag: what was not seen is carried over, what trembles is smoothed.

A One-Euro filter (Casiez et al. 2012) lets fast motion pass and stills slow motion. It is made for live use
and lags; here the whole take is known, so the speed is read around each frame and the filter runs forward and
backward, which leaves no phase.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.geometry.state import rotation_exp

EASE_S = 0.2  # before a face is seen again, held values begin to move to where it will be
_SPEED_FRAMES = 1.0  # standard deviation of the derivative's filter
_SPEED_REACH = 2  # frames on either side that a fast moment lets pass too


@dataclass(frozen=True)
class Calm:
    """How much of slow motion is taken for noise: cutoff in Hz = ``still_hz + per_speed · |speed|``."""

    still_hz: float
    per_speed: float  # Hz per unit and second


WEIGHTS = Calm(2.0, 3.0)
GAZE = Calm(3.0, 3.0)
TURN = Calm(1.5, 4.0)  # radians
SHIFT = Calm(1.2, 30.0)  # metres


def held(values: F64, seen: NDArray[np.bool_], times: F64) -> F64:
    """``values`` ``(F, C)``: where not ``seen`` ``(F,)`` as before, eased into what comes after.

    Before the first seen frame its values stand. At least one frame must be seen.
    """
    out = values.copy()
    known = np.flatnonzero(seen)
    out[: known[0]] = values[known[0]]
    out[known[-1] + 1 :] = values[known[-1]]
    for a, b in itertools.pairwise(known):
        if b == a + 1:
            continue
        start = max(times[a], times[b] - EASE_S)
        t = np.clip((times[a + 1 : b] - start) / (times[b] - start), 0, 1)[:, None]
        t = t * t * (3 - 2 * t)
        out[a + 1 : b] = (1 - t) * values[a] + t * values[b]
    return out


def calmed(values: F64, times: F64, calm: Calm) -> F64:
    """``values`` ``(F, C)`` at ``times`` ``(F,)`` in seconds, smoothed without lag."""
    if len(values) < 3:
        return values.copy()
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d

    slow = gaussian_filter1d(values, _SPEED_FRAMES, axis=0, mode="nearest")
    speed = np.abs(np.gradient(slow, times, axis=0))
    speed = maximum_filter1d(speed, 2 * _SPEED_REACH + 1, axis=0, mode="nearest")
    cutoff = calm.still_hz + calm.per_speed * speed
    steps = np.diff(times)[:, None]
    forward = _low_pass(values, cutoff, steps)
    return _low_pass(forward[::-1], cutoff[::-1], steps[::-1])[::-1]


def _low_pass(values: F64, cutoff_hz: F64, steps_s: F64) -> F64:
    out = values.copy()
    gain = 1 - np.exp(-2 * np.pi * cutoff_hz[1:] * steps_s)
    for k in range(1, len(values)):
        out[k] = out[k - 1] + gain[k - 1] * (values[k] - out[k - 1])
    return out


def calmed_rotations(rotations: F64, times: F64) -> F64:
    """Rotations ``(F, 3, 3)``, smoothed about the middle one (all within half a turn of it)."""
    middle = rotations[len(rotations) // 2]
    vectors = np.array([rotation_log(r @ middle.T) for r in rotations])
    return np.array([rotation_exp(v) @ middle for v in calmed(vectors, times, TURN)])


def held_rotations(rotations: F64, seen: NDArray[np.bool_], times: F64) -> F64:
    """``held`` for rotations ``(F, 3, 3)``."""
    middle = rotations[np.flatnonzero(seen)[seen.sum() // 2]]
    vectors = np.array([rotation_log(r @ middle.T) for r in rotations])
    return np.array([rotation_exp(v) @ middle for v in held(vectors, seen, times)])


def rotation_log(rotation: F64) -> F64:
    """The rotation vector ``(3,)``, radians, of a rotation matrix; inverse of ``state.rotation_exp``."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(rotation).as_rotvec(), np.float64)
