"""A face laid flat by its Face Mesh points: every part always at the same place of one small picture.

What moves with pose, size and the face's outline is taken out, so that what is left to see is where Face
Mesh errs (a lip that is not where the points say) and how light falls on the skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.geometry import face_mesh

PATCH_PX = 112
SURFACE = 468  # Face Mesh points but for the irises
RING = 1.25  # beyond the outline a second one shows where the face really ends
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of sRGB values


@dataclass(frozen=True)
class PatchLayout:
    """Which points, and by how much, each pixel of the flat picture follows."""

    places: F32  # (504, 2) of Face Mesh's 468 points and the ring of 36, in [0, 1]², x right and y down
    corners: NDArray[np.int32]  # (n, n, 3) rows of ``places``
    weights: F32  # (n, n, 3); all 0 beside the ring

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """``(n, n)``: the face and its rim."""
        return np.asarray(self.weights.sum(-1) > 0.5)


def patch_layout(places: F32, side_px: int = PATCH_PX) -> PatchLayout:
    """The layout of a picture of ``side_px`` with the points at ``places`` ``(504, 2)``."""
    from scipy.spatial import Delaunay

    net = Delaunay(places.astype(np.float64))
    at = (np.arange(side_px) + 0.5) / side_px
    pixels = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)
    triangle = net.find_simplex(pixels)
    inside = triangle >= 0
    affine = net.transform[np.maximum(triangle, 0)]
    two = np.einsum("nij,nj->ni", affine[:, :2], pixels - affine[:, 2])
    weights = np.concatenate([two, 1 - two.sum(1, keepdims=True)], 1) * inside[:, None]
    shape = (side_px, side_px, 3)
    corners = net.simplices[np.maximum(triangle, 0)].astype(np.int32)
    return PatchLayout(places, corners.reshape(shape), weights.astype(np.float32).reshape(shape))


def flat_places(points_head: F64) -> F32:
    """``places`` ``(504, 2)`` for Face Mesh points ``(478, 3)`` on a symmetric head: a cylinder unrolled."""
    p = points_head[:SURFACE]
    axis_z = p[list(face_mesh.FACE_OVAL), 2].min() - 0.06
    angle = np.arctan2(p[:, 0], p[:, 2] - axis_z)
    flat = np.stack([angle * np.hypot(p[:, 0], p[:, 2] - axis_z).mean(), -p[:, 1]], 1)
    every = with_ring(flat)
    low, high = every.min(0), every.max(0)
    return np.asarray((every - (low + high) / 2) / (1.01 * (high - low)) + 0.5, np.float32)


def with_ring(points: NDArray[np.floating[Any]]) -> F64:
    """``(504, 2)``: the surface's points of ``(≥ 468, 2)`` and, behind them, the outline enlarged."""
    p = np.asarray(points, np.float64)[:SURFACE]
    oval = p[list(face_mesh.FACE_OVAL)]
    middle = oval.mean(0)
    return np.concatenate([p, middle + RING * (oval - middle)])


def flatten(rgb_srgb: F32, landmarks_px: F32, layout: PatchLayout) -> NDArray[np.uint8]:
    """The face at ``landmarks_px`` ``(478, 2)`` laid flat: grey ``(n, n)``, 0 beside it."""
    import cv2

    points = with_ring(landmarks_px)
    span = float(np.ptp(points, axis=0).max()) / len(layout.weights)  # photo pixels per pixel of the patch
    height, width = rgb_srgb.shape[:2]
    low = np.clip(np.floor(points.min(0) - 2 * span), 0, [width - 2, height - 2]).astype(int)
    high = np.clip(np.ceil(points.max(0) + 2 * span), low + 2, [width, height]).astype(int)
    grey = np.ascontiguousarray(rgb_srgb[low[1] : high[1], low[0] : high[0]], np.float32) @ LUMA
    ratio = np.ones(2)
    if span > 1.0:
        size = np.maximum(np.round((high - low) / span), 2).astype(int)
        ratio = size / (high - low)
        grey = cv2.resize(grey, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    moved = ((points - low) * ratio - 0.5).astype(np.float32)  # OpenCV counts from pixel centres
    at = np.einsum("ijk,ijkc->ijc", layout.weights, moved[layout.corners])
    seen = cv2.remap(grey, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen[~layout.inside] = 0.0
    return np.asarray(np.clip(seen * 255 + 0.5, 0, 255), np.uint8)


@dataclass(frozen=True)
class LevelFrame:
    """The frame of a level face: about its points' middle, in units of their spread; x right, y down."""

    centre_px: F64  # (2,)
    turn: F64  # (2, 2) level directions in the photo: ``level = (photo − centre) @ turn / size``
    size_px: float  # root mean square distance of the points from their middle

    def level(self, points_px: NDArray[np.floating[Any]]) -> F64:
        """``(N, 2)`` photo pixels in this frame."""
        return np.asarray((points_px - self.centre_px) @ self.turn / self.size_px)


def level_frame(landmarks_px: NDArray[np.floating[Any]]) -> LevelFrame:
    """The frame of Face Mesh points ``(478, 2)``, level by the outer corners of the eyes."""
    p = np.asarray(landmarks_px, np.float64)
    left, right = (p[corner] for corner in face_mesh.OUTER_EYE_CORNERS)
    across = (left - right) / max(float(np.linalg.norm(left - right)), 1e-9)
    turn = np.array([[across[0], -across[1]], [across[1], across[0]]])
    centre = p.mean(0)
    return LevelFrame(centre, turn, max(float(np.sqrt(((p - centre) ** 2).sum(1).mean())), 1e-9))


def level_points(landmarks_px: NDArray[np.floating[Any]], depth_px: NDArray[np.floating[Any]]) -> F32:
    """Face Mesh's points ``(478, 3)`` in their level frame; depth in the same unit about its own mean."""
    frame = level_frame(landmarks_px)
    depth = (np.asarray(depth_px, np.float64) - float(np.mean(depth_px))) / frame.size_px
    return np.column_stack([frame.level(landmarks_px), depth]).astype(np.float32)
