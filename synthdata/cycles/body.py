"""A body without a head, as something to put clothes on: a torso and two arms. Head space, metres."""

from __future__ import annotations

import numpy as np

from synthdata.cycles.ground import F64, smoothstep, unit

AROUND, ROWS = 300, 120
AXIS_Z = -0.007
LOWEST_Y = -0.520
# Heights from the neck to the hips, and there half the width and the depths before and behind the axis.
_HEIGHT = (-0.060, -0.090, -0.100, -0.115, -0.135, -0.165, -0.220, -0.340, -0.520)
_WIDE = (0.056, 0.060, 0.070, 0.106, 0.144, 0.165, 0.172, 0.168, 0.164)
_FRONT = (0.050, 0.052, 0.054, 0.057, 0.062, 0.073, 0.094, 0.116, 0.108)
_BACK = (0.058, 0.064, 0.072, 0.083, 0.092, 0.099, 0.107, 0.110, 0.100)
_SQUARE = 2.5  # exponent of a slice's outline: a body is between an ellipse and a box
# The left arm hangs: places along its middle, and its radius there.
_ARM = ((0.116, -0.168, -0.014), (0.150, -0.190, -0.014), (0.178, -0.220, -0.015), (0.198, -0.280, -0.014),
        (0.213, -0.360, -0.008), (0.227, -0.530, 0.012))  # fmt: skip
_ARM_M = (0.033, 0.047, 0.051, 0.051, 0.047, 0.044)
_ARM_AROUND, _ARM_ROWS = 120, 110


def torso(turn: F64, height: F64, build: float) -> F64:
    """Places ``(rows, around, 3)`` at ``turn`` radians from the front and ``height`` ``(rows, around)``."""
    wide, front, back = (_at(height, table) for table in (_WIDE, _FRONT, _BACK))
    wide = wide * (1 + (build - 1) * smoothstep(-0.10, -0.15, height))
    deep = np.where(np.cos(turn)[None] > 0, front, back)
    # Round above, where it is a neck, squarer below.
    power = 2 / (2 + (_SQUARE - 2) * smoothstep(-0.10, -0.16, height))
    x = wide * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** power
    z = deep * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** power
    return np.stack([x, height, AXIS_Z + z], -1)


def arm(side: float, build: float, ease_m: float) -> F64:
    """Rings ``(rows, around, 3)`` of the arm on the subject's left (``side`` 1) or right (−1).

    It begins inside the torso; ``ease_m`` is added to its radius.
    """
    from scipy.interpolate import PchipInterpolator

    knots = np.linspace(0, 1, len(_ARM))
    t = np.linspace(0, 1, _ARM_ROWS)
    line = PchipInterpolator(knots, np.array(_ARM))(t) * [side * build, 1.0, 1.0]
    radius = PchipInterpolator(knots, np.array(_ARM_M))(t) * (0.5 + 0.5 * build) + ease_m
    ahead = unit(np.gradient(line, axis=0))
    across = unit(np.cross(ahead, [0.0, 0.0, 1.0]))
    front = np.cross(across, ahead)
    turn = np.linspace(0, 2 * np.pi, _ARM_AROUND, endpoint=False)[:, None]
    ring = np.cos(turn) * across[:, None] + np.sin(turn) * front[:, None]
    return np.asarray(line[:, None] + radius[:, None, None] * ring)


def _at(height: F64, table: tuple[float, ...]) -> F64:
    from scipy.interpolate import PchipInterpolator

    return np.asarray(PchipInterpolator(-np.array(_HEIGHT), np.array(table))(-height))
