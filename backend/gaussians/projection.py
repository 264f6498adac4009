"""Gaussians to footprints on the screen, and gradients back: compiled, one Gaussian after the other.

A footprint is a row of FOOTPRINT float32 numbers: centre u, v in pixels; inverse covariance xx, xy, yy in
1/px²; opacity, less what the low-pass takes of it; the squared Mahalanobis distance at which it ends; its
half width and half height in pixels.
"""

from __future__ import annotations

import math

import numpy as np

from backend.artifacts import F32, F64
from backend.gaussians.footprint_limits import FAINTEST, LOW_PASS_PX2, NEAREST_M
from backend.uvspace.kernels import compiled

FOOTPRINT = 9
LENS = 3  # focal length, principal point, in pixels


@compiled
def turn_of(quaternion: F32, turn: F64) -> float:
    """Fill ``turn`` ``(3, 3)`` with the quaternion's rotation, w first; returns the quaternion's length."""
    w, x, y, z = (
        float(quaternion[0]),
        float(quaternion[1]),
        float(quaternion[2]),
        float(quaternion[3]),
    )
    length = math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w / length, x / length, y / length, z / length
    turn[0, 0], turn[0, 1], turn[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    turn[1, 0], turn[1, 1], turn[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    turn[2, 0], turn[2, 1], turn[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    return length


@compiled
def screen_axes(pose: F64, lens: F64, seen: F64, turn: F64, scale: F64, whole: F64, half: F64) -> None:
    """Fill ``whole`` ``(3, 3)``, the Gaussian's unit axes in camera space, and ``half`` ``(2, 3)``, its
    scaled axes on the screen."""
    f, z = lens[0], seen[2]
    for k in range(3):
        for i in range(3):
            whole[i, k] = pose[i, 0] * turn[0, k] + pose[i, 1] * turn[1, k] + pose[i, 2] * turn[2, k]
        s = scale[k] * f / z
        half[0, k] = s * (whole[0, k] - seen[0] / z * whole[2, k])
        half[1, k] = s * (whole[1, k] - seen[1] / z * whole[2, k])


@compiled
def covariance_of(half: F64) -> tuple[float, float, float]:
    """Variances xx, xy, yy in px² of the Gaussian whose scaled axes on the screen are ``half`` ``(2, 3)``."""
    xx, xy, yy = 0.0, 0.0, 0.0
    for k in range(3):
        xx += half[0, k] * half[0, k]
        xy += half[0, k] * half[1, k]
        yy += half[1, k] * half[1, k]
    return xx, xy, yy


@compiled
def project_rows(
    positions: F32,
    log_scales: F32,
    rotations: F32,
    logits: F32,
    pose: F64,
    lens: F64,
    start: int,
    end: int,
    footprints: F32,
    depths: F32,
) -> None:
    """Footprints ``(N, FOOTPRINT)`` and depths ``(N,)`` of rows ``[start, end)``; depth −1: not drawn."""
    turn, whole, half = np.empty((3, 3)), np.empty((3, 3)), np.empty((2, 3))
    seen, scale = np.empty(3), np.empty(3)
    for n in range(start, end):
        depths[n] = -1.0
        for i in range(3):
            seen[i] = pose[i, 3]
            for j in range(3):
                seen[i] += pose[i, j] * positions[n, j]
            scale[i] = math.exp(log_scales[n, i])
        opacity = 1.0 / (1.0 + math.exp(-logits[n]))
        if not (seen[2] > NEAREST_M and opacity >= FAINTEST):
            continue
        turn_of(rotations[n], turn)
        screen_axes(pose, lens, seen, turn, scale, whole, half)
        xx, xy, yy = covariance_of(half)
        own = xx * yy - xy * xy
        xx, yy = xx + LOW_PASS_PX2, yy + LOW_PASS_PX2
        determinant = xx * yy - xy * xy
        opacity *= math.sqrt(max(own, 0.0) / determinant)
        if opacity < FAINTEST:
            continue
        limit = 2.0 * math.log(opacity / FAINTEST)
        footprints[n, 0] = lens[0] * seen[0] / seen[2] + lens[1]
        footprints[n, 1] = lens[0] * seen[1] / seen[2] + lens[2]
        footprints[n, 2] = yy / determinant
        footprints[n, 3] = -xy / determinant
        footprints[n, 4] = xx / determinant
        footprints[n, 5] = opacity
        footprints[n, 6] = limit
        footprints[n, 7] = math.sqrt(limit * xx)
        footprints[n, 8] = math.sqrt(limit * yy)
        depths[n] = seen[2]


@compiled
def project_back_rows(
    positions: F32,
    log_scales: F32,
    rotations: F32,
    logits: F32,
    footprints: F32,
    depths: F32,
    pose: F64,
    lens: F64,
    given: F64,
    start: int,
    end: int,
    to_positions: F32,
    to_scales: F32,
    to_rotations: F32,
    to_logits: F32,
) -> None:
    """Gradients to the raw parameters of rows ``[start, end)``, zero before, from those to footprints.

    ``given`` ``(N, ≥ 6)``: to u, v, the three entries of the inverse covariance, and opacity.
    """
    turn, whole, half = np.empty((3, 3)), np.empty((3, 3)), np.empty((2, 3))
    seen, scale = np.empty(3), np.empty(3)
    to_half, to_whole, to_turn = np.empty((2, 3)), np.empty((3, 3)), np.empty((3, 3))
    to_seen = np.empty(3)
    for n in range(start, end):
        if depths[n] < 0.0:
            continue
        for i in range(3):
            seen[i] = pose[i, 3]
            for j in range(3):
                seen[i] += pose[i, j] * positions[n, j]
            scale[i] = math.exp(log_scales[n, i])
        length = turn_of(rotations[n], turn)
        screen_axes(pose, lens, seen, turn, scale, whole, half)
        f, z = lens[0], seen[2]

        # Through the inverse: d(cov) = −K G K with G the symmetric gradient of the inverse K.
        ka, kb, kc = float(footprints[n, 2]), float(footprints[n, 3]), float(footprints[n, 4])
        ga, gb, gc = given[n, 2], 0.5 * given[n, 3], given[n, 4]
        pa, pb = ka * ga + kb * gb, ka * gb + kb * gc
        qa, qb = kb * ga + kc * gb, kb * gb + kc * gc
        xx, xy, yy = -(pa * ka + pb * kb), -(pa * kb + pb * kc), -(qa * kb + qb * kc)
        # Through the opacity's factor √(|own| / |widened|): d(ln) = ½ (own⁻¹ − K).
        own_xx, own_xy, own_yy = covariance_of(half)
        own = own_xx * own_yy - own_xy * own_xy
        to_factor = 0.5 * given[n, 5] * footprints[n, 5]
        xx += to_factor * (own_yy / own - ka)
        xy += to_factor * (-own_xy / own - kb)
        yy += to_factor * (own_xx / own - kc)
        for k in range(3):
            to_half[0, k] = 2.0 * (xx * half[0, k] + xy * half[1, k])
            to_half[1, k] = 2.0 * (xy * half[0, k] + yy * half[1, k])

        to_seen[0] = given[n, 0] * f / z
        to_seen[1] = given[n, 1] * f / z
        to_seen[2] = -(given[n, 0] * seen[0] + given[n, 1] * seen[1]) * f / (z * z)
        for k in range(3):
            s = scale[k] * f / z
            h0, h1, w2 = to_half[0, k] * s, to_half[1, k] * s, whole[2, k]
            to_whole[0, k] = h0
            to_whole[1, k] = h1
            to_whole[2, k] = -(h0 * seen[0] + h1 * seen[1]) / z
            to_seen[0] -= h0 * w2 / z
            to_seen[1] -= h1 * w2 / z
            to_seen[2] += (h0 * seen[0] + h1 * seen[1]) * w2 / (z * z)
            along = to_half[0, k] * half[0, k] + to_half[1, k] * half[1, k]
            to_seen[2] -= along / z
            to_scales[n, k] = along
        for k in range(3):
            to_positions[n, k] = pose[0, k] * to_seen[0] + pose[1, k] * to_seen[1] + pose[2, k] * to_seen[2]
            for i in range(3):
                to_turn[i, k] = (
                    pose[0, i] * to_whole[0, k] + pose[1, i] * to_whole[1, k] + pose[2, i] * to_whole[2, k]
                )
        w, x, y, z = (
            rotations[n, 0] / length,
            rotations[n, 1] / length,
            rotations[n, 2] / length,
            rotations[n, 3] / length,
        )
        t = to_turn
        to_w = 2 * (x * (t[2, 1] - t[1, 2]) + y * (t[0, 2] - t[2, 0]) + z * (t[1, 0] - t[0, 1]))
        to_x = 2 * (
            y * (t[0, 1] + t[1, 0])
            + z * (t[0, 2] + t[2, 0])
            + w * (t[2, 1] - t[1, 2])
            - 2 * x * (t[1, 1] + t[2, 2])
        )
        to_y = 2 * (
            x * (t[0, 1] + t[1, 0])
            + z * (t[1, 2] + t[2, 1])
            + w * (t[0, 2] - t[2, 0])
            - 2 * y * (t[0, 0] + t[2, 2])
        )
        to_z = 2 * (
            x * (t[0, 2] + t[2, 0])
            + y * (t[1, 2] + t[2, 1])
            + w * (t[1, 0] - t[0, 1])
            - 2 * z * (t[0, 0] + t[1, 1])
        )
        along = w * to_w + x * to_x + y * to_y + z * to_z
        to_rotations[n, 0] = (to_w - w * along) / length
        to_rotations[n, 1] = (to_x - x * along) / length
        to_rotations[n, 2] = (to_y - y * along) / length
        to_rotations[n, 3] = (to_z - z * along) / length
        passes = 1.0 / (1.0 + math.exp(logits[n]))
        to_logits[n] = given[n, 5] * footprints[n, 5] * passes
