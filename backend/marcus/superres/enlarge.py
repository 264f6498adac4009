"""Charts enlarged by a super-resolution network: in tiles, across seams, and each map as what it is.

A network trained on pictures invents a rim where a chart ends and differs on the two sides of a seam. So
charts are padded outwards with their own border before, and both sides of a seam are made to meet after.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.artifacts import F32
from backend.uvspace.seams import SeamPairs, dilate, level_seams

OVERLAP = 16  # texels of a tile's rim that are thrown away: more than the networks' reach that matters


class Enlarger(Protocol):
    """A network of ``networks``: ``(1, 3, H, W)`` in [0, 1] to ``scale`` times the size."""

    scale: int

    def __call__(self, rgb: Tensor) -> Tensor: ...


def enlarge(
    network: Enlarger,
    image: F32,
    *,
    tile: int = 256,
    device: torch.device | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> F32:
    """``image`` ``(H, W, 3)`` in [0, 1] at ``scale`` times the size, in tiles with an overlap.

    Every texel of the result comes from a tile in which it is OVERLAP texels from the rim or at the
    image's own border, which is mirrored outwards.
    """
    height, width = image.shape[:2]
    s, rim = network.scale, OVERLAP
    padded = np.pad(
        image, ((rim, rim), (rim, rim), (0, 0)), mode="reflect" if min(height, width) > rim else "edge"
    )
    out = np.empty((height * s, width * s, 3), np.float32)
    starts = [(y, x) for y in range(0, height, tile) for x in range(0, width, tile)]
    for number, (y, x) in enumerate(starts):
        h, w = min(tile, height - y), min(tile, width - x)
        part = torch.from_numpy(np.ascontiguousarray(padded[y : y + h + 2 * rim, x : x + w + 2 * rim]))
        with torch.no_grad():
            large = network(part.permute(2, 0, 1)[None].to(device))[0].float().cpu()
        kept = large[:, rim * s : (rim + h) * s, rim * s : (rim + w) * s]
        out[y * s : (y + h) * s, x * s : (x + w) * s] = kept.permute(1, 2, 0).numpy()
        progress((number + 1) / len(starts))
    return np.clip(out, 0, 1)


def enlarge_chart(
    image: F32,
    inside: NDArray[np.bool_],
    inside_large: NDArray[np.bool_],
    seams: SeamPairs,
    enlarged: Callable[[F32], F32],
) -> F32:
    """A chart's map ``(S, S, 3)`` enlarged to ``inside_large``'s size, seams level, padded outwards.

    ``inside`` and ``inside_large`` are the chart's texels at both sizes, ``seams`` belong to the large one.
    """
    large = enlarged(np.clip(dilate(image, inside), 0, 1))
    scale = large.shape[0] // image.shape[0]
    return dilate(level_seams(large, inside_large, seams, 8.0 * scale), inside_large)


def enlarge_normals(normals: F32, enlarged: Callable[[F32], F32]) -> F32:
    """Tangent-space normals ``(S, S, 3)``, enlarged as colours and made unit again, facing outwards."""
    large = enlarged(normals * 0.5 + 0.5) * 2 - 1
    large[..., 2] = np.maximum(large[..., 2], 1e-3)
    return np.asarray(large / np.linalg.norm(large, axis=-1, keepdims=True), np.float32)


def enlarge_grey(grey: F32, enlarged: Callable[[F32], F32]) -> F32:
    """A map of one channel ``(S, S)`` in any range, enlarged as grey; float32 throughout, nothing is rounded.

    The network sees it stretched to [0, 1]: small displacements would drown in its noise.
    """
    low, high = float(grey.min()), float(grey.max())
    span = max(high - low, 1e-12)
    large = enlarged(np.repeat(((grey - low) / span)[..., None], 3, axis=-1)).mean(axis=-1)
    return np.asarray(large * span + low, np.float32)
