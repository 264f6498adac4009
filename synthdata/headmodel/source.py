"""ICT-FaceKit as the builder reads it: metres, halves found, edge loops walked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from backend.head.ict import load_ict
from backend.head.meshing import mirror_by_position

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]
SKIN_END, MOUTH_END, SOCKETS_END = 11248, 13294, 14062


@dataclass(frozen=True)
class IctSurface:
    """ICT's connected skin, mouth bag and sockets: vertices 0–14061, metres, exactly symmetric topology."""

    head: ParametricHead
    vertices: F64  # (14062, 3) mean, made exactly symmetric
    mirror: I32  # (14062,)

    @staticmethod
    def load(folder: Path) -> IctSurface:
        """Read the folder that holds ICT-FaceKit. Raises: Missing, BadInput."""
        head = load_ict(folder)
        v = head.mean_vertices[:SOCKETS_END].astype(np.float64)
        mirror = mirror_by_position(v)
        flipped = v[mirror] * np.array([-1.0, 1.0, 1.0])
        return IctSurface(head, 0.5 * (v + flipped), mirror)

    def quads_in(self, start: int, end: int) -> I32:
        """Quads of the connected surface whose innermost corner lies in vertices [start, end)."""
        q = self.head.quads
        top = q.max(1)
        return np.asarray(q[(top >= start) & (top < end)], np.int32)

    @cached_property
    def skin_quads(self) -> I32:
        return self.quads_in(0, SKIN_END)

    @cached_property
    def neighbours(self) -> dict[int, set[int]]:
        """Edge neighbours of every skin vertex."""
        table: dict[int, set[int]] = {}
        for q in self.skin_quads.tolist():
            for k in range(4):
                table.setdefault(q[k], set()).update((q[k - 1], q[(k + 1) % 4]))
        return table

    @cached_property
    def holes(self) -> dict[str, list[int]]:
        """Border loops of the skin: ``mouth``, ``neck``, ``eye_left``, ``eye_right``."""
        found = {}
        for loop in border_loops(self.skin_quads):
            p = self.vertices[loop]
            if p[:, 1].max() < -0.1:
                found["neck"] = loop
            elif np.abs(p[:, 0].mean()) < 1e-3:
                found["mouth"] = loop
            else:
                found["eye_left" if p[:, 0].mean() > 0 else "eye_right"] = loop
        return found

    def loops_around(self, hole: str, count: int) -> list[list[int]]:
        """``count`` edge loops, the hole's border first, vertex k of each joined to vertex k of the next."""
        loops = [list(self.holes[hole])]
        seen = set(loops[0])
        while len(loops) < count:
            outward = [[n for n in self.neighbours[c] if n not in seen] for c in loops[-1]]
            if any(len(o) != 1 for o in outward):
                raise ValueError(f"ICT has no {count} regular loops around {hole}")
            loops.append([o[0] for o in outward])
            seen.update(loops[-1])
        return loops


def border_loops(quads: Iterable[Iterable[int]]) -> list[list[int]]:
    """Closed loops of border vertices, each in the order in which the faces run along it."""
    directed: set[tuple[int, int]] = set()
    for q in np.asarray(quads).tolist():
        corners = [c for c in q if c >= 0]
        directed.update((corners[k - 1], corners[k]) for k in range(len(corners)))
    follow = {a: b for a, b in sorted(directed) if (b, a) not in directed}
    loops = []
    while follow:
        loop = [min(follow)]
        while (after := follow.pop(loop[-1])) != loop[0]:
            loop.append(after)
        loops.append(loop)
    return loops
