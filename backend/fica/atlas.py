"""The whole head in one square of texels: the skin's chart above, the other parts' charts in a row below.

FiCA's maps hold eyes, teeth and the inside of the mouth beside the skin (method, 2.2), so that one network
can make them all. Parts that are strands or clear (lashes, cornea) have no place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.errors import BadInput
from backend.head.base import ParametricHead
from backend.uvspace.buffers import RasterBuffers
from backend.uvspace.rasterise import rasterise_chart

SKIN_SHARE = 7 / 8  # of the square's height; the rest is the row of the other parts
SLOTS = 8  # places in that row, as wide as they are high
PARTS = ("eye_left", "eye_right", "sockets", "mouth", "teeth", "gums", "tongue")
_MARGIN = 0.06  # of a slot's side, left free about a part's chart


@dataclass(frozen=True)
class Atlas:
    """Texels ``S×S`` and the surface of ``head`` they show; rows as in images, v upwards."""

    head: ParametricHead
    size: int
    corner_uvs: F32  # (T, 3, 2) in [0, 1] of every triangle's corners; −1 for parts without a place
    raster: RasterBuffers  # (S, S) triangle −1 where there is no surface

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(S, S) texels that show a surface."""
        return self.raster.covered

    @property
    def part(self) -> NDArray[np.int32]:
        """(S, S) index into ``head.part_names``, −1 where there is no surface."""
        found = self.head.triangle_part[np.maximum(self.raster.triangle, 0)].astype(np.int32)
        return np.where(self.inside, found, -1).astype(np.int32)

    def on_texels(self, values: NDArray[np.floating[Any]]) -> F32:
        """Vertex ``values`` ``(V, C)`` at every texel ``(S, S, C)``; 0 where there is no surface."""
        return self.raster.interpolate(values, self.head.triangles)

    def chart_uv(self) -> F32:
        """Where each texel lies in its own part's chart, ``(S, S, 2)``."""
        return self.raster.interpolate(self.head.uvs, self.head.triangle_uvs)

    def in_picture(self, drawn: RasterBuffers) -> F32:
        """Atlas coordinates ``(H, W, 2)`` of what a camera sees; −1 where it sees nothing of the atlas."""
        corners = self.corner_uvs[np.maximum(drawn.triangle, 0)]
        uv = np.einsum("hwk,hwkc->hwc", drawn.barycentric, corners)
        has = drawn.covered & (corners[..., 0, 0] >= 0)
        return np.where(has[..., None], uv, -1).astype(np.float32)


def build_atlas(head: ParametricHead, size: int) -> Atlas:
    """The atlas of ``size`` texels a side, a multiple of 8.

    Raises: BadInput for another size, or a head without eyes.
    """
    if size % SLOTS or size < 4 * SLOTS:
        raise BadInput(f"an atlas has a multiple of {SLOTS} texels, at least {4 * SLOTS}; not {size}")
    if not set(PARTS[:2]) <= set(head.part_names):
        raise BadInput(f"the head '{head.name}' has no eyes of its own; FiCA needs --head open")
    corners = _corner_uvs(head)
    rows = np.flatnonzero(corners[:, 0, 0] >= 0)
    flat = corners.reshape(-1, 2)
    raster = rasterise_chart(flat, np.arange(len(flat), dtype=np.int32).reshape(-1, 3), size, rows)
    for array in (raster.triangle, raster.barycentric, corners):
        array.setflags(write=False)
    return Atlas(head, size, corners, raster)


def _corner_uvs(head: ParametricHead) -> F32:
    own = np.asarray(head.uvs, np.float32)[head.triangle_uvs]
    placed = np.full_like(own, -1)
    part = head.triangle_part
    skin = part == 0
    placed[skin] = own[skin] * (1, SKIN_SHARE) + (0, 1 - SKIN_SHARE)
    side = 1 / SLOTS
    for slot, name in enumerate(PARTS):
        if name not in head.part_names:
            continue
        rows = part == head.part_names.index(name)
        placed[rows] = (own[rows] * (1 - 2 * _MARGIN) + _MARGIN) * side + (slot * side, 0)
    return placed
