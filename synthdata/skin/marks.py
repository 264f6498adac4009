"""Single things on skin, each in its place: round spots (pores, moles, drops) and lines (folds, hairs)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from backend.artifacts import F32
from backend.uvspace.kernels import compiled, in_bands
from synthdata.skin.fields import I32, LEAST_POINTS

LEAST_CELL_MM = 1.5
REACH = 2.6  # of a mark, in its widths
LOST = 0.03  # share of a spot's height in coarse texels, below which it is left out
SAME_SIDE = 0.25  # cosine between normals, below which a mark lies on another fold of skin


@dataclass(frozen=True)
class Grid:
    """Which marks reach into each cube of a lattice."""

    origin_mm: F32  # (4,) x, y, z of the first cube's corner, and the side of a cube
    shape: I32  # (3,) cubes
    begin: I32  # (cubes + 1,)
    marks: I32  # (begin[-1],)


@dataclass(frozen=True)
class Spots:
    """Round marks; each adds its values times a bell of its radius."""

    centre_mm: F32  # (N, 3)
    normal: F32  # (N, 3)
    radius_mm: F32  # (N,)
    values: F32  # (N, C)
    flat: float = 1.0  # exponent of the bell: 1 is Gaussian, more is flat with a steep border

    def grid(self, low_mm: F32, high_mm: F32, footprint_mm: F32) -> Grid:
        """Where they are, within a box; ``footprint_mm`` ``(N,)`` of the texels there."""
        reach = _reach(self.radius_mm, footprint_mm)
        lost = self.radius_mm**2 < LOST * 0.5 * footprint_mm**2
        reach[lost] = -np.inf  # an empty box
        return _grid(self.centre_mm - reach, self.centre_mm + reach, low_mm, high_mm)

    def at(self, grid: Grid, points_mm: F32, normals: F32, footprint_mm: F32) -> tuple[F32, F32]:
        """Sums ``(N, C)`` at points, and the gradient ``(N, 3)`` of the first of them."""
        out = np.zeros((len(points_mm), self.values.shape[1]), np.float32)
        slope = np.zeros((len(points_mm), 3), np.float32)
        if len(self.centre_mm):
            in_bands(
                lambda a, b: _spots(
                    (points_mm, normals, footprint_mm),
                    (self.centre_mm, self.normal, self.radius_mm, self.values),
                    self.flat,
                    (grid.origin_mm, grid.shape, grid.begin, grid.marks),
                    a,
                    b,
                    out,
                    slope,
                ),
                len(out),
                LEAST_POINTS,
            )
        return out, slope


@dataclass(frozen=True)
class Lines:
    """Straight pieces of lines; where several reach, the strongest counts (folds) or all do (hairs)."""

    start_mm: F32  # (N, 3)
    end_mm: F32  # (N, 3)
    normal: F32  # (N, 3)
    width_mm: F32  # (N,)
    strength: F32  # (N, 2) at start and end

    def grid(self, low_mm: F32, high_mm: F32, footprint_mm: F32) -> Grid:
        """Where they are, within a box; ``footprint_mm`` ``(N,)`` of the texels there."""
        reach = _reach(self.width_mm, footprint_mm)
        low, high = np.minimum(self.start_mm, self.end_mm), np.maximum(self.start_mm, self.end_mm)
        return _grid(low - reach, high + reach, low_mm, high_mm)

    def strongest(self, grid: Grid, points_mm: F32, normals: F32, footprint_mm: F32) -> tuple[F32, F32]:
        """The deepest fold's depth ``(N,)``, 0 or more, at points, and its gradient ``(N, 3)``."""
        return self._drawn(grid, points_mm, normals, footprint_mm, False)

    def covered(self, grid: Grid, points_mm: F32, normals: F32, footprint_mm: F32) -> tuple[F32, F32]:
        """Share ``(N,)`` of each texel that hairs cover, and the gradient ``(N, 3)`` of their sum."""
        total, slope = self._drawn(grid, points_mm, normals, footprint_mm, True)
        return (1 - np.exp(-total)).astype(np.float32), slope

    def _drawn(
        self, grid: Grid, points_mm: F32, normals: F32, footprint_mm: F32, adds: bool
    ) -> tuple[F32, F32]:
        out = np.zeros(len(points_mm), np.float32)
        slope = np.zeros((len(points_mm), 3), np.float32)
        if len(self.start_mm):
            in_bands(
                lambda a, b: _lines(
                    (points_mm, normals, footprint_mm),
                    (self.start_mm, self.end_mm, self.normal, self.width_mm, self.strength),
                    adds,
                    (grid.origin_mm, grid.shape, grid.begin, grid.marks),
                    a,
                    b,
                    out,
                    slope,
                ),
                len(out),
                LEAST_POINTS,
            )
        return out, slope


def _reach(width: F32, footprint: F32) -> F32:
    # Half as wide again: texels within a mark's reach may be coarser than those in its middle.
    return np.asarray((REACH * np.sqrt(width**2 + 0.5 * (1.5 * footprint) ** 2))[:, None], np.float32)


def _grid(low: F32, high: F32, box_low: F32, box_high: F32) -> Grid:
    # Cubes about as large as the marks, which coarse texels widen: none of them lies in very many.
    extent = (high - low).max(1) if len(low) else np.zeros(0, np.float32)
    extent = extent[extent > 0]
    cell = max(LEAST_CELL_MM, 0.5 * float(np.median(extent))) if len(extent) else LEAST_CELL_MM
    shape = np.maximum(np.ceil((box_high - box_low) / cell).astype(np.int64) + 1, 1).astype(np.int32)
    # An empty box has its corners at ±infinity, which end up in the wrong order.
    first = np.clip(np.floor((low - box_low) / cell), 0, shape - 1).astype(np.int32)
    last = np.clip(np.floor((high - box_low) / cell), 0, shape - 1).astype(np.int32)
    begin = np.zeros(int(shape.astype(np.int64).prod()) + 1, np.int32)
    _count(first, last, shape, begin)
    np.cumsum(begin, out=begin)
    marks = np.empty(int(begin[-1]), np.int32)
    _enter(first, last, shape, begin[:-1].copy(), marks)
    return Grid(np.append(box_low, cell).astype(np.float32), shape, begin, marks)


@compiled
def _count(first: I32, last: I32, shape: I32, begin: I32) -> None:
    for n in range(len(first)):
        for i in range(first[n, 0], last[n, 0] + 1):
            for j in range(first[n, 1], last[n, 1] + 1):
                for k in range(first[n, 2], last[n, 2] + 1):
                    begin[(i * shape[1] + j) * shape[2] + k + 1] += 1


@compiled
def _enter(first: I32, last: I32, shape: I32, filled: I32, marks: I32) -> None:
    for n in range(len(first)):
        for i in range(first[n, 0], last[n, 0] + 1):
            for j in range(first[n, 1], last[n, 1] + 1):
                for k in range(first[n, 2], last[n, 2] + 1):
                    cell = (i * shape[1] + j) * shape[2] + k
                    marks[filled[cell]] = n
                    filled[cell] += 1


@compiled
def _cell(point: F32, origin: F32, shape: I32) -> int:
    i = min(max(int((point[0] - origin[0]) / origin[3]), 0), shape[0] - 1)
    j = min(max(int((point[1] - origin[1]) / origin[3]), 0), shape[1] - 1)
    k = min(max(int((point[2] - origin[2]) / origin[3]), 0), shape[2] - 1)
    return int((i * shape[1] + j) * shape[2] + k)


@compiled
def _spots(
    at: tuple[F32, F32, F32],
    spots: tuple[F32, F32, F32, F32],
    flat: float,
    grid: tuple[F32, I32, I32, I32],
    start: int,
    end: int,
    out: F32,
    slope: F32,
) -> None:
    points, normals, footprint = at
    centre, facing, radius, values = spots
    origin, shape, begin, marks = grid
    for n in range(start, end):
        cell = _cell(points[n], origin, shape)
        blur = (0.5 * footprint[n]) ** 2 * 2
        for m in range(begin[cell], begin[cell + 1]):
            s = marks[m]
            dx, dy, dz = points[n, 0] - centre[s, 0], points[n, 1] - centre[s, 1], points[n, 2] - centre[s, 2]
            wide = radius[s] * radius[s] + blur
            q = (dx * dx + dy * dy + dz * dz) / wide
            if q > REACH * REACH:
                continue
            side = normals[n, 0] * facing[s, 0] + normals[n, 1] * facing[s, 1] + normals[n, 2] * facing[s, 2]
            if side < SAME_SIDE:
                continue
            power = q**flat
            bell = math.exp(-power) * radius[s] * radius[s] / wide
            for c in range(out.shape[1]):
                out[n, c] += values[s, c] * bell
            fall = -2 * flat * (power / max(q, 1e-9)) * bell * values[s, 0] / wide
            slope[n, 0] += fall * dx
            slope[n, 1] += fall * dy
            slope[n, 2] += fall * dz


@compiled
def _lines(
    at: tuple[F32, F32, F32],
    lines: tuple[F32, F32, F32, F32, F32],
    adds: bool,
    grid: tuple[F32, I32, I32, I32],
    start: int,
    end: int,
    out: F32,
    slope: F32,
) -> None:
    points, normals, footprint = at
    tail, tip, facing, width, strength = lines
    origin, shape, begin, marks = grid
    for n in range(start, end):
        cell = _cell(points[n], origin, shape)
        blur = (0.5 * footprint[n]) ** 2 * 2
        for m in range(begin[cell], begin[cell + 1]):
            s = marks[m]
            ex, ey, ez = tip[s, 0] - tail[s, 0], tip[s, 1] - tail[s, 1], tip[s, 2] - tail[s, 2]
            px, py, pz = points[n, 0] - tail[s, 0], points[n, 1] - tail[s, 1], points[n, 2] - tail[s, 2]
            along = (px * ex + py * ey + pz * ez) / max(ex * ex + ey * ey + ez * ez, 1e-9)
            along = min(max(along, 0.0), 1.0)
            dx, dy, dz = px - along * ex, py - along * ey, pz - along * ez
            wide = width[s] * width[s] + blur
            q = (dx * dx + dy * dy + dz * dz) / wide
            if q > REACH * REACH:
                continue
            side = normals[n, 0] * facing[s, 0] + normals[n, 1] * facing[s, 1] + normals[n, 2] * facing[s, 2]
            if side < SAME_SIDE:
                continue
            peak = ((1 - along) * strength[s, 0] + along * strength[s, 1]) * width[s] / math.sqrt(wide)
            value = peak * math.exp(-q)
            fall = -2 * value / wide
            if adds:
                out[n] += value
                slope[n, 0] += fall * dx
                slope[n, 1] += fall * dy
                slope[n, 2] += fall * dz
            elif value > out[n]:
                out[n] = value
                slope[n, 0], slope[n, 1], slope[n, 2] = fall * dx, fall * dy, fall * dz
