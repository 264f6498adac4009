"""Pictures of an avatar's splats without Blender: one view, or a turn of the camera about the head."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from backend.artifacts import F32, Camera, Run
from backend.errors import BadInput
from backend.export.portrait import frame_height_m
from backend.export.views import parse_view
from backend.gaussians.movies import MOVING, check_output, write_pictures
from backend.gaussians.numba_renderer import NumbaRenderer
from backend.gaussians.renderer import as_seen, over
from blender_addon import bundle
from blender_addon.splat_binding import read_bound_splats
from blender_addon.splats import Splats, SplatsError

U8 = NDArray[np.uint8]
FRAMES, FRAMES_PER_SECOND = 96, 24
_STRIP_DEGREES = (-90.0, -45.0, 0.0, 45.0, 90.0)  # the views of a PNG
_DISTANCE_M = 1.1
_PIVOT_FROM_EYES = np.array([0.0, -0.022, -0.065])  # inside the skull, so that the head stays framed
_BACKDROP_SRGB = 0.5
_STAGE = "turntable"


def render_splats(avatar: Path, view: str, output: Path, size: int) -> None:
    """Write the ``view`` (as ``likeness render --view``) of the avatar's splats as PNG, ``size`` pixels wide.

    Raises: BadInput (avatar, view, destination).
    """
    angles = parse_view(view)
    check_output(output, (".png",))
    splats, eyes, manifest = _read(avatar)
    camera = _scaled(manifest.camera, size) if angles is None else orbit_camera(eyes, *angles, size)
    write_pictures(iter([draw(splats, camera)]), output, FRAMES_PER_SECOND)


def render_turntable(avatar: Path, output: Path, size: int, run: Run) -> None:
    """Write a full turn as animated WebP or MP4, or five views side by side as PNG, by the file's suffix.

    Raises: BadInput (avatar, destination), LikenessError (no encoder), Cancelled; nothing half-written stays.
    """
    check_output(output, (*MOVING, ".png"))
    splats, eyes, _ = _read(avatar)
    suffix = output.suffix.lower()
    turn = np.arange(FRAMES) * (360.0 / FRAMES) if suffix != ".png" else np.array(_STRIP_DEGREES)

    def frames() -> Iterator[U8]:
        for index, yaw in enumerate(turn):
            run.progress(_STAGE, index / len(turn))
            yield draw(splats, orbit_camera(eyes, float(yaw), 0.0, size))
        run.progress(_STAGE, 1.0)

    write_pictures(frames(), output, FRAMES_PER_SECOND)


def orbit_camera(eyes_head: F32, yaw_deg: float, pitch_deg: float, size: int) -> Camera:
    """A portrait lens ``size`` pixels a side, turned about the head; ``eyes_head`` ``(2, 3)`` metres."""
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    back = np.array([math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
    right = np.array([math.cos(yaw), 0.0, -math.sin(yaw)])
    rotation = np.stack([right, np.cross(right, back), -back])
    centre = np.asarray(eyes_head, np.float64).mean(0) + _PIVOT_FROM_EYES + _DISTANCE_M * back
    pose = np.concatenate([rotation, (-rotation @ centre)[:, None]], 1)
    focal = size * _DISTANCE_M / (1.25 * frame_height_m(size, size))
    return Camera(focal, (size / 2, size / 2), size, size, pose)


def draw(splats: Splats, camera: Camera) -> U8:
    """``(H, W, 3)`` display sRGB over grey."""
    with torch.inference_mode():
        picture = over(NumbaRenderer().render(as_seen(splats, camera), camera), _BACKDROP_SRGB)
    return np.asarray(np.rint(255 * np.clip(picture.numpy(), 0, 1)), np.uint8)


def _read(avatar: Path) -> tuple[Splats, F32, bundle.Manifest]:
    try:
        found = bundle.read_bundle(avatar)
        mesh = found.mesh
        splats, _ = read_bound_splats(avatar, len(mesh.vertices_neutral_head))
    except (bundle.BundleError, SplatsError) as error:
        raise BadInput(str(error)) from error
    return splats, mesh.eye_centres_head, found.manifest


def _scaled(record: bundle.CameraRecord, size: int) -> Camera:
    factor = size / max(record.width_px, record.height_px)
    width, height = max(1, round(record.width_px * factor)), max(1, round(record.height_px * factor))
    x, y = record.principal_px
    return Camera(
        record.focal_px * factor, (x * factor, y * factor), width, height, np.array(record.world_to_camera)
    )
