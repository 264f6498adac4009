"""Where a reconstruction stands in a case: the similarity onto the truth, and the truth's cameras.

In the photo's own view a reconstruction stands before the camera that its method estimated: both explain
the same pixels. For any other view it is brought onto the truth by the similarity between their key points
(without the jaw line, whose points slide).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.artifacts import Camera
from backend.evaluation.align import Similarity, fit_similarity
from backend.evaluation.cases import Case
from backend.evaluation.keypoints import key_points
from backend.evaluation.prediction import Prediction
from blender_addon.bundle import CameraRecord

PHOTO = "photo"
_JAW = 17
_ASPECT_TOLERANCE = 0.02


def onto_truth(case: Case, prediction: Prediction) -> Similarity:
    """The similarity from the reconstruction's head space to the truth's.

    Raises: ValueError when fewer than three key points are known on both.
    """
    marks = case.landmarks
    truth = key_points(
        marks.get("points478_head"), marks.get("points68_head", marks.get("points85_head", _NONE)[:68])
    )
    own = prediction.photographed.key_points
    known = np.isfinite(truth).all(1) & np.isfinite(own).all(1)
    known[:_JAW] = False
    return fit_similarity(own[known], truth[known])


_NONE = np.full((68, 3), np.nan)


def camera_of(record: CameraRecord) -> Camera:
    """The record as the backend's camera."""
    return Camera(
        record.focal_px,
        record.principal_px,
        record.width_px,
        record.height_px,
        np.array(record.world_to_camera, np.float64),
    )


def record_of(camera: Camera) -> CameraRecord:
    """The camera as a record."""
    rows = [(float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in camera.world_to_camera]
    return CameraRecord(
        focal_px=float(camera.focal_px),
        principal_px=(float(camera.principal_px[0]), float(camera.principal_px[1])),
        width_px=camera.width_px,
        height_px=camera.height_px,
        world_to_camera=(rows[0], rows[1], rows[2]),
    )


def moved_camera(camera: Camera, move: Similarity) -> Camera:
    """The camera that sees ``x`` as ``camera`` sees ``move.apply(x)``.

    The scale goes out of the camera's space: a picture does not change when everything grows.
    """
    rotation, shift = camera.world_to_camera[:, :3], camera.world_to_camera[:, 3]
    turned = np.c_[rotation @ move.rotation, (rotation @ move.translation + shift) / move.scale]
    return replace(camera, world_to_camera=turned)


def same_picture(camera: Camera, width_px: int, height_px: int) -> Camera:
    """``camera`` for the same picture in another resolution. Raises: ValueError for another aspect ratio."""
    x, y = width_px / camera.width_px, height_px / camera.height_px
    if abs(x / y - 1) > _ASPECT_TOLERANCE:
        raise ValueError(
            f"the truth's view is {width_px}×{height_px}, the reconstruction's photo "
            f"{camera.width_px}×{camera.height_px}: not the same picture"
        )
    principal = (camera.principal_px[0] * x, camera.principal_px[1] * y)
    return Camera(camera.focal_px * x, principal, width_px, height_px, camera.world_to_camera)


def own_camera(case: Case, prediction: Prediction, view: str, truth_camera: CameraRecord) -> Camera:
    """The camera in the reconstruction's head space whose picture is the truth's view ``view``.

    Raises: ValueError (another picture than the photo's, too few key points).
    """
    if view == PHOTO:
        own = camera_of(prediction.avatar.manifest.camera)
        return same_picture(own, truth_camera.width_px, truth_camera.height_px)
    return moved_camera(camera_of(truth_camera), onto_truth(case, prediction))
