"""Mouth bag and eye sockets: rings inward from the lip and lid loops on ICT's surface, then a grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.head.meshing import edges_of
from synthdata.headmodel.flatten import barycentric_lookup, mean_value_weights, solve_pinned, split_quads
from synthdata.headmodel.layout import Window
from synthdata.headmodel.parts import PartHalf, same_chart_mirrored
from synthdata.headmodel.relax import relax
from synthdata.headmodel.skin import OnIct
from synthdata.headmodel.source import IctSurface

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]


def build_inner(
    surface: IctSurface,
    name: str,
    vertex_range: tuple[int, int],
    loop: list[int],
    share: F64,
    skin_ring: NDArray[np.intp],
    window: Window,
    rings: int,
) -> PartHalf:
    """The part behind a hole of the skin.

    ``loop`` is ICT's border loop (whole when closed, lower to upper midline when ``window`` lies on it),
    ``share`` the places of ``skin_ring`` along it. ``window`` gives the grid that closes the bottom.
    """
    quads = surface.quads_in(*vertex_range)
    on_midline = window.on_midline
    if on_midline:
        whole = loop + [int(surface.mirror[c]) for c in loop[-2:0:-1]]
    else:
        whole = loop
        quads = quads[surface.vertices[quads, 0].mean(1) > 0]
    half = split_quads(quads[surface.vertices[quads, 0].mean(1) > 0])
    triangles = np.concatenate([half, surface.mirror[half][:, ::-1]]) if on_midline else half
    used, compact = np.unique(triangles, return_inverse=True)
    flat_triangles = compact.reshape(-1, 3).astype(np.int32)
    border = np.searchsorted(used, whole)
    angle = 2 * np.pi * np.arange(len(whole)) / len(whole) - np.pi / 2
    # Seen from outside through the hole the loop runs anticlockwise and so does the disc.
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    plane = solve_pinned(mean_value_weights(surface.vertices[used], flat_triangles), border, circle)
    ring_angle = 2 * np.pi * share / len(whole) - np.pi / 2

    mesh_quads, count, ring_list, _grid, midline = _numbering(window, len(skin_ring), rings)
    position = np.full((count + len(skin_ring), 2), 0.0)
    outer = np.stack([np.cos(ring_angle), np.sin(ring_angle)], 1)
    ids = np.where(mesh_quads < 0, count - 1 - mesh_quads, mesh_quads).astype(np.int32)
    position[count:] = outer
    for k, ring in enumerate(ring_list):
        position[ring] = outer * (1 - 0.6 * (k + 1) / rings)
    held = np.zeros(len(position), bool)
    held[count:] = True
    middle = np.zeros(len(position), bool)
    if on_midline:
        middle[midline] = True
        middle[[count, len(position) - 1]] = True
        position[middle, 0] = 0.0

    def lift(p: F64) -> F64:
        found, weight, _ = barycentric_lookup(plane, flat_triangles, _inside(p))
        return np.asarray(np.einsum("nk,nkc->nc", weight, surface.vertices[used[flat_triangles[found]]]))

    position = relax(
        position,
        edges_of(ids),
        lift,
        lambda p: np.ones(len(p)),
        (held | middle, held),
        middle,
        iterations=14,
    )
    found, weight, _ = barycentric_lookup(plane, flat_triangles, _inside(position[:count]))
    on_ict = OnIct(used[flat_triangles[found]].astype(np.int32), weight)
    skin_ids = -1 - np.asarray(skin_ring)
    final = np.where(mesh_quads < 0, skin_ids[np.clip(-1 - mesh_quads, 0, len(skin_ring) - 1)], mesh_quads)
    return PartHalf(
        name=name,
        mirror_name=name,
        vertices=on_ict.apply(surface.vertices),
        quads=final.astype(np.int32),
        uvs=0.5 + 0.49 * position,
        quad_uvs=ids,
        carry=on_ict.apply,
        own_expressions={},
        mirror_uv=same_chart_mirrored,
    )


def _inside(points: F64) -> F64:
    """The border is a polygon inscribed in the circle: keep lookups just within it."""
    return points * 0.9985


def _numbering(
    window: Window, ring_size: int, rings: int
) -> tuple[I32, int, list[NDArray[np.intp]], list[int], NDArray[np.intp]]:
    """Quads (negative −1 − p: skin ring vertex p), own vertex count, rings, grid vertices, midline."""
    around = range(ring_size - 1) if window.on_midline else range(ring_size)
    outer = -1 - np.arange(ring_size)
    quads: list[list[int]] = []
    ring_list: list[NDArray[np.intp]] = []
    midline: list[int] = []
    total = 0
    for _ in range(rings):
        inner = np.arange(total, total + ring_size)
        total += ring_size
        quads += [
            [outer[p], outer[(p + 1) % ring_size], inner[(p + 1) % ring_size], inner[p]] for p in around
        ]
        ring_list.append(inner)
        if window.on_midline:
            midline += [int(inner[0]), int(inner[-1])]
        outer = inner
    cell = {at: int(outer[k]) for k, at in enumerate(window.border())}
    grid = []
    for r in range(window.r0, window.r1 + 1):
        for c in range(window.c0, window.c1 + 1):
            if (c, r) not in cell:
                cell[c, r] = total
                grid.append(total)
                if window.on_midline and c == 0:
                    midline.append(total)
                total += 1
    quads += [
        [cell[c, r], cell[c + 1, r], cell[c + 1, r + 1], cell[c, r + 1]]
        for r in range(window.r0, window.r1)
        for c in range(window.c0, window.c1)
    ]
    return np.asarray(quads, np.int32), total, ring_list, grid, np.asarray(midline, np.intp)
