"""The level square about a face that is kept of a portrait, and the face laid flat from it by any points.

A network that is to tell how far points are off learns most from points that are off in many ways.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backend.artifacts import F32, F64
from backend.geometry import face_mesh
from backend.geometry.face_patch import LUMA, RING, SURFACE, LevelFrame, PatchLayout, with_ring

CROP_PX = 288
RIM = 1.06  # of the square about the points' ring


@dataclass(frozen=True)
class LevelCrop:
    """A grey picture of the level face."""

    grey: NDArray[np.uint8]  # (CROP_PX, CROP_PX)
    box: F32  # (3,) its middle and half its side in the level frame


def level_crop(picture_srgb: F32, frame: LevelFrame, level: tuple[F64, ...]) -> LevelCrop:
    """The square about all the ``level`` points, each ``(478, 2)``, with their rings."""
    import cv2

    every = np.concatenate([with_ring(points) for points in level])
    low, high = every.min(0), every.max(0)
    middle, half = (low + high) / 2, RIM * float((high - low).max()) / 2
    step = 2 * half / CROP_PX
    grey = np.asarray(picture_srgb @ LUMA, np.float32)
    ratio = np.ones(2)
    if step * frame.size_px > 1.4:  # of the photo's pixels: what lies between samples counts too
        size = [max(round(n / (step * frame.size_px)), 2) for n in grey.shape[::-1]]
        ratio = np.array(size) / grey.shape[::-1]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    turn = frame.turn * (frame.size_px * step)
    start = frame.centre_px + frame.size_px * (frame.turn @ (middle - half + step / 2))
    moved = np.column_stack([turn * ratio[:, None], start * ratio - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(grey, moved, (CROP_PX, CROP_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return LevelCrop(
        np.clip(crop * 255 + 0.5, 0, 255).astype(np.uint8), np.array([*middle, half], np.float32)
    )


class FlatFace:
    """Lays faces flat from their crops: ``face_patch.flatten`` of many at once."""

    def __init__(self, layout: PatchLayout) -> None:
        self.side = len(layout.weights)
        row = np.repeat(np.arange(self.side**2), 3)
        shape = (self.side**2, len(layout.places))
        self._spreading = sp.csr_matrix((layout.weights.ravel(), (row, layout.corners.ravel())), shape)
        self._inside = torch.from_numpy(layout.inside.astype(np.float32))
        self._oval = list(face_mesh.FACE_OVAL)

    def __call__(self, crop: Tensor, box: Tensor, points: Tensor) -> Tensor:
        """``(B, n, n)`` of crops ``(B, c, c)`` with boxes ``(B, 3)``, by level ``points`` ``(B, 478, 2)``."""
        oval = points[:, self._oval]
        middle = oval.mean(1, keepdim=True)
        every = torch.cat([points[:, :SURFACE], middle + RING * (oval - middle)], 1)
        spread = self._spreading @ every.permute(1, 0, 2).reshape(every.shape[1], -1).numpy()
        at = torch.from_numpy(spread.astype(np.float32)).reshape(self.side, self.side, len(points), 2)
        place = (at.permute(2, 0, 1, 3) - box[:, None, None, :2]) / box[:, None, None, 2:]
        flat = nn.functional.grid_sample(crop[:, None], place, padding_mode="border", align_corners=False)
        return flat[:, 0] * self._inside
