"""The surface of a sampled distance field as quads (naive surface nets: Gibson 1998)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthdata.cycles.ground import F64, I32


def surface_nets(field: F64, origin: F64, step: float) -> tuple[F64, I32]:
    """Vertices ``(V, 3)`` and quads ``(Q, 4)`` where ``field`` ``(X, Y, Z)`` changes sign.

    Sample i, j, k lies at ``origin + step · (i, j, k)``; quads face towards positive values. One vertex per
    cell that the surface crosses, in the mean of where it crosses the cell's edges.
    """
    inside = field < 0
    shape = np.array(field.shape) - 1
    corners = list(itertools.product((0, 1), repeat=3))

    def corner(values: NDArray[Any], at: tuple[int, ...]) -> NDArray[Any]:
        return values[tuple(slice(o, o + n) for o, n in zip(at, shape, strict=True))]

    signs = np.stack([corner(inside, at) for at in corners])
    crossed = signs.any(0) & ~signs.all(0)
    cells = np.argwhere(crossed)
    number = np.full(tuple(shape), -1)
    number[crossed] = np.arange(len(cells))
    total, hits = np.zeros((len(cells), 3)), np.zeros(len(cells))
    values = {at: corner(field, at)[crossed] for at in corners}
    for a in corners:
        for axis in range(3):
            if a[axis]:
                continue
            b = (a[0] + (axis == 0), a[1] + (axis == 1), a[2] + (axis == 2))
            first, second = values[a], values[b]
            cut = (first < 0) != (second < 0)
            share = np.where(cut, first / np.where(cut, first - second, 1), 0)
            place = np.tile(np.array(a, float), (len(cells), 1))
            place[:, axis] += share
            total[cut] += place[cut]
            hits[cut] += 1
    vertices = origin + step * (cells + total / hits[:, None])
    quads = [_around(inside, number, axis) for axis in range(3)]
    return vertices, np.concatenate(quads).astype(np.int32)


def _around(inside: NDArray[np.bool_], number: NDArray[np.int_], axis: int) -> NDArray[np.int_]:
    """A quad for every edge along ``axis`` that the surface crosses: the four cells that share it."""
    one, two = (axis + 1) % 3, (axis + 2) % 3
    low, high = [slice(None)] * 3, [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    start, end = inside[tuple(low)], inside[tuple(high)]
    edges = np.argwhere(start != end)
    within = (edges[:, [one, two]] > 0).all(1)
    within &= (edges[:, [one, two]] < np.array(number.shape)[[one, two]]).all(1)
    edges = edges[within]
    ring = []
    for back_one, back_two in ((1, 1), (0, 1), (0, 0), (1, 0)):
        cell = edges.copy()
        cell[:, one] -= back_one
        cell[:, two] -= back_two
        ring.append(number[tuple(cell.T)])
    quads = np.stack(ring, 1)
    leaves = start[tuple(edges.T)]  # from inside to outside along the axis
    return np.where(leaves[:, None], quads, quads[:, ::-1])
