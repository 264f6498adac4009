"""What a flat picture of a face looks like, in numbers that light changes little.

Histograms of gradient directions by cell (Dalal & Triggs, CVPR 2005) of two sizes, and the evened grey.
All kinds are of log brightness, so that twice the light changes nothing; beside the face all is 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32

BINS = 8  # directions, dark to light, all round
CELLS = ((8, 1.0), (16, 0.7))  # side in pixels, weight
GREY_CELL, GREY_WEIGHT = 4, 0.5
_DARK = 8.0  # of 255: below this noise would make directions
_FLAT = 0.05  # squared strength of gradients, by cell, below which there is nothing to see


def describe(patch: NDArray[np.uint8]) -> F32:
    """``(N, D)`` of flat pictures ``(N, P, P)``, where 0 is beside the face."""
    picture = patch.astype(np.float32)
    inside = patch > 0
    parts = [weight * _directions(picture, inside, cell) for cell, weight in CELLS]
    return np.concatenate([*parts, GREY_WEIGHT * _grey(picture, inside)], 1)


def mirrored(features: F32, side: int) -> F32:
    """What ``describe`` gives for pictures of ``side`` pixels seen in a mirror, from its ``features``."""
    parts, start = [], 0
    turned = (BINS // 2 - np.arange(BINS)) % BINS  # a direction θ becomes π − θ
    for cell, _ in CELLS:
        n = side // cell
        part = features[:, start : start + BINS * n * n].reshape(-1, BINS, n, n)
        parts.append(part[:, turned, :, ::-1].reshape(len(features), -1))
        start += BINS * n * n
    n = side // GREY_CELL
    parts.append(features[:, start:].reshape(-1, n, n)[:, :, ::-1].reshape(len(features), -1))
    return np.concatenate(parts, 1)


def _directions(picture: F32, inside: NDArray[np.bool_], cell: int) -> F32:
    log = np.log(picture + _DARK)
    dx, dy, whole = np.zeros_like(log), np.zeros_like(log), inside.copy()
    dx[:, :, 1:-1] = log[:, :, 2:] - log[:, :, :-2]
    dy[:, 1:-1] = log[:, 2:] - log[:, :-2]
    whole[:, :, 1:-1] &= inside[:, :, 2:] & inside[:, :, :-2]
    whole[:, 1:-1] &= inside[:, 2:] & inside[:, :-2]
    strength = np.hypot(dx, dy) * whole
    place = (np.arctan2(dy, dx) / (2 * np.pi) * BINS) % BINS
    first = np.floor(place).astype(np.intp) % BINS
    share = place - np.floor(place)
    count, side = len(picture), picture.shape[1] // cell
    out = np.empty((count, BINS, side, side), np.float32)
    for k in range(BINS):
        weight = strength * ((first == k) * (1 - share) + ((first + 1) % BINS == k) * share)
        out[:, k] = weight.reshape(count, side, cell, side, cell).sum((2, 4))
    energy = np.pad((out**2).sum(1), ((0, 0), (1, 1), (1, 1)))
    around = sum(energy[:, i : i + side, j : j + side] for i in range(3) for j in range(3))
    return np.asarray(out / np.sqrt(around + _FLAT)[:, None], np.float32).reshape(count, -1)


def _grey(picture: F32, inside: NDArray[np.bool_]) -> F32:
    count = np.maximum(inside.sum((1, 2)), 1)[:, None, None]
    even = (picture - picture.sum((1, 2))[:, None, None] / count) * inside
    even = even / (np.sqrt((even**2).sum((1, 2))[:, None, None] / count) + 1)
    n = picture.shape[1] // GREY_CELL
    return np.asarray(even.reshape(-1, n, GREY_CELL, n, GREY_CELL).mean((2, 4)), np.float32).reshape(
        len(even), -1
    )
