"""Light that falls on one half of the face only: compared across, kept where it is large in extent.

Skin is nearly symmetric, light is not. The log difference of the two sides is reduced to its large
structures by TV-L1 (Chan & Esedoglu 2005), which removes features by *size*, not by contrast: a mole
goes, a cast shadow stays with its edge sharp. What stays is taken for light.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.texture.grid import enlarge, weighted_reduce
from backend.uvspace.kernels import compiled, in_bands

_LEVELS = ((4, 120), (2, 60), (1, 30))  # reduction of the working grid, iterations


@compiled
def _dual_step(
    px: NDArray[np.float32],
    py: NDArray[np.float32],
    u: NDArray[np.float32],
    inside: NDArray[np.bool_],
    step: float,
    start: int,
    end: int,
) -> None:
    rows, columns, channels = u.shape
    for r in range(start, end):
        for c in range(columns):
            if not inside[r, c]:
                continue
            right = c + 1 < columns and inside[r, c + 1]
            down = r + 1 < rows and inside[r + 1, c]
            for k in range(channels):
                gx = px[r, c, k] + step * (u[r, c + 1, k] - u[r, c, k]) if right else 0.0
                gy = py[r, c, k] + step * (u[r + 1, c, k] - u[r, c, k]) if down else 0.0
                length = max(1.0, np.sqrt(gx * gx + gy * gy))
                px[r, c, k] = gx / length
                py[r, c, k] = gy / length


@compiled
def _primal_step(
    u: NDArray[np.float32],
    relaxed: NDArray[np.float32],
    px: NDArray[np.float32],
    py: NDArray[np.float32],
    data: NDArray[np.float32],
    fidelity: NDArray[np.float32],
    inside: NDArray[np.bool_],
    step: float,
    start: int,
    end: int,
) -> None:
    columns, channels = u.shape[1:]
    for r in range(start, end):
        for c in range(columns):
            if not inside[r, c]:
                continue
            for k in range(channels):
                divergence = px[r, c, k] + py[r, c, k]
                if c > 0:
                    divergence -= px[r, c - 1, k]
                if r > 0:
                    divergence -= py[r - 1, c, k]
                v = u[r, c, k] + step * divergence
                gap = v - data[r, c, k]
                limit = step * fidelity[r, c]
                new = data[r, c, k] if abs(gap) <= limit else v - (limit if gap > 0 else -limit)
                relaxed[r, c, k] = 2 * new - u[r, c, k]
                u[r, c, k] = new


def large_structures(data: F32, weight: F32, inside: NDArray[np.bool_], radius: float) -> F32:
    """``data`` ``(R, C, K)`` without features of less than about ``radius`` texels, edges kept sharp.

    ``weight`` ``(R, C)`` in [0, 1] says how far a texel is believed; unbelieved ones are filled in. TV-L1 by
    Chambolle & Pock (2011), coarse to fine.
    """
    size = data.shape[0]
    u: F32 | None = None
    for factor, iterations in _LEVELS:
        if size % factor or size // factor < 16:
            continue
        mask = (weight * inside).astype(np.float32)
        f, cover = weighted_reduce(data, np.maximum(mask, 1e-4 * inside), factor)
        _, present = weighted_reduce(data, inside.astype(np.float32), factor)
        live = present > 0.25
        u = f.copy() if u is None else _as_image(enlarge(u, size // factor), data.shape[2])
        u = np.where(live[..., None], u, 0).astype(np.float32)
        # A disc of radius r survives TV-L1 when r > 2 / fidelity.
        fidelity = (2 * factor / max(radius, 1e-3) * np.minimum(cover, 1)).astype(np.float32)
        _iterate(u, f, fidelity, live, iterations)
    if u is None:
        raise ValueError(f"a grid of {size} texels is too small to compare the two sides of a face")
    return u


def _iterate(u: F32, data: F32, fidelity: F32, live: NDArray[np.bool_], iterations: int) -> None:
    """Chambolle & Pock's steps, ``u`` ``(R, C, K)`` in place."""
    relaxed, px, py = u.copy(), np.zeros_like(u), np.zeros_like(u)
    step = 1 / np.sqrt(8.0)
    for _ in range(iterations):
        in_bands(lambda start, end: _dual_step(px, py, relaxed, live, step, start, end), len(u), 64)
        in_bands(
            lambda start, end: _primal_step(u, relaxed, px, py, data, fidelity, live, step, start, end),
            len(u),
            64,
        )


def _as_image(field: F32, channels: int) -> F32:
    return field.reshape(*field.shape[:2], channels)
