"""The eyeball of the `open` head: its outline from the pupil to the white, and where its looks turn it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

LIMBUS_RADIUS_M = 0.00585  # half the mean visible iris diameter of 11.7 mm (Rüfer et al. 2005)
CORNEA_RADIUS_M = 0.0078  # mean anterior corneal radius of curvature
# ICT's eyeballs keep still in its eyeLook shapes; these turns (pitch, yaw) suit its lids' motion.
GAZES_DEG = {
    "eyeLookUpLeft": (25.0, 0.0),
    "eyeLookDownLeft": (-28.0, 0.0),
    "eyeLookInLeft": (0.0, -28.0),
    "eyeLookOutLeft": (0.0, 28.0),
}
SINKING_DEG = (24.0, 52.0)  # from the axis; the limbus is at 22
LOOKS_UP_DOWN = ("eyeLookUpLeft", "eyeLookDownLeft")
LOOKS_ASIDE = ("eyeLookInLeft", "eyeLookOutLeft")


def outer_profile(angle: F64, radius: float) -> F64:
    """Distance from the eye's centre at ``angle`` from the axis: sphere, cornea inside the limbus."""
    return outer_distance(np.cos(angle), radius)


def outer_distance(cosine: F64, radius: float) -> F64:
    """``outer_profile`` at angles of the given ``cosine``."""
    limbus = np.sqrt(1.0 - (LIMBUS_RADIUS_M / radius) ** 2)  # its cosine
    offset = radius * limbus - np.sqrt(CORNEA_RADIUS_M**2 - LIMBUS_RADIUS_M**2)
    out = np.full(np.shape(cosine), radius)
    inside = cosine > limbus
    c = cosine[inside]
    cornea = offset * c + np.sqrt(np.maximum(CORNEA_RADIUS_M**2 - offset**2 * (1.0 - c * c), 0.0))
    out[inside] = np.maximum(cornea, radius)
    return out


def sunk(cosine: F64) -> F64:
    """By which share the white sinks where it does, at angles of the given ``cosine`` from the axis: 0 about
    the iris, 1 from where lids' corners are."""
    start, end = np.radians(SINKING_DEG)
    t = np.clip((np.arccos(np.clip(cosine, -1.0, 1.0)) - start) / (end - start), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t))


def turn(pitch_deg: float, yaw_deg: float) -> F64:
    """Rotation of the gaze: positive pitch looks up, positive yaw to the subject's left (+x)."""
    p, y = np.radians(pitch_deg), np.radians(yaw_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    return np.asarray(about_y @ about_x)


def turn_of(*looks: str, share: float = 1.0) -> F64:
    """Rotation of the gaze where ``looks`` of ``GAZES_DEG`` come together, each at the weight ``share``:
    first up or down, then aside."""
    pitch, yaw = share * np.sum([GAZES_DEG[look] for look in looks], axis=0)
    return turn(float(pitch), float(yaw))
