"""The renderer for CPUs: compiled tiles over threads, differentiable through torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from backend.artifacts import F32, Camera
from backend.gaussians.projection import FOOTPRINT, project_back_rows, project_rows
from backend.gaussians.renderer import Gaussians
from backend.gaussians.tiles import ENTRY, add_entries, composite, composite_back, list_tiles
from backend.uvspace.kernels import in_bands

_ROWS = 2048  # Gaussians a thread takes at once


class NumbaRenderer:
    """Tiles of 16×16 pixels on the CPU. The same input gives the same bytes, whatever the threads."""

    name = "numba tiles"

    def render(self, gaussians: Gaussians, camera: Camera) -> Tensor:
        """See ``Renderer.render``."""
        picture: Tensor = _Drawn.apply(  # type: ignore[no-untyped-call]
            gaussians.positions,
            gaussians.log_scales,
            gaussians.rotations,
            gaussians.opacity_logits,
            gaussians.colours_srgb,
            camera,
        )
        return picture


class _Drawn(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        positions: Tensor,
        log_scales: Tensor,
        rotations: Tensor,
        opacity_logits: Tensor,
        colours: Tensor,
        camera: Camera,
    ) -> Tensor:
        places, sizes, turns = _array(positions), _array(log_scales), _array(rotations)
        logits, shown = _array(opacity_logits), _array(colours)
        pose = np.ascontiguousarray(camera.world_to_camera, np.float64)
        lens = np.array([camera.focal_px, *camera.principal_px], np.float64)
        count, width, height = len(logits), camera.width_px, camera.height_px
        footprints, depths = np.zeros((count, FOOTPRINT), np.float32), np.empty(count, np.float32)
        in_bands(
            lambda start, end: project_rows(
                places, sizes, turns, logits, pose, lens, start, end, footprints, depths
            ),
            count,
            least_rows=_ROWS,
        )
        drawn = np.flatnonzero(depths > 0)
        order = drawn[np.argsort(depths[drawn], kind="stable")]
        starts, entries = list_tiles(footprints, order, width, height)
        picture = np.empty((height, width, 4), np.float32)
        left_over, last = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
        in_bands(
            lambda first, end: composite(
                footprints,
                shown,
                starts,
                entries,
                width,
                height,
                first,
                end,
                picture,
                left_over,
                last,
            ),
            len(starts) - 1,
            least_rows=2,
        )
        context.kept = (
            places,
            sizes,
            turns,
            logits,
            shown,
            pose,
            lens,
            footprints,
            depths,
            starts,
            entries,
            left_over,
            last,
        )
        return torch.from_numpy(picture)

    @staticmethod
    def backward(context: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        places, sizes, turns, logits, shown, pose, lens, footprints, depths = context.kept[:9]
        starts, entries, left_over, last = context.kept[9:]
        picture = _array(given[0])
        height, width = last.shape
        gradients = np.zeros((len(entries), ENTRY), np.float32)
        in_bands(
            lambda first, end: composite_back(
                footprints,
                shown,
                starts,
                entries,
                width,
                height,
                first,
                end,
                left_over,
                last,
                picture,
                gradients,
            ),
            len(starts) - 1,
            least_rows=2,
        )
        count = len(depths)
        total = np.zeros((count, ENTRY), np.float64)
        add_entries(entries, gradients, total)
        to_places, to_sizes, to_turns = np.zeros_like(places), np.zeros_like(sizes), np.zeros_like(turns)
        to_logits = np.zeros(count, np.float32)
        in_bands(
            lambda start, end: project_back_rows(
                places,
                sizes,
                turns,
                logits,
                footprints,
                depths,
                pose,
                lens,
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
        to_colours = total[:, 6:].astype(np.float32)
        return (*(torch.from_numpy(a) for a in (to_places, to_sizes, to_turns, to_logits, to_colours)), None)


def _array(tensor: Tensor) -> F32:
    return np.ascontiguousarray(tensor.detach().numpy(), np.float32)
