"""The renderer for CPUs in NumPy's arrays: compiled tiles over threads, and its gradients. No torch.

`numba_renderer` gives it to torch; what only needs a picture and gradients, as the match with the photo does,
calls it here and need not load torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.artifacts import F32, F64, Camera
from backend.gaussians.projection import FOOTPRINT, project_back_rows, project_rows
from backend.gaussians.tiles import ENTRY, I32, I64, add_entries, composite, composite_back, list_tiles
from backend.uvspace.kernels import in_bands

_ROWS = 2048  # Gaussians a thread takes at once


@dataclass(frozen=True)
class GaussianArrays:
    """N Gaussians as one camera sees them, before activation; contiguous float32 arrays."""

    positions: F32  # (N, 3) head space, metres
    log_scales: F32  # (N, 3) ln of the standard deviations, metres
    rotations: F32  # (N, 4) quaternion w, x, y, z from own axes to head space, any length but 0
    opacity_logits: F32  # (N,)
    colours_srgb: F32  # (N, 3) at least 0

    def taken(self, index: I64) -> GaussianArrays:
        """Those of ``index`` alone."""
        arrays = (self.positions, self.log_scales, self.rotations, self.opacity_logits, self.colours_srgb)
        return GaussianArrays(*(np.ascontiguousarray(a[index], np.float32) for a in arrays))


@dataclass(frozen=True)
class Drawn:
    """A picture, and what its gradients need."""

    picture: F32  # (H, W, 4) premultiplied display sRGB and coverage, over nothing
    gaussians: GaussianArrays
    pose: F64  # (3, 4) or (4, 4) world to camera
    lens: F64  # (LENS,)
    footprints: F32  # (N, FOOTPRINT)
    depths: F32  # (N,)
    starts: I64  # (tiles + 1,)
    entries: I32
    left_over: F32  # (H, W)
    last: I32  # (H, W)


def draw(gaussians: GaussianArrays, camera: Camera) -> Drawn:
    """Draw ``gaussians``. The same input gives the same bytes, whatever the threads."""
    pose = np.ascontiguousarray(camera.world_to_camera, np.float64)
    lens = np.array([camera.focal_px, *camera.principal_px], np.float64)
    count, width, height = len(gaussians.positions), camera.width_px, camera.height_px
    footprints, depths = np.zeros((count, FOOTPRINT), np.float32), np.empty(count, np.float32)
    g = gaussians
    in_bands(
        lambda start, end: project_rows(
            g.positions,
            g.log_scales,
            g.rotations,
            g.opacity_logits,
            pose,
            lens,
            start,
            end,
            footprints,
            depths,
        ),
        count,
        least_rows=_ROWS,
    )
    shown = np.flatnonzero(depths > 0)
    order = shown[np.argsort(depths[shown], kind="stable")]
    starts, entries = list_tiles(footprints, order, width, height)
    picture = np.empty((height, width, 4), np.float32)
    left_over, last = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
    in_bands(
        lambda first, end: composite(
            footprints, g.colours_srgb, starts, entries, width, height, first, end, picture, left_over, last
        ),
        len(starts) - 1,
        least_rows=2,
    )
    return Drawn(picture, g, pose, lens, footprints, depths, starts, entries, left_over, last)


def gradients_of(drawn: Drawn, given: F32) -> GaussianArrays:
    """Gradients of all five arrays from the picture's, ``given`` ``(H, W, 4)``, contiguous."""
    g, (height, width) = drawn.gaussians, drawn.last.shape
    by_entry = np.zeros((len(drawn.entries), ENTRY), np.float32)
    in_bands(
        lambda first, end: composite_back(
            drawn.footprints,
            g.colours_srgb,
            drawn.starts,
            drawn.entries,
            width,
            height,
            first,
            end,
            drawn.left_over,
            drawn.last,
            given,
            by_entry,
        ),
        len(drawn.starts) - 1,
        least_rows=2,
    )
    count = len(drawn.depths)
    total = np.zeros((count, ENTRY), np.float64)
    add_entries(drawn.entries, by_entry, total)
    to_places, to_sizes = np.zeros_like(g.positions), np.zeros_like(g.log_scales)
    to_turns, to_logits = np.zeros_like(g.rotations), np.zeros(count, np.float32)
    in_bands(
        lambda start, end: project_back_rows(
            g.positions,
            g.log_scales,
            g.rotations,
            g.opacity_logits,
            drawn.footprints,
            drawn.depths,
            drawn.pose,
            drawn.lens,
            total,
            start,
            end,
            to_places,
            to_sizes,
            to_turns,
            to_logits,
        ),
        count,
        least_rows=_ROWS,
    )
    return GaussianArrays(to_places, to_sizes, to_turns, to_logits, total[:, 6:].astype(np.float32))
