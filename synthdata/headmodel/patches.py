"""The parts of ICT's mesh that the open head keeps face by face: the ear within its base, the nostril.

A map to the plane crushes ears and nostrils; ICT's own edge loops follow helix, antihelix, concha, canal
and the nostril's tube.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from synthdata.headmodel.layout import Patch
from synthdata.headmodel.source import IctSurface

I32 = NDArray[np.int32]

# ICT's vertices on the subject's left. The ear's base: from the lobe's front round the back to the top, and
# down before the tragus. The nostril: an edge of the loop on its rim.
EAR_BACK, EAR_CORNER, EAR_FRONT = (2256, 7163), 3495, (3495, 3494)
NOSTRIL_RIM = (5466, 5247)


def ear_patch(surface: IctSurface) -> Patch:
    """The left ear, inside a loop round its base."""
    walker = _Walker(_left_quads(surface))
    back = walker.walk(*EAR_BACK, until=EAR_CORNER)
    front = walker.walk(*EAR_FRONT, until=EAR_BACK[0], through_poles=True)
    return walker.patch(back[:-1] + front[:-1])


def nostril_patch(surface: IctSurface) -> Patch:
    """The left nostril, inside the loop on its rim."""
    walker = _Walker(_left_quads(surface))
    return walker.patch(walker.walk(*NOSTRIL_RIM, until=NOSTRIL_RIM[0])[:-1])


def _left_quads(surface: IctSurface) -> I32:
    quads = surface.skin_quads
    return np.asarray(quads[surface.vertices[quads, 0].mean(1) > 0])


class _Walker:
    """Edges and faces of a quad mesh."""

    def __init__(self, quads: I32) -> None:
        self.quads = quads

    @cached_property
    def faces_of(self) -> dict[tuple[int, int], int]:
        """The face on the left of each directed edge."""
        return {
            (int(q[k]), int(q[(k + 1) % 4])): f for f, q in enumerate(self.quads.tolist()) for k in range(4)
        }

    @cached_property
    def around(self) -> dict[int, set[int]]:
        table: dict[int, set[int]] = {}
        for a, b in self.faces_of:
            table.setdefault(a, set()).add(b)
            table.setdefault(b, set()).add(a)
        return table

    def walk(self, a: int, b: int, until: int, through_poles: bool = False) -> list[int]:
        """Vertices of the edge path that starts a → b and runs straight on until ``until``.

        With ``through_poles`` it leaves two faces on its right at a vertex of valence five. Raises:
        ValueError where no straight way goes on.
        """
        path = [a, b]
        while path[-1] != until:
            spin = self._spin(path[-1], path[-2])
            if len(spin) != 4 and not (through_poles and len(spin) == 5):
                raise ValueError(f"ICT's edges do not run straight on at vertex {path[-1]}")
            path.append(spin[2])
            if len(path) > 200:
                raise ValueError(f"ICT's edges from {a} over {b} do not reach {until}")
        return path

    def _spin(self, centre: int, first: int) -> list[int]:
        """Neighbours of an inner vertex, anticlockwise from ``first``."""
        spin = [first]
        while True:
            q = self.quads[self.faces_of[centre, spin[-1]]].tolist()
            nxt = int(q[q.index(centre) - 1])
            if nxt == first:
                return spin
            spin.append(nxt)

    def patch(self, border: list[int]) -> Patch:
        """The smaller of the two sides of a closed edge path, its border anticlockwise from outside."""
        sides = []
        for loop in (border, border[::-1]):
            edges = set(zip(loop, loop[1:] + loop[:1], strict=True))
            stop = edges | {(b, a) for a, b in edges}
            found = {self.faces_of[e] for e in edges}
            todo = list(found)
            while todo:
                q = self.quads[todo.pop()].tolist()
                for k in range(4):
                    edge = (q[k], q[(k + 1) % 4])
                    other = self.faces_of.get((edge[1], edge[0]))
                    if edge not in stop and other is not None and other not in found:
                        found.add(other)
                        todo.append(other)
            sides.append(Patch(loop, self.quads[sorted(found)]))
        return min(sides, key=lambda side: len(side.quads))
