"""Frames of glasses that sit on a nose; head space, no Blender."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
RIM_M = (0.0215, 0.0165)  # half width and height of a lens
TUBE_M = 0.0015
STANDOFF_M = 0.012  # of the lenses before the corneas


def frame_paths(head: ParametricHead, vertices: F32) -> list[tuple[F64, bool]]:
    """Centre lines of the frame, ``(n, 3)`` metres each, and whether each is closed."""
    points = head.mediapipe.positions(vertices, head.triangles)
    paths: list[tuple[F64, bool]] = []
    pupils = []
    for part in ("eye_left", "eye_right"):
        eye = vertices[np.unique(head.quads[head.quad_part == head.part_names.index(part)])]
        pupils.append(np.array([eye[:, 0].mean(), eye[:, 1].mean(), eye[:, 2].max()]))
    front = max(p[2] for p in pupils) + STANDOFF_M
    bridge_z = max(front, float(points[6, 2]) + 0.003)
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    for pupil, ear in zip(pupils, (points[454], points[234]), strict=True):
        side = np.sign(pupil[0])
        # A rounded rectangle; its outer end bends back with the face.
        x = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.7 * RIM_M[0]
        y = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.7 * RIM_M[1] - 0.003
        z = front - 4.0 * np.maximum(side * x, 0) ** 2 / RIM_M[0] * 0.1
        paths.append((np.stack([pupil[0] + x, pupil[1] + y, z], 1), True))
        hinge = np.array([pupil[0] + side * (RIM_M[0] + 0.001), pupil[1] + 0.004, front - 0.002])
        corner = np.array([ear[0] + side * 0.004, pupil[1] + 0.005, front - 0.018])
        behind = np.array([ear[0] + side * 0.006, pupil[1] + 0.002, ear[2] - 0.035])
        paths.append((_smooth(np.stack([hinge, corner, behind])), False))
    left, right = (p[0] - np.sign(p[0]) * (RIM_M[0] - 0.001) for p in pupils)
    y = 0.5 * (pupils[0][1] + pupils[1][1])
    bridge = np.array(
        [[left, y, front], [(left + right) / 2, y + 0.004, bridge_z + 0.003], [right, y, front]]
    )
    paths.append((_smooth(bridge), False))
    return paths


def tube_mesh(
    path: F64, closed: bool, radius_m: float = TUBE_M, sides: int = 10
) -> tuple[F32, NDArray[np.int32]]:
    """A tube round the line ``path`` ``(n, 3)``: vertices ``(n·sides, 3)`` and quads."""
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    across = np.cross(ahead, [0.0, 0.31, 0.95])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = np.cross(across, ahead)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(turn)[:, None] * across[:, None] + np.sin(turn)[:, None] * up[:, None]
    vertices = (path[:, None] + radius_m * ring).reshape(-1, 3).astype(np.float32)
    rows = np.arange(len(path) if closed else len(path) - 1)[:, None] * sides
    a, k = rows + np.arange(sides), np.arange(sides)
    b = rows + (k + 1) % sides
    after = (len(path) * sides) if closed else 10**9
    quads = np.stack([a, b, (b + sides) % after, (a + sides) % after], -1).reshape(-1, 4)
    return vertices, quads.astype(np.int32)


def _smooth(corners: F64, count: int = 24) -> F64:
    """A quadratic Bézier curve through the ends of three points."""
    t = np.linspace(0, 1, count)[:, None]
    a, b, c = corners
    return np.asarray((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c)
