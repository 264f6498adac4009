"""A 3D Gaussian splatting rasteriser of a few lines in numpy, to hold Blender's pictures against.

Written from the formulas, sharing nothing with the add-on but the container ``Splats``: splats sorted by the
depth of their centres, composited front to back, with the coverage either exact along the ray or by the
projected (EWA) Gaussian with Mip-Splatting's low-pass: 0.1 px², and as much paler as it is wider. The
harmonics are held against scipy's in ``test_splats_ply.py``; they are written out here because not every
Blender's Python has scipy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial, prod

import numpy as np

from blender_addon.splats import Splats


@dataclass(frozen=True)
class Camera:
    """A pinhole with square pixels; axes are rows: right, down, forward in the world."""

    eye: np.ndarray  # (3,)
    axes: np.ndarray  # (3, 3)
    focal_px: float
    size: int

    def rays(self) -> np.ndarray:
        """Unit directions (size, size, 3) through the pixel centres, top row first."""
        at = np.arange(self.size) + 0.5 - self.size / 2
        x, y = np.meshgrid(at, at)
        rays = np.stack([x, y, np.full_like(x, self.focal_px)], -1) @ self.axes
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def look_at(eye, target, focal_px, size, up=(0.0, 0.0, 1.0)) -> Camera:
    """A camera at ``eye`` that sees ``target`` in the middle."""
    forward = np.asarray(target, float) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return Camera(
        np.asarray(eye, float), np.stack([right, np.cross(forward, right), forward]), focal_px, size
    )


def harmonics(directions: np.ndarray, degree: int) -> np.ndarray:
    """Real harmonics (N, K), Condon–Shortley sign, l by l, m from −l to l, by Legendre's recursion."""
    z, ring = directions[:, 2], directions[:, 0] + 1j * directions[:, 1]
    columns = {}
    for m in range(degree + 1):
        below, here = np.zeros_like(z), np.full_like(z, (-1) ** m * factorial2(2 * m - 1))
        for order in range(m, degree + 1):
            norm = np.sqrt((2 * order + 1) / (4 * np.pi) * factorial(order - m) / factorial(order + m))
            wave = norm * here * ring**m * (np.sqrt(2) if m else 1)
            columns[order, m], columns[order, -m] = wave.real, wave.imag if m else wave.real
            below, here = here, ((2 * order + 1) * z * here - (order + m) * below) / (order - m + 1)
    return np.stack([columns[order, m] for order in range(degree + 1) for m in range(-order, order + 1)], -1)


def factorial2(odd: int) -> int:
    """1 · 3 · 5 · … · odd; 1 for −1."""
    return prod(range(1, odd + 1, 2))


def to_linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def matrices(quaternions: np.ndarray) -> np.ndarray:
    """Rotations (N, 3, 3) of quaternions (N, 4), w first."""
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def render(splats: Splats, camera: Camera, *, projected: bool = False, display: bool = False) -> np.ndarray:
    """Premultiplied RGBA (size, size, 4) over nothing.

    ``projected``: the original's screen-space Gaussian instead of the exact one along each ray.
    ``display``: compositing in display sRGB, as the original does, instead of linear light.
    """
    positions = splats.positions.astype(np.float64)
    opacity = 1 / (1 + np.exp(-splats.opacity_logits.astype(np.float64)))
    scales = np.exp(splats.log_scales.astype(np.float64))
    turn = matrices(splats.rotations.astype(np.float64))
    towards = positions - camera.eye
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    sh = splats.sh.astype(np.float64)
    colours = np.maximum(0.5 + np.einsum("nk,nkc->nc", harmonics(towards, splats.degree), sh), 0)
    if not display:
        colours = to_linear(colours)

    seen = (positions - camera.eye) @ camera.axes.T
    reach = np.sqrt(2 * np.log(np.maximum(opacity * 255, 1.0)))
    rays = camera.rays()
    picture = np.zeros((camera.size, camera.size, 4))
    left = np.ones((camera.size, camera.size))
    for n in np.argsort(seen[:, 2]):
        x, y, z = seen[n]
        if z <= 1e-6 or reach[n] == 0:
            continue
        half = 1.5 * reach[n] * scales[n].max() * camera.focal_px / z + 3
        u, v = camera.focal_px * x / z + camera.size / 2, camera.focal_px * y / z + camera.size / 2
        rows = slice(max(int(v - half), 0), max(int(v + half) + 2, 0))
        columns = slice(max(int(u - half), 0), max(int(u + half) + 2, 0))
        if left[rows, columns].size == 0:
            continue
        if projected:
            ys, xs = np.mgrid[rows, columns]
            ys, xs = ys[: left.shape[0] - rows.start], xs[: left.shape[0] - rows.start]
            square, kept = _projected(
                turn[n], scales[n], seen[n], camera, xs + 0.5 - u, ys + 0.5 - v, left[rows, columns]
            )
        else:
            kept = 1.0
            inverse = (turn[n] / scales[n]).T
            direction = rays[rows, columns] @ inverse.T
            offset = inverse @ (camera.eye - positions[n])
            closest = -(direction @ offset) / (direction**2).sum(-1)
            square = ((offset + closest[..., None] * direction) ** 2).sum(-1)
        alpha = np.minimum(kept * opacity[n] * np.exp(-square / 2), 0.99)
        alpha = np.where(alpha < 1 / 255, 0.0, alpha) * left[rows, columns]
        picture[rows, columns, :3] += alpha[..., None] * colours[n]
        picture[rows, columns, 3] += alpha
        left[rows, columns] -= alpha
    return picture


def _projected(turn, scales, seen, camera, dx, dy, window):
    """Squared Mahalanobis distance on the screen under the local affine approximation, and the opacity's
    factor √(det without / det with the low-pass)."""
    x, y, z = seen
    jacobian = camera.focal_px * np.array([[1 / z, 0, -x / z**2], [0, 1 / z, -y / z**2]])
    to_screen = jacobian @ camera.axes @ turn * scales
    narrow = to_screen @ to_screen.T
    wide = narrow + 0.1 * np.eye(2)
    a, b, _, d = np.linalg.inv(wide).ravel()
    kept = np.sqrt(np.linalg.det(narrow) / np.linalg.det(wide))
    dx, dy = dx[: window.shape[0], : window.shape[1]], dy[: window.shape[0], : window.shape[1]]
    return a * dx**2 + 2 * b * dx * dy + d * dy**2, kept


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1."""
    return float(-10 * np.log10(np.mean((np.asarray(a, float) - b) ** 2)))


def ball(count: int, degree: int, seed: int = 0) -> Splats:
    """Flat splats of varied size on a unit ball: stripes of colour, and harmonics that follow the view."""
    random = np.random.default_rng(seed)
    place = np.arange(count) + 0.5
    height, angle = 1 - 2 * place / count, np.pi * (1 + 5**0.5) * place
    ring = np.sqrt(1 - height**2)
    normals = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], -1)
    spacing = np.sqrt(4 * np.pi / count)
    scales = spacing * np.stack(
        [random.uniform(0.4, 1.2, count), random.uniform(0.4, 1.2, count), np.full(count, 0.1)], -1
    )
    half = normals + np.array([0.0, 0.0, 1.0])  # turns z into the normal by half a turn about the middle
    quaternions = np.concatenate(
        [np.zeros((count, 1)), half / np.linalg.norm(half, axis=1, keepdims=True)], 1
    )
    sh = np.zeros((count, (degree + 1) ** 2, 3))
    stripes = np.stack([np.sin(7 * height), np.sin(5 * angle[0] + 6 * normals[:, 0]), normals[:, 1]], -1)
    sh[:, 0] = (0.5 + 0.4 * stripes - 0.5) / 0.28209479
    sh[:, 1:] = random.normal(scale=0.12, size=(1, sh.shape[1] - 1, 3))
    return Splats(
        positions=normals.astype(np.float32),
        log_scales=np.log(scales).astype(np.float32),
        rotations=(quaternions * random.uniform(0.5, 2, (count, 1))).astype(np.float32),
        opacity_logits=random.normal(2.0, 1.0, count).astype(np.float32),
        sh=sh.astype(np.float32),
    )
