"""Screened Poisson equations on a masked texel grid, by multigrid-preconditioned conjugate gradients.

Minimises ``Σ sᵢ (uᵢ − dᵢ)² + Σ wᵢⱼ (uᵢ − uⱼ − gᵢⱼ)²`` over the texels and edges of a mask (Pérez et al.
2003 with a data term). The V-cycle aggregates 2×2 texels, so any mask coarsens without special
cases: a coarse edge carries half the sum of the fine edges that cross it, which is the
discretisation at the doubled step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.uvspace.kernels import compiled, in_bands

_COARSEST = 4  # texels a side at which plain relaxation is exact enough
_LEAST_ROWS = 64  # of a band: fewer are not worth a thread


@dataclass(frozen=True)
class _Level:
    screen: F32  # (R, C) ≥ 0
    right: F32  # (R, C) weight of the edge to the texel on the right, 0 in the last column
    down: F32  # (R, C) weight of the edge to the texel below, 0 in the last row
    diagonal: F32  # (R, C), 1 where nothing is attached


def solve(
    data: F32,
    screen: F32,
    guide_right: F32,
    guide_down: F32,
    inside: NDArray[np.bool_],
    *,
    iterations: int = 30,
    tolerance: float = 1e-4,
) -> F32:
    """The minimiser ``u`` ``(R, C, K)``; 0 outside the mask.

    ``data`` ``(R, C, K)`` with weights ``screen`` ``(R, C)`` ≥ 0; ``guide_right[r, c]`` is the wanted
    ``u[r, c+1] − u[r, c]`` and ``guide_down[r, c]`` the wanted ``u[r+1, c] − u[r, c]``, both
    ``(R, C, K)``; edges that leave ``inside`` do not count. ``tolerance`` is relative to the
    right-hand side. A connected piece of the mask without any screen keeps its mean at 0.
    """
    levels = _levels(screen, inside)
    top = levels[0]
    b = np.where(inside[..., None], screen[..., None] * data, 0).astype(np.float32)
    flow_right = top.right[..., None] * guide_right
    flow_down = top.down[..., None] * guide_down
    b -= flow_right + flow_down
    b[:, 1:] += flow_right[:, :-1]
    b[1:] += flow_down[:-1]
    return _conjugate_gradients(levels, b, inside, iterations, tolerance)


def apply(u: F32, screen: F32, inside: NDArray[np.bool_]) -> F32:
    """The equation's left-hand side at ``u`` ``(R, C, K)``, for checks."""
    return _matvec(_finest(screen, inside), u)


def _finest(screen: F32, inside: NDArray[np.bool_]) -> _Level:
    s = np.where(inside, screen, 0).astype(np.float32)
    right = np.zeros_like(s)
    down = np.zeros_like(s)
    right[:, :-1] = inside[:, :-1] & inside[:, 1:]
    down[:-1] = inside[:-1] & inside[1:]
    return _level(s, right, down)


def _level(screen: F32, right: F32, down: F32) -> _Level:
    diagonal = screen + right + down
    diagonal[:, 1:] += right[:, :-1]
    diagonal[1:] += down[:-1]
    return _Level(screen, right, down, np.where(diagonal > 0, diagonal, 1).astype(np.float32))


def _levels(screen: F32, inside: NDArray[np.bool_]) -> list[_Level]:
    levels = [_finest(screen, inside)]
    while min(levels[-1].screen.shape) > _COARSEST:
        fine = levels[-1]
        rows, columns = fine.screen.shape
        pad = ((0, rows % 2), (0, columns % 2))
        s, right, down = (np.pad(a, pad) for a in (fine.screen, fine.right, fine.down))
        levels.append(
            _level(
                s[::2, ::2] + s[1::2, ::2] + s[::2, 1::2] + s[1::2, 1::2],
                (0.5 * (right[::2, 1::2] + right[1::2, 1::2])).astype(np.float32),
                (0.5 * (down[1::2, ::2] + down[1::2, 1::2])).astype(np.float32),
            )
        )
    return levels


@compiled
def _multiply(
    u: NDArray[np.float32],
    diagonal: NDArray[np.float32],
    right: NDArray[np.float32],
    down: NDArray[np.float32],
    start: int,
    end: int,
    out: NDArray[np.float32],
) -> None:
    rows, columns, channels = u.shape
    for r in range(start, end):
        for c in range(columns):
            for k in range(channels):
                total = diagonal[r, c] * u[r, c, k]
                if c + 1 < columns:
                    total -= right[r, c] * u[r, c + 1, k]
                if c > 0:
                    total -= right[r, c - 1] * u[r, c - 1, k]
                if r + 1 < rows:
                    total -= down[r, c] * u[r + 1, c, k]
                if r > 0:
                    total -= down[r - 1, c] * u[r - 1, c, k]
                out[r, c, k] = total


@compiled
def _relax_rows(
    u: NDArray[np.float32],
    b: NDArray[np.float32],
    diagonal: NDArray[np.float32],
    right: NDArray[np.float32],
    down: NDArray[np.float32],
    colour: int,
    start: int,
    end: int,
) -> None:
    """One half sweep of red-black Gauss-Seidel, in place."""
    rows, columns, channels = u.shape
    for r in range(start, end):
        for c in range((r + colour) % 2, columns, 2):
            for k in range(channels):
                total = b[r, c, k]
                if c + 1 < columns:
                    total += right[r, c] * u[r, c + 1, k]
                if c > 0:
                    total += right[r, c - 1] * u[r, c - 1, k]
                if r + 1 < rows:
                    total += down[r, c] * u[r + 1, c, k]
                if r > 0:
                    total += down[r - 1, c] * u[r - 1, c, k]
                u[r, c, k] = total / diagonal[r, c]


def _matvec(level: _Level, u: F32) -> F32:
    matrix, out = (level.diagonal, level.right, level.down), np.empty_like(u)
    in_bands(lambda start, end: _multiply(u, *matrix, start, end, out), len(u), _LEAST_ROWS)
    return out


def _relax(u: F32, b: F32, level: _Level, colour: int) -> None:
    matrix = (level.diagonal, level.right, level.down)
    in_bands(lambda start, end: _relax_rows(u, b, *matrix, colour, start, end), len(u), _LEAST_ROWS)


def _cycle(levels: list[_Level], depth: int, b: F32) -> F32:
    """A symmetric V-cycle from a zero guess (symmetric, so that it may precondition)."""
    level = levels[depth]
    u = np.zeros_like(b)
    last = depth + 1 == len(levels)
    for _ in range(8 if last else 1):
        _relax(u, b, level, 0)
        _relax(u, b, level, 1)
    if not last:
        residual = b - _matvec(level, u)
        rows, columns = residual.shape[:2]
        padded = np.pad(residual, ((0, rows % 2), (0, columns % 2), (0, 0)))
        coarse = padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
        correction = _cycle(levels, depth + 1, coarse)
        u += correction.repeat(2, 0).repeat(2, 1)[:rows, :columns]
    for _ in range(8 if last else 1):
        _relax(u, b, level, 1)
        _relax(u, b, level, 0)
    return u


def _conjugate_gradients(
    levels: list[_Level], b: F32, inside: NDArray[np.bool_], iterations: int, tolerance: float
) -> F32:
    u = np.zeros_like(b)
    residual = b.copy()
    target = tolerance * np.maximum(_norm(b), 1e-12)
    z = _cycle(levels, 0, residual)
    direction = z
    rho = _dot(residual, z)
    for _ in range(iterations):
        if (_norm(residual) <= target).all():
            break
        image = _matvec(levels[0], direction)
        step = (rho / np.maximum(_dot(direction, image), 1e-30)).astype(np.float32)
        u += step * direction
        residual -= step * image
        z = _cycle(levels, 0, residual)
        new = _dot(residual, z)
        direction = z + (new / np.maximum(rho, 1e-30)).astype(np.float32) * direction
        rho = new
    u[~inside] = 0
    return u


def _dot(a: F32, b: F32) -> NDArray[np.float64]:
    flat_a, flat_b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    out: NDArray[np.float64] = np.einsum("nk,nk->k", flat_a, flat_b, dtype=np.float64)
    return out


def _norm(a: F32) -> NDArray[np.float64]:
    out: NDArray[np.float64] = np.sqrt(_dot(a, a))
    return out
