"""Drawing a skin: rows of texels at a time, each texel from its place on the skin alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.colour import linear_to_srgb
from backend.errors import BadInput
from backend.head.base import ParametricHead
from synthdata.skin.anatomy import layers_of
from synthdata.skin.gloss import gloss
from synthdata.skin.maps import DISPLACEMENT_RANGE_MM, SkinMaps, encoded_normal
from synthdata.skin.marks import Grid, Lines, Spots
from synthdata.skin.parameters import SkinParameters
from synthdata.skin.pigment import colour
from synthdata.skin.relief import Relief, relief
from synthdata.skin.seen import Seen
from synthdata.skin.structure import Structure, lay_structure
from synthdata.skin.surface import SkinSurface, skin_surface

LEAST_SIZE, MOST_SIZE = 64, 8192
TEXELS_PER_TILE = 1 << 18
PADDING = 1 / 128  # of the chart: how far maps go on beyond its border


def draw_skin(
    parameters: SkinParameters,
    head: ParametricHead,
    size: int,
    vertices_head: NDArray[np.floating[Any]] | None = None,
    expression: Mapping[str, float] | None = None,
    tile_rows: int | None = None,
    on_progress: Callable[[float], object] = lambda share: None,
) -> SkinMaps:
    """The skin of ``parameters`` on ``head``, ``size`` texels a side.

    ``vertices_head`` ``(V, 3)``: the neutral head, its mean where None. ``expression``: ARKit weights whose
    folds are drawn. The same input gives the same bytes whatever ``tile_rows`` and the number of threads.
    Raises: BadInput for a size out of range or vertices of another head.
    """
    if not LEAST_SIZE <= size <= MOST_SIZE:
        raise BadInput(f"a skin has {LEAST_SIZE} to {MOST_SIZE} texels a side, not {size}")
    vertices = head.mean_vertices if vertices_head is None else np.asarray(vertices_head, np.float32)
    if vertices.shape != head.mean_vertices.shape:
        count = len(head.mean_vertices)
        raise BadInput(f"head '{head.name}' has {count} vertices, not an array of shape {vertices.shape}")
    surface = skin_surface(head, vertices, layers_of(head, vertices))
    structure = lay_structure(surface, parameters, expression or {})
    grids = _sorted(surface, structure, size)
    maps = SkinMaps(
        albedo_srgb=np.zeros((size, size, 3), np.uint8),
        normal_u16=np.zeros((size, size, 3), np.uint16),
        relief_normal_u16=np.zeros((size, size, 3), np.uint16),
        displacement_u16=np.zeros((size, size), np.uint16),
        roughness_u8=np.zeros((size, size), np.uint8),
        specular_u8=np.zeros((size, size), np.uint8),
        inside=np.zeros((size, size), bool),
    )
    rows = tile_rows or max(TEXELS_PER_TILE // size, 1)
    for first in range(0, size, rows):
        _draw_rows(parameters, surface, structure, grids, maps, first, min(first + rows, size))
        on_progress(min(first + rows, size) / size)
    _go_on_beyond(maps)
    return maps


def _sorted(surface: SkinSurface, structure: Structure, size: int) -> dict[str, Grid]:
    low, high = surface.low_mm, surface.high_mm
    out = {}
    for name, marks in vars(structure).items():
        assert isinstance(marks, Spots | Lines)
        middle = marks.centre_mm if isinstance(marks, Spots) else 0.5 * (marks.start_mm + marks.end_mm)
        scale = surface.values_at(middle, surface.mm_per_chart[:, None])[:, 0]
        out[name] = marks.grid(low, high, scale / np.float32(size))
    return out


def _draw_rows(
    parameters: SkinParameters,
    surface: SkinSurface,
    structure: Structure,
    grids: dict[str, Grid],
    maps: SkinMaps,
    first: int,
    end: int,
) -> None:
    texels = surface.rows(maps.size, first, end)
    if len(texels.row) == 0:
        return
    seen = Seen(parameters, surface.names, texels, structure, grids)
    made: Relief = relief(seen)
    albedo = colour(seen, made)
    roughness, specular = gloss(seen, made)
    at = (texels.row, texels.column)
    maps.inside[at] = True
    maps.albedo_srgb[at] = np.rint(255 * np.clip(linear_to_srgb(albedo), 0, 1))
    maps.normal_u16[at] = encoded_normal(_normal(texels.normal, texels.tangent, made.fine_slope))
    maps.relief_normal_u16[at] = encoded_normal(
        _normal(texels.normal, texels.tangent, made.fine_slope + made.coarse_slope)
    )
    share = 0.5 + made.coarse_mm / np.float32(DISPLACEMENT_RANGE_MM)
    maps.displacement_u16[at] = np.rint(65535 * np.clip(share, 0, 1))
    maps.roughness_u8[at] = np.rint(255 * roughness)
    maps.specular_u8[at] = np.rint(255 * specular)


def _normal(normal: F32, tangent: F32, slope: F32) -> F32:
    """Tangent-space normals ``(N, 3)`` of heights whose gradient in space is ``slope`` ``(N, 3)``."""
    across = tangent[:, :3]
    along = tangent[:, 3:] * np.cross(normal, across)
    up = np.stack([-(slope * across).sum(1), -(slope * along).sum(1), np.ones(len(slope), np.float32)], 1)
    return np.asarray(up / np.linalg.norm(up, axis=1, keepdims=True), np.float32)


def _go_on_beyond(maps: SkinMaps) -> None:
    """Give texels beyond the chart's border the values of the nearest within."""
    import cv2

    inside = maps.inside.astype(np.uint8)
    border = (inside > 0) & (cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=0) == 0)
    gap, label = cv2.distanceTransformWithLabels(
        (~border).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    reach = max(PADDING * maps.size, 2)
    within = np.flatnonzero(border)
    place_of = np.zeros(int(label.max()) + 1, np.int64)
    place_of[label.ravel()[within]] = within
    near = np.flatnonzero(~maps.inside & (gap <= reach))
    source = place_of[label.ravel()[near]]
    for image in maps.pictures().values():
        flat = image.reshape(maps.size * maps.size, -1)
        flat[near] = flat[source]
    far = ~maps.inside & (gap > reach)
    maps.normal_u16[far] = maps.relief_normal_u16[far] = (32768, 32768, 65535)
    maps.displacement_u16[far] = 32768
