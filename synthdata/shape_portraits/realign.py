"""Flat pictures as they would be if Face Mesh's points lay elsewhere: from the flat picture, not the photo.

A network that is to tell how far points are off learns most from points that are off in many ways. Photos
are not kept; a shift of the points moves what each pixel of the flat picture shows, by a field that the
points themselves tell to first order.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from backend.geometry import face_mesh
from backend.geometry.face_patch import RING, SURFACE, PatchLayout

MOST_PX = 7.0  # of the flat picture, by which anything is moved
COARSE = 2  # pixels of the flat picture: points are moved smoothly
STEEP = 0.006  # level units per pixel below which a direction is hidden, as on a cheek turned away


class Realigner:
    """Moves the points under flat pictures of one layout."""

    def __init__(self, layout: PatchLayout) -> None:
        self.side = len(layout.weights)
        self.inside = layout.weights.sum(-1) > 0.5
        weights, corners = (a[::COARSE, ::COARSE] for a in (layout.weights, layout.corners))
        self._few = len(weights)
        row, shape = np.repeat(np.arange(self._few**2), 3), (self._few**2, len(layout.places))
        self._spreading = sp.csr_matrix((weights.ravel(), (row, corners.ravel())), shape)
        inside = weights.sum(-1) > 0.5
        middle = inside.copy()
        middle[:, 1:-1] &= inside[:, 2:] & inside[:, :-2]
        middle[1:-1] &= inside[2:] & inside[:-2]
        middle[[0, -1]] = middle[:, [0, -1]] = False
        self._middle = torch.from_numpy(middle.astype(np.float32))
        at = (torch.arange(self.side) + 0.5) / self.side * 2 - 1
        self._places = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)
        self._oval = list(face_mesh.FACE_OVAL)

    def __call__(self, patch: Tensor, points: Tensor, moved: Tensor) -> Tensor:
        """``patch`` ``(B, n, n)`` of level ``points`` ``(B, 478, 2)`` as it is for those plus ``moved``."""
        places = self._places + self.shift_px(points, moved) * (2 / self.side)
        out = nn.functional.grid_sample(patch[:, None], places, padding_mode="border", align_corners=False)
        return out[:, 0]

    def shift_px(self, points: Tensor, moved: Tensor) -> Tensor:
        """``(B, n, n, 2)``: where else in the flat picture each pixel has to look, columns and rows."""
        (x, y), (off_x, off_y) = self._spread(points), self._spread(moved)

        def slopes(of: Tensor) -> tuple[Tensor, Tensor]:
            """By pixel of the flat picture, to the right and down."""
            across, down = torch.zeros_like(of), torch.zeros_like(of)
            across[:, :, 1:-1] = (of[:, :, 2:] - of[:, :, :-2]) / (2 * COARSE)
            down[:, 1:-1] = (of[:, 2:] - of[:, :-2]) / (2 * COARSE)
            return across, down

        # Jᵀ (J Jᵀ + STEEP²)⁻¹ offset
        (x_across, x_down), (y_across, y_down) = slopes(x), slopes(y)
        xx = x_across**2 + x_down**2 + STEEP**2
        yy = y_across**2 + y_down**2 + STEEP**2
        xy = x_across * y_across + x_down * y_down
        det = xx * yy - xy * xy
        a, b = (yy * off_x - xy * off_y) / det, (xx * off_y - xy * off_x) / det
        shift = torch.stack([x_across * a + y_across * b, x_down * a + y_down * b], 1)
        shift = shift.clamp(-MOST_PX, MOST_PX) * self._middle
        size = (self.side, self.side)
        return nn.functional.interpolate(shift, size, mode="bilinear").permute(0, 2, 3, 1)

    def _spread(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Values at the points ``(B, 478, 2)`` over a coarse flat picture, each ``(B, m, m)``."""
        surface = points[:, :SURFACE]
        oval = points[:, self._oval]
        middle = oval.mean(1, keepdim=True)
        every = torch.cat([surface, middle + RING * (oval - middle)], 1)
        spread = self._spreading @ every.permute(1, 2, 0).reshape(every.shape[1], -1).numpy()
        x, y = torch.from_numpy(spread.T.copy()).reshape(2, -1, self._few, self._few)
        return x, y
