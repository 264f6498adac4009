"""The open head's skin as a block-structured all-quad layout of one half (x ≥ 0).

A grid of columns (front midline to back midline) and rows (neck to crown) wraps the head; its top is
closed by half of an O-grid's square cap; rectangular windows for the eye and (half) the mouth hold
concentric rings that end in ICT's lid and lip loops. Only window and cap corners are irregular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """Grid cells [c0, c1) × [r0, r1) replaced by rings; ``ends`` closed loop, or open at the midline."""

    c0: int
    c1: int
    r0: int
    r1: int
    free_rings: int  # rings between the border and the first pinned loop

    @property
    def on_midline(self) -> bool:
        return self.c0 == 0

    def border(self) -> list[tuple[int, int]]:
        """Anticlockwise (column, row): from the bottom left corner, or along the half from bottom to top."""
        bottom = [(c, self.r0) for c in range(self.c0, self.c1)]
        right = [(self.c1, r) for r in range(self.r0, self.r1)]
        top = [(c, self.r1) for c in range(self.c1, self.c0, -1)]
        if self.on_midline:
            return [*bottom, *right, *top, (0, self.r1)]
        return [*bottom, *right, *top, *[(self.c0, r) for r in range(self.r1, self.r0, -1)]]


@dataclass(frozen=True)
class Layout:
    """How many columns and rows, where they start out in the plane (angle θ, height s = −ln r)."""

    column_knots: tuple[tuple[int, float], ...]  # (column, θ)
    row_knots: tuple[tuple[int, float], ...]  # (row, s)
    eye: Window
    mouth: Window

    @property
    def columns(self) -> int:
        return self.column_knots[-1][0]

    @property
    def rows(self) -> int:
        return self.row_knots[-1][0]


DEFAULT = Layout(
    column_knots=((0, 0.0), (9, 0.11), (29, 0.40), (43, 1.10), (57, 2.05), (68, np.pi)),
    row_knots=(
        (0, 0.0),
        (17, 2.36),
        (22, 2.48),
        (34, 2.915),
        (54, 3.31),
        (68, 3.64),
        (83, 4.10),
        (90, 4.60),
    ),
    eye=Window(9, 29, 54, 68, free_rings=6),
    mouth=Window(0, 15, 22, 34, free_rings=5),
)


@dataclass(frozen=True)
class HalfMesh:
    """One half's quads and the roles of its vertices."""

    quads: I32  # (Q, 4) anticlockwise seen from outside
    start: F64  # (N, 2) first guess (θ, s); NaN for ring and cap vertices
    row: I32  # (N,) grid row, −1 elsewhere
    front: NDArray[np.intp]  # vertices on the front midline (θ = 0)
    back: NDArray[np.intp]  # vertices on the back midline (θ = π)
    cap: NDArray[np.intp]  # inner vertices of the cap
    cap_middle: NDArray[np.intp]  # those of them on the midline
    eye_rings: list[NDArray[np.intp]]  # border first, lid loop last, each anticlockwise
    mouth_rings: list[NDArray[np.intp]]  # border first; each runs from the lower to the upper midline


def build_half(layout: Layout, eye_pinned: int, mouth_pinned: int) -> HalfMesh:
    """Number the vertices of one half and list its quads; pinned loop counts extend the rings inward."""
    n, m = layout.columns, layout.rows
    if n % 4:
        raise ValueError("the number of columns of one half must be a multiple of four (cap corners)")
    theta = _interpolate(layout.column_knots, n)
    height = _interpolate(layout.row_knots, m)
    removed = {
        (c, r)
        for w in (layout.eye, layout.mouth)
        for c in range(w.c0 + (0 if w.on_midline else 1), w.c1)
        for r in range(w.r0 + 1, w.r1)
    }
    number: dict[tuple[int, int], int] = {}
    start: list[tuple[float, float]] = []
    row: list[int] = []
    for r in range(m + 1):
        for c in range(n + 1):
            if (c, r) not in removed:
                number[c, r] = len(start)
                start.append((theta[c], height[r]))
                row.append(r)
    quads = [
        [number[c, r], number[c + 1, r], number[c + 1, r + 1], number[c, r + 1]]
        for r in range(m)
        for c in range(n)
        if not any(w.c0 <= c < w.c1 and w.r0 <= r < w.r1 for w in (layout.eye, layout.mouth))
    ]
    front = [number[0, r] for r in range(m + 1) if (0, r) in number]
    back = [number[n, r] for r in range(m + 1)]
    rings = []
    total = len(start)
    for w, pinned in ((layout.eye, eye_pinned), (layout.mouth, mouth_pinned)):
        ring = [np.array([number[cell] for cell in w.border()])]
        size = len(ring[0])
        for _ in range(w.free_rings + pinned):
            inner = np.arange(total, total + size)
            total += size
            outer = ring[-1]
            around = range(size - 1) if w.on_midline else range(size)
            quads += [[outer[p], outer[(p + 1) % size], inner[(p + 1) % size], inner[p]] for p in around]
            if w.on_midline:
                front += [inner[0], inner[-1]]
            ring.append(inner)
        rings.append(ring)
    cap_number = {}
    q = n // 4
    for a in range(2 * q + 1):
        for b in range(q + 1):
            if a == 0:
                cap_number[a, b] = number[b, m]
            elif a == 2 * q:
                cap_number[a, b] = number[n - b, m]
            elif b == q:
                cap_number[a, b] = number[q + a, m]
            else:
                cap_number[a, b] = total
                total += 1
    quads += [
        [cap_number[a, b], cap_number[a, b + 1], cap_number[a + 1, b + 1], cap_number[a + 1, b]]
        for a in range(2 * q)
        for b in range(q)
    ]
    cap = [v for (a, b), v in cap_number.items() if 0 < a < 2 * q and b < q]
    blank = total - len(start)
    return HalfMesh(
        quads=np.asarray(quads, np.int32),
        start=np.concatenate([np.asarray(start), np.full((blank, 2), np.nan)]),
        row=np.concatenate([np.asarray(row), np.full(blank, -1)]).astype(np.int32),
        front=np.asarray(front),
        back=np.asarray(back),
        cap=np.asarray(cap),
        cap_middle=np.asarray([cap_number[a, 0] for a in range(1, 2 * q)]),
        eye_rings=rings[0],
        mouth_rings=rings[1],
    )


def _interpolate(knots: tuple[tuple[int, float], ...], last: int) -> F64:
    index, value = zip(*knots, strict=True)
    return np.interp(np.arange(last + 1), index, value)
