"""A Blender camera that projects as the photograph's did, and orbit cameras around the head."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ..bundle import CameraRecord
from .space import HEAD_TO_SCENE

SENSOR_MM = 36.0
CLIP_M = (0.01, 100.0)
# OpenCV's camera looks along +z with y down, Blender's along −z with y up.
_OPENCV_TO_BLENDER = np.diag([1.0, -1.0, -1.0])


def build_camera(name: str, record: CameraRecord) -> Any:
    """A camera object whose projection equals ``record``'s when the render has its aspect ratio."""
    camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    place_camera(camera, record)
    return camera


def place_camera(camera: Any, record: CameraRecord) -> None:
    """Set place, turn and projection of the object ``camera``."""
    data = camera.data
    data.sensor_fit = "HORIZONTAL"  # else Blender changes axis with the aspect ratio
    data.sensor_width = SENSOR_MM
    data.lens = record.focal_px * SENSOR_MM / record.width_px
    # Shift is in widths; the picture's centre is at (W/2, H/2) as pixel centres lie at .5.
    data.shift_x = -(record.principal_px[0] - record.width_px / 2) / record.width_px
    data.shift_y = (record.principal_px[1] - record.height_px / 2) / record.width_px
    data.clip_start, data.clip_end = CLIP_M
    camera.matrix_world = Matrix(_camera_to_scene(np.array(record.world_to_camera)).tolist())


def resized(record: CameraRecord, width_px: int, height_px: int) -> CameraRecord:
    """``record`` for a picture of another size and (nearly) the same aspect ratio.

    Pixels stay square; what rounding takes from the height is taken equally at top and bottom.
    """
    scale = width_px / record.width_px
    middle = (record.principal_px[1] - record.height_px / 2) * scale + height_px / 2
    return CameraRecord(
        focal_px=record.focal_px * scale,
        principal_px=(record.principal_px[0] * scale, middle),
        width_px=width_px,
        height_px=height_px,
        world_to_camera=record.world_to_camera,
        focal_source=record.focal_source,
    )


def orbit(
    centre_head: NDArray[np.floating[Any]],
    radius_m: float,
    yaw_degrees: float,
    pitch_degrees: float,
    size_px: int,
) -> CameraRecord:
    """A square portrait camera on the sphere around ``centre_head`` ``(3,)`` that frames ``radius_m``.

    Yaw turns the camera towards the subject's left (+X), pitch lifts it; (0, 0) looks at the face.
    The distance is seven radii, so that the perspective is that of a portrait lens.
    """
    yaw, pitch = np.radians(yaw_degrees), np.radians(pitch_degrees)
    outward = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    down = np.cross(-outward, right)
    rotation = np.stack([right, down, -outward])
    distance = 7.0 * radius_m
    centre = np.asarray(centre_head, np.float64)
    x, y, z = (
        (float(r[0]), float(r[1]), float(r[2]), float(t))
        for r, t in zip(rotation, -rotation @ (centre + distance * outward), strict=True)
    )
    # The sphere's silhouette lies at asin(r/d); a margin of a twentieth is kept around it.
    focal = size_px / 2 / (1.05 * np.tan(np.arcsin(radius_m / distance)))
    return CameraRecord(
        focal_px=float(focal),
        principal_px=(size_px / 2, size_px / 2),
        width_px=size_px,
        height_px=size_px,
        world_to_camera=(x, y, z),
    )


def _camera_to_scene(world_to_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """4×4 Blender camera to scene from 3×4 head to OpenCV camera."""
    rotation, translation = world_to_camera[:, :3], world_to_camera[:, 3]
    matrix = np.eye(4)
    matrix[:3, :3] = HEAD_TO_SCENE @ rotation.T @ _OPENCV_TO_BLENDER
    matrix[:3, 3] = HEAD_TO_SCENE @ (-rotation.T @ translation)
    return matrix
