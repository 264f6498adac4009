"""Face Mesh landmarks: 478 points with iris, from several levelled crops of the full-resolution photo."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from backend.artifacts import F32, F64, FaceBox, Photo
from backend.photo.crops import square_crop
from backend.photo.mediapipe_graphs import MESH_SIDE, FaceNetworks
from backend.photo.mesh_topology import visibility

CROP_MARGIN = 1.5  # side of the crop over the face's larger extent, as Face Mesh was trained
RIGHT_EYE, LEFT_EYE = (
    (33, 133),
    (263, 362),
)  # outer, inner corner; the subject's right eye is on the image's left

_SURE_PRESENCE, _SURE_SPREAD = 0.9, 0.03
_OTHER_ROLLS = (-0.6, 0.6, math.pi / 2, -math.pi / 2, math.pi)

# Shifts (of the side), zooms and rolls (rad) of the crops that are averaged: mean zero, fixed.
_JITTER = (
    (0.0, 0.0, 1.0, 0.0),
    (0.02, 0.013, 1.05, 0.05),
    (-0.02, 0.017, 0.96, -0.05),
    (0.017, -0.02, 0.97, -0.09),
    (-0.017, -0.01, 1.03, 0.09),
)


@dataclass(frozen=True)
class Landmarks:
    """478 Face Mesh points of one face."""

    points_px: F32  # (478, 2) photo pixels, centres at .5
    depth_px: F32  # (478,) relative depth in pixels, smaller is nearer
    visible: F32  # (478,) in [0, 1]
    presence: float  # the network's confidence in [0, 1] that this is a face
    spread: float  # RMS disagreement between crops, over the distance of the outer eye corners

    @property
    def roll(self) -> float:
        """Angle of the eye line in radians, clockwise on screen; 0 is level."""
        right, left = self.points_px[list(RIGHT_EYE)].mean(0), self.points_px[list(LEFT_EYE)].mean(0)
        return math.atan2(float(left[1] - right[1]), float(left[0] - right[0]))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of the face's 468 points in photo pixels."""
        low, high = self.points_px[:468].min(0), self.points_px[:468].max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def face_landmarks(photo: Photo, box: FaceBox, networks: FaceNetworks | None = None) -> Landmarks:
    """Landmarks of the face in ``box``; low ``presence`` or high ``spread`` means that there is none.

    A first pass on the padded square of the box finds centre, size and roll; a second levels and
    re-centres; the mean over five jittered crops then takes out most of the network's sampling noise.
    When the crops disagree, the face may be lying: five other first rolls are tried and the steadiest
    answer is kept.
    """
    if networks is None:
        with FaceNetworks() as own:
            return face_landmarks(photo, box, own)
    best = _from_roll(photo, box, 0.0, networks)
    if best.presence > _SURE_PRESENCE and best.spread < _SURE_SPREAD:
        return best
    others = [_from_roll(photo, box, roll, networks) for roll in _OTHER_ROLLS]
    return max([best, *others], key=lambda found: found.presence - found.spread / _SURE_SPREAD)


def _from_roll(photo: Photo, box: FaceBox, roll: float, networks: FaceNetworks) -> Landmarks:
    centre = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    crop = square_crop(photo.rgb_srgb, centre, CROP_MARGIN * max(box.size), roll, MESH_SIDE)
    points = crop.points_to_photo(networks.mesh(crop.rgb)[0])
    points, _ = _pass(photo, points, (0.0, 0.0, 1.0, 0.0), networks)
    passes = [_pass(photo, points, jitter, networks) for jitter in _JITTER]
    stack = np.stack([p for p, _ in passes])
    mean = stack.mean(0)
    span = max(float(np.linalg.norm(mean[RIGHT_EYE[0], :2] - mean[LEFT_EYE[0], :2])), 1e-6)
    spread = float(np.sqrt(((stack - mean)[..., :2] ** 2).sum(-1).mean())) / span
    return Landmarks(
        points_px=mean[:, :2].astype(np.float32),
        depth_px=mean[:, 2].astype(np.float32),
        visible=visibility(mean, photo.width, photo.height),
        presence=float(np.mean([score for _, score in passes])),
        spread=spread,
    )


def _pass(
    photo: Photo, around: F64, jitter: tuple[float, float, float, float], networks: FaceNetworks
) -> tuple[F64, float]:
    """Face Mesh on a level crop about the points of an earlier pass."""
    shift_x, shift_y, zoom, turn = jitter
    right, left = around[list(RIGHT_EYE), :2].mean(0), around[list(LEFT_EYE), :2].mean(0)
    roll = math.atan2(left[1] - right[1], left[0] - right[0])
    axes = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    level = around[:468, :2] @ axes
    low, high = level.min(0), level.max(0)
    side = CROP_MARGIN * float((high - low).max()) * zoom
    middle = axes @ ((low + high) / 2 + side * np.array([shift_x, shift_y]))
    crop = square_crop(photo.rgb_srgb, (float(middle[0]), float(middle[1])), side, roll + turn, MESH_SIDE)
    points, score = networks.mesh(crop.rgb)
    return crop.points_to_photo(points), score
