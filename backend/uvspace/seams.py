"""Where a chart ends: padding beyond its border, filling holes, and what lies across a seam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.head.base import ParametricHead
from backend.uvspace.chart import skin_triangles
from backend.uvspace.rasterise import uv_to_px
from backend.uvspace.sampling import sample_chart
from backend.uvspace.visibility import smoothstep

__all__ = ["SeamPairs", "dilate", "level_seams", "push_pull_fill", "sample_chart", "seam_pairs"]


@dataclass(frozen=True)
class SeamPairs:
    """Points on the skin chart's border that are one place on the surface, about one per texel.

    Every place is listed from both of its sides: (a, b) and (b, a).
    """

    uv: F64  # (N, 2) on the seam
    uv_across: F64  # (N, 2) the same surface point on the seam's other side
    inward: F64  # (N, 2) unit UV direction from ``uv`` into its own triangle
    inward_across: F64  # (N, 2) the same for ``uv_across``


def seam_pairs(head: ParametricHead, size: int) -> SeamPairs:
    """Sample the edges whose triangles share vertices but not UVs, for a chart of ``size`` texels."""
    skin = skin_triangles(head)
    vertices, uv_rows = head.triangles[skin].astype(np.int64), head.triangle_uvs[skin]
    tail, uv_tail = vertices.ravel(), uv_rows.ravel()
    head_of, uv_head = np.roll(vertices, -1, 1).ravel(), np.roll(uv_rows, -1, 1).ravel()
    uv_apex = np.roll(uv_rows, -2, 1).ravel()
    span = vertices.max() + 1
    forward, backward = tail * span + head_of, head_of * span + tail
    order = np.argsort(forward, kind="stable")
    twin = order[np.minimum(np.searchsorted(forward[order], backward), len(order) - 1)]
    # The twin runs the other way: its head is this edge's tail.
    uvs = head.uvs.astype(np.float64)
    apart = (uvs[uv_tail] != uvs[uv_head[twin]]).any(1) | (uvs[uv_head] != uvs[uv_tail[twin]]).any(1)
    edges = np.flatnonzero((forward[twin] == backward) & apart)
    across = twin[edges]

    start, end = uvs[uv_tail[edges]], uvs[uv_head[edges]]
    start_across, end_across = uvs[uv_head[across]], uvs[uv_tail[across]]
    longest = np.maximum(
        np.linalg.norm(end - start, axis=1), np.linalg.norm(end_across - start_across, axis=1)
    )
    count = np.maximum(np.ceil(longest * size), 1).astype(np.int64)
    edge = np.repeat(np.arange(len(edges)), count)
    first = np.repeat(np.cumsum(count) - count, count)
    t = ((np.arange(len(edge)) - first + 0.5) / count[edge])[:, None]
    return SeamPairs(
        uv=start[edge] + t * (end - start)[edge],
        uv_across=start_across[edge] + t * (end_across - start_across)[edge],
        inward=_inward(start, end, uvs[uv_apex[edges]])[edge],
        inward_across=_inward(start_across, end_across, uvs[uv_apex[across]])[edge],
    )


def _inward(start: F64, end: F64, apex: F64) -> F64:
    """Unit directions across edges ``(N, 2)`` towards each triangle's third corner."""
    along = end - start
    normal = np.stack([-along[:, 1], along[:, 0]], -1)
    side = np.sign(np.einsum("nc,nc->n", normal, apex - start))[:, None]
    unit: F64 = side * normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    return unit


def level_seams(image: F32, inside: NDArray[np.bool_], pairs: SeamPairs, reach_texels: float) -> F32:
    """Make a chart ``(S, S, C)`` agree across its seams: both sides meet halfway, fading out inwards.

    ``inside`` ``(S, S)`` are the chart's texels; those outside are returned as they came.
    """
    import cv2

    size = len(image)
    if len(pairs.uv) == 0:
        return image.copy()
    own = sample_chart(image, pairs.uv + pairs.inward * (0.75 / size))
    other = sample_chart(image, pairs.uv_across + pairs.inward_across * (0.75 / size))
    place = uv_to_px(pairs.uv + pairs.inward * (0.5 / size), size)
    column, row = np.clip(np.floor(place), 0, size - 1).astype(np.int64).T
    flat = row * size + column
    hits = np.bincount(flat, minlength=size * size)
    steps = [np.bincount(flat, 0.5 * (other - own)[:, c], size * size) for c in range(image.shape[2])]
    step = (np.stack(steps, -1) / np.maximum(hits, 1)[:, None]).reshape(image.shape).astype(np.float32)
    on_seam = (hits > 0).reshape(size, size)
    distance = cv2.distanceTransform((~on_seam).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    fade = 1 - smoothstep(0.0, reach_texels, distance.astype(np.float32))
    correction = push_pull_fill(step, on_seam) * fade[..., None]
    return np.where(inside[..., None], image + correction, image).astype(np.float32)


def dilate(image: F32, inside: NDArray[np.bool_], reach_texels: float | None = None) -> F32:
    """Repeat the chart's border outwards over ``(S, S, C)``, all the way when ``reach_texels`` is None.

    Each texel outside ``inside`` takes the value of (nearly) the closest one inside.
    """
    import cv2

    if not inside.any() or inside.all():
        return image.copy()
    distance, label = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    source = np.zeros(int(label.max()) + 1, np.int64)
    flat = np.flatnonzero(inside.ravel())
    source[label.ravel()[flat]] = flat
    filled: F32 = image.reshape(inside.size, -1)[source[label.ravel()]].reshape(image.shape)
    if reach_texels is None:
        return filled
    near = (distance <= reach_texels).reshape(inside.shape + (1,) * (image.ndim - 2))
    return np.where(near, filled, image).astype(np.float32)


def push_pull_fill(image: NDArray[np.floating[Any]], weight: NDArray[np.generic]) -> F32:
    """Fill ``(H, W, C)`` smoothly where ``weight`` ``(H, W)`` is 0 (Gortler et al. 1996, push-pull).

    ``weight`` is a mask or confidence in [0, 1]; texels of weight 1 stay as they are, those between are
    mixed with the fill. All zero gives zeros.
    """
    import cv2

    colour = np.asarray(image, np.float32)
    w = np.asarray(weight, np.float32)[..., None]
    levels = [(colour, w)]
    while max(w.shape[:2]) > 1:
        total = _four(w)
        colour = _four(colour * w) / np.maximum(total, 1e-20)
        w = np.minimum(total, 1)
        levels.append((colour, w))
    fill = levels[-1][0]
    for colour, w in reversed(levels[:-1]):
        height, width = colour.shape[:2]
        even = (width + width % 2, height + height % 2)
        wider = cv2.resize(fill, even, interpolation=cv2.INTER_LINEAR)
        wider = wider.reshape(even[1], even[0], -1)[:height, :width]
        fill = w * colour + (1 - w) * wider
    return fill


def _four(a: F32) -> F32:
    """Sums of 2×2 blocks; a missing last row or column counts as 0."""
    padded = np.pad(a, ((0, a.shape[0] % 2), (0, a.shape[1] % 2), (0, 0)))
    total: F32 = padded[0::2, 0::2] + padded[0::2, 1::2] + padded[1::2, 0::2] + padded[1::2, 1::2]
    return total
