"""Maps carried from one head's chart into another's, over one surface that both are laid on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, ChartMaps
from backend.evaluation.closest import Surface
from backend.head.base import ParametricHead
from backend.uvspace.chart import skin_triangles, tangent_to_head, unit_or_zero
from backend.uvspace.sampling import sample_chart
from backend.uvspace.seams import push_pull_fill

REACH_M = 0.012  # a place farther than this from the other surface has nothing there
EXACT = 1024  # largest chart whose texels are all looked up; larger ones are interpolated between them
APART_UV = 0.01  # neighbours farther apart than this in the other chart lie on two sides of a seam


@dataclass(frozen=True)
class Places:
    """Where each texel of a chart lies in the other head's chart."""

    uv: F64  # (S, S, 2)
    known: NDArray[np.bool_]  # (S, S) inside the chart, and the other surface is there


def find_places(chart: ChartMaps, source: ParametricHead, surface: F32) -> Places:
    """For every texel of ``chart`` the closest point of ``source``'s skin with vertices ``surface``."""
    skin = skin_triangles(source)
    goal = Surface(surface, source.triangles[skin])
    step = max(1, chart.size // EXACT)
    uv = np.zeros((chart.size // step, chart.size // step, 2))
    known = np.zeros(uv.shape[:2], bool)
    offset = step // 2
    inside = chart.inside[offset::step, offset::step][: len(uv), : len(uv)]
    position = chart.position_head[offset::step, offset::step][: len(uv), : len(uv)]
    uv[inside], known[inside] = _look_up(goal, source, skin, position[inside])
    if step == 1:
        return Places(uv, known)
    return _between(uv, known, step, chart, goal, source, skin)


def _look_up(
    goal: Surface, source: ParametricHead, skin: NDArray[np.int64], points: F32
) -> tuple[F64, NDArray[np.bool_]]:
    hits = goal.closest(points)
    corners = source.uvs[source.triangle_uvs[skin[hits.triangle]]].astype(np.float64)
    near = (hits.distance < REACH_M) & ~goal.on_border(hits)
    return np.einsum("nk,nkc->nc", hits.barycentric, corners), near


def _between(
    uv: F64,
    known: NDArray[np.bool_],
    step: int,
    chart: ChartMaps,
    goal: Surface,
    source: ParametricHead,
    skin: NDArray[np.int64],
) -> Places:
    """A finer chart: interpolated where four neighbours agree, looked up along seams and borders."""
    import cv2

    size = chart.size
    # Texel (step·k + offset)'s centre, in the coarse grid's pixels.
    at = (np.arange(size, dtype=np.float32) - step // 2) / step
    x, y = np.meshgrid(at, at)
    fine = cv2.remap(uv.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    spread = np.ptp(_four(uv), axis=0).max(-1)
    agree = (spread < APART_UV) & _four(known[..., None])[..., 0].all(0)
    low = np.clip(np.floor(at).astype(np.int64), 0, len(uv) - 1)
    whole = agree[low[:, None], low[None, :]] & (at >= 0)[:, None] & (at >= 0)[None, :]
    places = fine.astype(np.float64)
    kept = whole & chart.inside
    rest = chart.inside & ~whole
    places[rest], kept[rest] = _look_up(goal, source, skin, chart.position_head[rest])
    return Places(places, kept)


def _four(grid: NDArray[np.generic]) -> NDArray[np.generic]:
    """Each cell with its right, lower and lower right neighbour ``(4, H, W, C)``; the border repeats."""
    wide = np.pad(grid, ((0, 1), (0, 1), (0, 0)), mode="edge")
    return np.stack([wide[:-1, :-1], wide[:-1, 1:], wide[1:, :-1], wide[1:, 1:]])


def carry(image: F32, places: Places) -> F32:
    """A map ``(S, S, C)`` of the other chart in this one; filled smoothly where nothing is known."""
    out = np.zeros((*places.known.shape, image.shape[2]), np.float32)
    out[places.known] = sample_chart(image, places.uv[places.known])
    return push_pull_fill(out, places.known)


def carry_normals(normal_tangent: F32, source: ChartMaps, chart: ChartMaps, places: Places) -> F32:
    """Tangent-space normals of ``source``'s chart re-expressed in ``chart``'s MikkTSpace frames.

    The relief of a normal is the turn from the smooth normal to it. The two heads' smooth normals differ a
    little at one place, so that turn is carried along the shortest rotation between them.
    """
    relief = carry(tangent_to_head(source.normal_head, source.tangent_head, normal_tangent), places)
    smooth = unit_or_zero(carry(source.normal_head, places))
    own = chart.normal_head
    turned = _turned(unit_or_zero(relief), smooth, own)
    tangent = chart.tangent_head[..., :3]
    bitangent = np.cross(own, tangent) * chart.tangent_head[..., 3:]
    # Interpolated frames are not quite orthogonal: the components solve n = a·T + b·B + c·N.
    volume = np.einsum("rck,rck->rc", tangent, np.cross(bitangent, own))[..., None]
    parts = [
        np.einsum("rck,rck->rc", turned, np.cross(u, v))
        for u, v in ((bitangent, own), (own, tangent), (tangent, bitangent))
    ]
    found = np.stack(parts, axis=-1) / np.where(np.abs(volume) > 1e-6, volume, 1)
    good = places.known & (np.abs(volume[..., 0]) > 1e-6) & (found[..., 2] > 0.05)
    found = np.where(good[..., None], found, np.array([0, 0, 1], np.float32))
    return unit_or_zero(found)


def _turned(vectors: F32, start: F32, end: F32) -> F32:
    """``vectors`` under the shortest rotation from unit ``start`` to unit ``end``, all ``(S, S, 3)``."""
    axis = np.cross(start, end)
    cosine = np.einsum("rck,rck->rc", start, end)[..., None]
    along = np.einsum("rck,rck->rc", axis, vectors)[..., None]
    turned = cosine * vectors + np.cross(axis, vectors) + axis * along / np.maximum(1 + cosine, 1e-3)
    return np.asarray(turned, np.float32)
