"""Skin tone: CIELAB, the individual typology angle with its groups, and the CIEDE2000 colour difference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Colours = NDArray[np.floating[Any]]

# IEC 61966-2-1, D65, 2° observer.
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
# Opposite hues lie on one side of the formula's jump, whatever rounding does to them.
_OPPOSITE = 180 + 1e-9

# Del Bino and Bernerd 2013, lightest first: the least angle of each group.
ITA_GROUPS: tuple[tuple[str, float], ...] = (
    ("very light", 55.0),
    ("light", 41.0),
    ("intermediate", 28.0),
    ("tan", 10.0),
    ("brown", -30.0),
    ("dark", -90.0),
)


def lab_of_linear(linear: Colours) -> F64:
    """CIELAB ``(..., 3)`` (D65) of linear Rec. 709 colours ``(..., 3)``, white at 1."""
    t = np.maximum(np.asarray(linear, np.float64) @ _TO_XYZ.T, 0) / _WHITE_D65
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )


def ita_degrees(lab: Colours) -> F64:
    """Individual typology angle atan((L* − 50) / b*) ``(...)`` of CIELAB colours; light skin is high.

    Skin has b* > 0. Where b* is not, the angle goes on past ±90° instead of jumping to the other end.
    """
    lab = np.asarray(lab, np.float64)
    return np.asarray(np.degrees(np.arctan2(lab[..., 0] - 50, lab[..., 2])))


def ita_group(angle_degrees: float) -> str:
    """The name of the group (of ITA_GROUPS) that an angle lies in; a limit belongs to the darker group."""
    for name, least in ITA_GROUPS:
        if angle_degrees > least:
            return name
    return ITA_GROUPS[-1][0]


def delta_e_2000(a: Colours, b: Colours) -> F64:
    """CIEDE2000 ``(...)`` between CIELAB colours ``(..., 3)``, all weights 1 (Sharma, Wu, Dalal 2005)."""
    l1, a1, b1 = np.moveaxis(np.asarray(a, np.float64), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(b, np.float64), -1, 0)
    chroma7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(chroma7 / (chroma7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0

    turn = h2 - h1
    turn = np.where(turn > _OPPOSITE, turn - 360, np.where(turn < -_OPPOSITE, turn + 360, turn))
    turn = np.where(grey, 0.0, turn)
    d_l, d_c = l2 - l1, c2 - c1
    d_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))

    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    total = h1 + h2
    mean_h = np.where(
        np.abs(h1 - h2) <= _OPPOSITE, total / 2, np.where(total < 360, total / 2 + 180, total / 2 - 180)
    )
    mean_h = np.where(grey, total, mean_h)
    t = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = -np.sin(np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2)))) * (
        2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7))
    )
    l_term, c_term, h_term = d_l / s_l, d_c / s_c, d_h / s_h
    square = l_term**2 + c_term**2 + h_term**2 + rotation * c_term * h_term
    return np.asarray(np.sqrt(np.maximum(square, 0)))


def mean_by_group(cases: Iterable[tuple[float, float]]) -> dict[str, float]:
    """Means of the values in ``(truth's angle in degrees, value)`` by the angle's group, lightest first."""
    found: dict[str, list[float]] = {}
    for angle, value in cases:
        found.setdefault(ita_group(angle), []).append(value)
    return {name: float(np.mean(found[name])) for name, _ in ITA_GROUPS if name in found}


def group_gap(by_group: dict[str, float]) -> float | None:
    """The largest difference between the groups' means; None with fewer than two groups."""
    return max(by_group.values()) - min(by_group.values()) if len(by_group) > 1 else None
