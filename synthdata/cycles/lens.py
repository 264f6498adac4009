"""What lens and sensor do to light before it is a picture, and what lies behind the person. No Blender."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.artifacts import F32, F64, Camera
from backend.shading import latlong
from synthdata.run.camera import FRAME_MM

_SHAKE_SHARE, _WALL_SHARE = 0.15, 0.25


@dataclass(frozen=True)
class LensPlan:
    """One picture's."""

    f_number: float
    focus_m: float
    shake_px: tuple[float, float]  # the way that the picture moved
    white_balance: tuple[float, float, float]  # what is left of the light's colour, mean 1
    vignetting: float  # share of light lost in the corners
    wall_linear: tuple[float, float, float] | None  # albedo of a wall close behind; None: the surroundings
    seed: int


def plan_lens(rng: np.random.Generator, camera: Camera, eyes_head: F64, has_view: bool) -> LensPlan:
    """``eyes_head`` ``(3,)`` is what is in focus; ``has_view``: the surroundings are worth showing."""
    size = camera.width_px
    shake = rng.normal(size=2) * size / 512 * 1.3 if rng.random() < _SHAKE_SHARE else np.zeros(2)
    warm = 0.10 * rng.normal()
    balance = np.exp([warm, 0.02 * rng.normal(), -warm])
    r, g, b = (float(v) for v in balance / balance.mean())
    wall = None
    if not has_view or rng.random() < _WALL_SHARE:
        colour = 10 ** rng.uniform(-1.3, -0.1) * np.exp(0.22 * rng.normal(size=3))
        wall = tuple(float(v) for v in np.clip(colour, 0.02, 0.85))
    return LensPlan(
        f_number=float(np.exp(rng.uniform(np.log(1.8), np.log(11)))),
        focus_m=float(camera.to_camera(eyes_head)[2]),
        shake_px=(float(shake[0]), float(shake[1])),
        white_balance=(r, g, b),
        vignetting=float(rng.uniform(0, 0.35)),
        wall_linear=None if wall is None else (wall[0], wall[1], wall[2]),
        seed=int(rng.integers(1, 2**31)),
    )


def behind(lens: LensPlan, camera: Camera, radiance: F32, turn_degrees: float) -> F32:
    """What the camera sees past the person ``(H, W, 3)`` in the light ``radiance``, a lat-long."""
    turned = latlong.rotate(radiance, turn_degrees)
    if lens.wall_linear is not None:
        return _wall(lens, camera, turned)
    return _surroundings(lens, camera, turned)


def _surroundings(lens: LensPlan, camera: Camera, radiance: F32) -> F32:
    """At infinity, out of focus by the lens' opening."""
    import cv2

    opening_m = camera.focal_px * FRAME_MM / camera.width_px / lens.f_number * 1e-3
    radius = 0.5 * opening_m / lens.focus_m * camera.focal_px
    # A panorama's own texels are no detail: at least as much is blurred as hides them.
    texel_px = np.pi / len(radiance) * camera.focal_px
    radius = float(np.clip(max(radius, 0.9 * texel_px), 1.0, 0.25 * camera.width_px))
    margin = int(np.ceil(radius)) + 1
    x, y = np.meshgrid(
        np.arange(-margin, camera.width_px + margin) + 0.5,
        np.arange(-margin, camera.height_px + margin) + 0.5,
    )
    cx, cy = camera.principal_px
    rays = np.stack([(x - cx) / camera.focal_px, (y - cy) / camera.focal_px, np.ones_like(x)], -1)
    along = rays @ camera.world_to_camera[:, :3]
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    sharp = np.minimum(latlong.sample(radiance, along), np.float32(60 * max(float(radiance.mean()), 1e-6)))
    reach = np.hypot(*np.meshgrid(*(np.arange(-margin, margin + 1),) * 2))
    disc = np.clip(radius + 0.5 - reach, 0, 1)
    blurred = cv2.filter2D(sharp, -1, (disc / disc.sum()).astype(np.float32))
    return np.ascontiguousarray(blurred[margin:-margin, margin:-margin])


def _wall(lens: LensPlan, camera: Camera, radiance: F32) -> F32:
    """A wall or a sheet of paper, lit by what lights the person, uneven and darker to one side."""
    import cv2

    rng = np.random.default_rng([lens.seed, 51])
    small = latlong.shrink(radiance, 64)
    towards_camera = -camera.world_to_camera[2, :3]
    facing = np.maximum(latlong.directions(64) @ towards_camera, 0)
    irradiance = (small * (facing * latlong.solid_angles(64))[..., None]).sum((0, 1))
    height, width = camera.height_px, camera.width_px
    y, x = np.mgrid[0:height, 0:width] / float(max(height, width)) - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    shade = 1 + rng.uniform(0, 0.5) * (np.cos(angle) * x + np.sin(angle) * y)
    shade *= 1 - rng.uniform(0, 0.6) * (x * x + y * y)
    for cells, amount in ((4, 0.05), (14, 0.03), (60, 0.02)):
        field = rng.normal(size=(cells, cells)).astype(np.float32)
        shade += amount * rng.random() * cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    assert lens.wall_linear is not None
    colour = np.array(lens.wall_linear) * irradiance / np.pi
    return np.asarray(np.maximum(shade, 0.05)[..., None] * colour, np.float32)


def exposed(linear: F32, lens: LensPlan, exposure: float) -> F32:
    """Light as the sensor gets it: moved, darker in the corners, balanced."""
    import cv2

    out = linear * (np.float32(exposure) * np.array(lens.white_balance, np.float32))
    way = np.hypot(*lens.shake_px)
    if way > 0.5:
        steps = int(np.ceil(2 * way)) + 1
        half = int(np.ceil(way / 2)) + 2
        kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
        for t in np.linspace(-0.5, 0.5, steps):
            px, py = half + t * lens.shake_px[0], half + t * lens.shake_px[1]
            x, y = int(px), int(py)
            fx, fy = px - x, py - y
            for dx, dy, w in (
                (0, 0, (1 - fx) * (1 - fy)),
                (1, 0, fx * (1 - fy)),
                (0, 1, (1 - fx) * fy),
                (1, 1, fx * fy),
            ):
                kernel[min(y + dy, 2 * half), min(x + dx, 2 * half)] += w
        out = cv2.filter2D(out, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    height, width = linear.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    away = ((x + 0.5 - width / 2) ** 2 + (y + 0.5 - height / 2) ** 2) / (0.25 * (width**2 + height**2))
    return np.asarray(out * (1 - lens.vignetting * away**1.5)[..., None].astype(np.float32), np.float32)
