"""Where the camera stands and what it does to light."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Camera
from backend.colour import linear_to_srgb, luminance
from synthdata.headmodel.preview import look_at

FRAME_MM = 24.0  # height of the full frame that focal lengths are told for
_LIGHT_SKIN = 0.35  # luminance of its albedo
_ASIDE_MOST_DEG, _UP_MOST_DEG = 80.0, 25.0


@dataclass(frozen=True)
class CameraPlan:
    """A camera and its making of pictures."""

    camera: Camera
    yaw_degrees: float
    pitch_degrees: float
    bright_skin: float  # linear luminance that the brightest twentieth of light skin is exposed to
    noise: float  # standard deviation at linear 0.18
    jpeg_quality: int


def plan_camera(
    rng: np.random.Generator, centre_head: F64, size_px: int, frame_m: tuple[float, float] = (0.30, 0.40)
) -> CameraPlan:
    """A square portrait around ``centre_head`` ``(3,)``: 24 to 135 mm, most from the front.

    ``frame_m``: between which heights of the scene fills the picture.
    """
    yaw = rng.uniform(-_ASIDE_MOST_DEG, _ASIDE_MOST_DEG) if rng.random() < 0.3 else 16 * rng.normal()
    pitch = float(np.clip(7 * rng.normal(), -_UP_MOST_DEG, _UP_MOST_DEG))
    yaw = float(np.clip(yaw, -_ASIDE_MOST_DEG, _ASIDE_MOST_DEG))
    focal_mm = float(np.exp(rng.uniform(np.log(24), np.log(135))))
    height_m = float(rng.uniform(*frame_m))
    distance_m = max(height_m * focal_mm / FRAME_MM, 0.34)
    target = (float(centre_head[0]), float(centre_head[1]), float(centre_head[2]))
    camera = look_at(target, yaw, pitch, distance_m, height_m, size_px)
    return CameraPlan(
        camera=_off_centre(_rolled(camera, float(4 * rng.normal())), 0.05 * rng.normal(size=2)),
        yaw_degrees=yaw,
        pitch_degrees=pitch,
        bright_skin=float(rng.uniform(0.35, 0.8)),
        noise=float(10 ** rng.uniform(-3.0, -1.9)),
        jpeg_quality=int(rng.integers(80, 98)),
    )


def skin_level(plan: CameraPlan, mean_albedo_linear: tuple[float, float, float]) -> float:
    """What the brightest skin of this albedo is exposed to: cameras even out half of its lightness."""
    own = float(luminance(np.array(mean_albedo_linear)))
    return plan.bright_skin * min(math.sqrt(own / _LIGHT_SKIN), 1.0)


def photographed(exposed_linear: F32, plan: CameraPlan, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the sensor makes of light ``(H, W, 3)``: shot noise, cut highlights, 8-bit sRGB."""
    grain = plan.noise * np.sqrt(np.maximum(exposed_linear, 0) / 0.18 + 0.05)
    seen = exposed_linear + grain * rng.normal(size=exposed_linear.shape).astype(np.float32)
    return np.asarray(np.rint(255 * np.clip(linear_to_srgb(seen), 0, 1)), np.uint8)


def _rolled(camera: Camera, degrees: float) -> Camera:
    angle = np.radians(degrees)
    roll = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return replace(camera, world_to_camera=roll @ camera.world_to_camera)


def _off_centre(camera: Camera, share: F64) -> Camera:
    """The picture's middle moved by ``share`` ``(2,)`` of its size."""
    x, y = np.clip(share, -0.1, 0.1) * camera.width_px
    cx, cy = camera.principal_px
    return replace(camera, principal_px=(cx + float(x), cy + float(y)))
