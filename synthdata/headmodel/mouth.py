"""Lips that touch at rest, where ICT's stand 0.7 mm apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthdata.headmodel.layout import HalfMesh

F64 = NDArray[np.float64]
REST_GAP_M = -0.00012  # lips press on each other; a bare touch would let teeth glint through
# Share of the move by ring, counted from the innermost: the lips' line and its neighbours go the whole
# way, the outer lip less and less, and so does the lip's inside, whose last ring the mouth bag continues.
RING_SHARE = (0.25, 0.6, 1.0, 1.0, 1.0, 1.0, 0.85, 0.65, 0.45, 0.27, 0.12, 0.04)
MEETING_RINGS = slice(2, 6)  # from the innermost, among which the lips are nearest each other


def close_lips(mesh: HalfMesh, points: F64) -> F64:
    """The half's skin ``(N, 3)`` with upper and lower lip moved together, each by half the gap."""
    rings = mesh.mouth_rings[::-1]
    corner = int(np.argmax(points[rings[4], 0]))
    upper = _profile(points, [r[:corner:-1] for r in rings[MEETING_RINGS]], np.minimum)
    lower = _profile(points, [r[: corner + 1] for r in rings[MEETING_RINGS]], np.maximum)
    out = points.copy()
    for ring, share in zip(rings, RING_SHARE, strict=False):
        x = points[ring, 0]
        gap = np.maximum(np.interp(x, *upper) - np.interp(x, *lower) - REST_GAP_M, 0.0)
        side = np.clip((corner - np.arange(len(ring))) / 2.0, -1, 1)  # +1 lower lip, −1 upper
        out[ring, 1] += 0.5 * share * side * gap
    return out


def _profile(points: F64, lines: list[NDArray[np.intp]], extreme: np.ufunc) -> tuple[F64, F64]:
    """x, and the lip's extreme height over its rings there; each line runs outward from the midline."""
    x = np.linspace(0.0, min(float(points[line, 0].max()) for line in lines), 60)
    height = [np.interp(x, np.maximum.accumulate(points[line, 0]), points[line, 1]) for line in lines]
    return x, np.asarray(extreme.reduce(height))
