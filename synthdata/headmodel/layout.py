"""The open head's skin as a block-structured all-quad layout of one half (x ≥ 0).

A grid of columns (front midline to back midline) and rows (neck to crown) wraps the head; its top is
closed by half of a rectangular cap; rectangular windows hold concentric rings: for the eye and (half) the
mouth they end in ICT's lid and lip loops, for the nostril and the ear in the border of a patch of ICT's own
faces. Rows that reach the ear from the face may end in it, so that the back of the head has fewer. Outside
the patches only window and cap corners are irregular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """Grid cells [c0, c1) × [r0, r1) replaced by rings: closed loops, or open at the midline.

    ``ending_rows`` end in the window: the grid beyond column c1 lacks them.
    """

    c0: int
    c1: int
    r0: int
    r1: int
    free_rings: int  # rings between the border and the first pinned loop
    ending_rows: tuple[int, ...] = ()
    turn: int = 0  # vertices by which a patch is turned (clockwise) from where it faces the border best

    @property
    def on_midline(self) -> bool:
        return self.c0 == 0

    def border(self) -> list[tuple[int, int]]:
        """Anticlockwise (column, row): from the bottom left corner, or along the half from bottom to top."""
        bottom = [(c, self.r0) for c in range(self.c0, self.c1)]
        right = [(self.c1, r) for r in range(self.r0, self.r1) if r not in self.ending_rows]
        top = [(c, self.r1) for c in range(self.c1, self.c0, -1)]
        if self.on_midline:
            return [*bottom, *right, *top, (0, self.r1)]
        return [*bottom, *right, *top, *[(self.c0, r) for r in range(self.r1, self.r0, -1)]]


@dataclass(frozen=True)
class Layout:
    """How many columns and rows, where they start out in the plane (angle θ, height s = −ln r)."""

    column_knots: tuple[tuple[int, float], ...]  # (column, θ)
    row_knots: tuple[tuple[int, float], ...]  # (row, s)
    cap_columns: int  # columns from the front midline to the cap's corner, and from the back one
    eye: Window
    mouth: Window
    nostril: Window
    ear: Window

    @property
    def columns(self) -> int:
        return self.column_knots[-1][0]

    @property
    def rows(self) -> int:
        return self.row_knots[-1][0]

    @property
    def windows(self) -> tuple[Window, ...]:
        return (self.eye, self.mouth, self.nostril, self.ear)


@dataclass(frozen=True)
class Patch:
    """Faces kept as they are inside a window's last ring."""

    border: list[int]  # vertex ids, anticlockwise seen from outside
    quads: I32  # (Q, 4) vertex ids

    @property
    def inner(self) -> list[int]:
        """Vertex ids that are not on the border, ascending."""
        return sorted(set(self.quads.ravel().tolist()) - set(self.border))


DEFAULT = Layout(
    column_knots=((0, 0.0), (9, 0.11), (29, 0.40), (38, 1.10), (50, 2.05), (59, np.pi)),
    row_knots=(
        (0, 0.0),
        (7, 2.36),
        (13, 2.48),
        (25, 2.915),
        (44, 3.31),
        (58, 3.64),
        (68, 4.50),
    ),
    cap_columns=20,
    eye=Window(9, 29, 44, 58, free_rings=6),
    mouth=Window(0, 17, 13, 25, free_rings=8),
    nostril=Window(3, 9, 27, 33, free_rings=1),
    ear=Window(38, 50, 33, 49, free_rings=2, ending_rows=tuple(range(34, 49, 2)), turn=-1),
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
    nostril_rings: list[NDArray[np.intp]]  # border first, the patch's border last, each anticlockwise
    ear_rings: list[NDArray[np.intp]]
    nostril_tube: NDArray[np.intp]  # the nostril's patch within its border
    patch_vertices: NDArray[np.intp]  # of both patches, their borders' among them
    patch_ids: NDArray[np.intp]  # the patches' own ids of those


def build_half(layout: Layout, eye_pinned: int, mouth_pinned: int, nostril: Patch, ear: Patch) -> HalfMesh:
    """Number the vertices of one half and list its quads.

    Pinned loop counts extend the rings of eye and mouth inward. Vertex k of a patch's border continues
    vertex k of its window's. Raises: ValueError when border and window differ in length.
    """
    n, m = layout.columns, layout.rows
    theta = _interpolate(layout.column_knots, n)
    height = _interpolate(layout.row_knots, m)
    number: dict[tuple[int, int], int] = {}
    start: list[tuple[float, float]] = []
    row: list[int] = []
    for r in range(m + 1):
        for c in range(n + 1):
            if not any(_swallows(w, c, r) for w in layout.windows):
                number[c, r] = len(start)
                start.append((theta[c], height[r]))
                row.append(r)
    quads = []
    for r in range(m):
        for c in range(n):
            if any(w.c0 <= c < w.c1 and w.r0 <= r < w.r1 for w in layout.windows) or (c + 1, r) not in number:
                continue
            over = next(k for k in range(r + 1, m + 1) if (c + 1, k) in number)
            if (c, r) in number:
                quads.append([number[c, r], number[c + 1, r], number[c + 1, over], number[c, over]])
    front = [number[0, r] for r in range(m + 1) if (0, r) in number]
    back = [number[n, r] for r in range(m + 1) if (n, r) in number]
    total = len(start)
    rings: list[list[NDArray[np.intp]]] = []
    for w, pinned in zip(layout.windows, (eye_pinned, mouth_pinned, 1, 1), strict=True):
        ring = [np.array([number[cell] for cell in w.border()])]
        size = len(ring[0])
        for _ in range(w.free_rings + pinned):
            inner = np.arange(total, total + size)
            total += size
            outer = ring[-1]
            around = range(size - 1) if w.on_midline else range(size)
            quads += [[outer[p], outer[(p + 1) % size], inner[(p + 1) % size], inner[p]] for p in around]
            if w.on_midline:
                front += [int(inner[0]), int(inner[-1])]
            ring.append(inner)
        rings.append(ring)
    patch_vertices, patch_ids = [], []
    for patch, ring in ((nostril, rings[2]), (ear, rings[3])):
        if len(patch.border) != len(ring[-1]):
            raise ValueError(
                f"a patch with {len(patch.border)} border vertices in a window of {len(ring[-1])}"
            )
        ids = [*patch.border, *patch.inner]
        own = [*ring[-1].tolist(), *range(total, total + len(patch.inner))]
        total += len(patch.inner)
        where = dict(zip(ids, own, strict=True))
        quads += [[where[c] for c in q] for q in patch.quads.tolist()]
        patch_vertices += own
        patch_ids += ids
    cap_quads, cap, cap_middle, total = _cap(layout, number, total)
    blank = total - len(start)
    return HalfMesh(
        quads=np.asarray(quads + cap_quads, np.int32),
        start=np.concatenate([np.asarray(start), np.full((blank, 2), np.nan)]),
        row=np.concatenate([np.asarray(row), np.full(blank, -1)]).astype(np.int32),
        front=np.asarray(front),
        back=np.asarray(back),
        cap=np.asarray(cap),
        cap_middle=np.asarray(cap_middle),
        eye_rings=rings[0],
        mouth_rings=rings[1],
        nostril_rings=rings[2],
        ear_rings=rings[3],
        nostril_tube=np.setdiff1d(patch_vertices[: len(nostril.border) + len(nostril.inner)], rings[2][-1]),
        patch_vertices=np.asarray(patch_vertices),
        patch_ids=np.asarray(patch_ids),
    )


def _swallows(window: Window, c: int, r: int) -> bool:
    """Whether the grid lacks vertex (c, r) because of ``window``."""
    inside = window.r0 < r < window.r1 and (window.c0 < c or window.on_midline) and c < window.c1
    return inside or (c >= window.c1 and r in window.ending_rows)


def _cap(
    layout: Layout, number: dict[tuple[int, int], int], total: int
) -> tuple[list[list[int]], list[int], list[int], int]:
    """The cap over the last row: quads, new vertices, those on the midline, the vertex count with them."""
    n, m, f = layout.columns, layout.rows, layout.cap_columns
    deep = n - 2 * f
    at: dict[tuple[int, int], int] = {}
    cap, middle = [], []
    for a in range(deep + 1):
        for b in range(f + 1):
            if a == 0:
                at[a, b] = number[b, m]
            elif a == deep:
                at[a, b] = number[n - b, m]
            elif b == f:
                at[a, b] = number[f + a, m]
            else:
                at[a, b] = total
                cap.append(total)
                if b == 0:
                    middle.append(total)
                total += 1
    quads = [[at[a, b], at[a, b + 1], at[a + 1, b + 1], at[a + 1, b]] for a in range(deep) for b in range(f)]
    return quads, cap, middle, total


def _interpolate(knots: tuple[tuple[int, float], ...], last: int) -> F64:
    index, value = zip(*knots, strict=True)
    return np.interp(np.arange(last + 1), index, value)
