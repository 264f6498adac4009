"""Lids in combinations: closed ones lie on the eyeball and meet, whatever else the face does.

All is worked out for the subject's left eye on the mean head.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from backend.head.base import ParametricHead
from synthdata.headmodel.contact import Missing, Sheet
from synthdata.headmodel.eyes import GAZES_DEG, outer_profile, turn
from synthdata.headmodel.follow import together, vertices_of
from synthdata.headmodel.relax import edges_of
from synthdata.headmodel.skin import EYE_LOOPS

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

BLINK = "eyeBlinkLeft"
BETWEEN = "1 - "  # before an expression whose weight w takes part as 1 − w
# What moves lids or eyeball and is made together with closing eyes.
PARTNERS = (
    "eyeLookUpLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeWideLeft",
    "eyeSquintLeft",
    "cheekSquintLeft",
    "browDownLeft",
    "browOuterUpLeft",
    "browInnerUp",
    "noseSneerLeft",
    "mouthSmileLeft",
)
CLEARANCE_M = 0.00025  # closed lids over eyeball and cornea, at least
OVERLAP_M = 0.0001  # of closed lids
CORNER_M = 0.002  # from the ends of the opening, within which the lines run together
FREE_RINGS = 4  # around the lash line, that lids move
STAY_M, GONE_M = 0.003, 0.014  # from the lash line: where a closed lid ignores others, and where it follows
SOCKET_REACH_M = 0.025  # of the eye's centre, in which the opening's border is sought


class Lids:
    """The left lids of one head: rings round the opening, and what follows them."""

    def __init__(self, head: ParametricHead) -> None:
        self.head = head
        self.rest = head.mean_vertices.astype(np.float64)
        self.centre = head.eye_centres[0].astype(np.float64)
        ball = vertices_of(head, "eye_left")
        self._radius = float(np.linalg.norm(self.rest[ball] - self.centre, axis=1).max())
        self.depth = _rings(head, self.rest, self.centre)
        self.lash_ring = len(EYE_LOOPS) - 1
        skin = head.triangles[head.triangle_part == 0]
        around = self.depth[skin]
        self.surface = skin[((around >= self.lash_ring) & (around < self.lash_ring + FREE_RINGS + 2)).all(1)]
        free = (self.depth > self.lash_ring) & (self.depth < self.lash_ring + FREE_RINGS)
        self.sheet = Sheet(self.rest, skin, free)
        self.lash = np.flatnonzero(self.depth == self.lash_ring)
        self._inner = np.flatnonzero((self.depth >= 0) & (self.depth < self.lash_ring))
        self._inner_leaders = self.lash[cKDTree(self.rest[self.lash]).query(self.rest[self._inner])[1]]
        edge = np.flatnonzero((self.depth >= 0) & (self.depth <= self.lash_ring + 1))
        self._rows, self._leaders = _followers(head, self.rest, edge)
        gap, _ = cKDTree(self.rest[self.lash]).query(self.rest)
        near = np.clip((GONE_M - gap) / (GONE_M - STAY_M), 0.0, 1.0)
        self.moving = np.zeros(len(self.rest), bool)
        self.moving[together(head, ("skin", "sockets"))] = True
        self.moving[self._rows] = True
        self.mask = np.where(self.moving, near * near * (3 - 2 * near), 0.0)
        self.mask[(self.depth >= 0) & (self.depth <= self.lash_ring)] = 1.0
        self.mask[self._rows] = 1.0

    def missing(self, gaze: F64) -> Missing:
        """How far points lie below ``CLEARANCE_M`` over the eyeball turned by ``gaze`` ``(3, 3)``."""

        def below(points: F64) -> tuple[F64, F64]:
            arm = points - self.centre
            distance = np.linalg.norm(arm, axis=1)
            angle = np.arccos(np.clip(arm @ gaze[:, 2] / distance, -1, 1))
            wanted = outer_profile(angle, self._radius) + CLEARANCE_M
            return np.asarray(wanted - distance), np.asarray(arm / distance[:, None])

        return below

    def meeting(self, offsets: F64) -> F64:
        """Offsets ``(V, 3)`` in which the upper lash line comes down to the lower one, and a little past."""
        rest, shown = self.rest[self.lash], (self.rest + offsets)[self.lash]
        inner, outer = rest[rest[:, 0].argmin()], rest[rest[:, 0].argmax()]
        chord = np.interp(rest[:, 0], [inner[0], outer[0]], [inner[1], outer[1]])
        upper = rest[:, 1] > chord
        line = shown[~upper][np.argsort(shown[~upper, 0])]
        ends = np.minimum(shown[:, 0] - line[0, 0], line[-1, 0] - shown[:, 0])
        down = np.interp(shown[:, 0], line[:, 0], line[:, 1]) - OVERLAP_M - shown[:, 1]
        shift = np.zeros_like(offsets)
        shift[self.lash, 1] = np.where(upper, down * np.clip(ends / CORNER_M, 0.0, 1.0), 0.0)
        shift[self._inner] = shift[self._inner_leaders]
        return np.asarray(offsets + shift)

    def cleared(self, offsets: F64, gaze: F64) -> F64:
        """Offsets ``(V, 3)`` that keep the lids, and all that is on them, over the turned eyeball."""
        below = self.missing(gaze)
        # The lash lines first, both by the same rule, so that lids which meet still do.
        posed = self.rest + offsets
        depth, way = below(posed[self.lash])
        edge = np.zeros_like(posed)
        edge[self.lash] = np.maximum(depth, 0.0)[:, None] * way
        edge[self._inner] = edge[self._inner_leaders]
        moved = self.sheet.interpolate(edge)
        moved += self.sheet.clear(posed + moved, self.surface, below)
        moved[self._rows] = moved[self._leaders]
        return np.asarray(offsets + moved)


def closed_lids(lids: Lids) -> F64:
    """``eyeBlinkLeft`` ``(V, 3)`` whose lid slides over the cornea as a whole, where its fold once hung."""
    blink = lids.meeting(_offsets(lids.head, BLINK))
    return lids.cleared(lids.sheet.interpolate(blink), np.eye(3))


def lid_correctives(lids: Lids, blink: F64) -> dict[tuple[str, ...], F64]:
    """Offsets ``(V, 3)`` by the names of the expressions that they belong to."""
    # Halfway a lid that moves straight would pass through the cornea; w (1 − w) is 1/4 there.
    halfway = lids.cleared(0.5 * blink, np.eye(3)) - 0.5 * blink
    out: dict[tuple[str, ...], F64] = {(BLINK, BETWEEN + BLINK): 4.0 * halfway}
    for name in PARTNERS:
        if name not in lids.head.expression_names:
            continue
        other = _offsets(lids.head, name)
        kept = other * (1.0 - lids.mask[:, None])
        gaze = turn(*GAZES_DEG[name]) if name in GAZES_DEG else np.eye(3)
        posed = lids.cleared(blink + kept, gaze)
        # Eyeballs turn as they do; only the lids, their lashes and tear line are corrected.
        out[BLINK, name] = np.where(lids.moving[:, None], posed - blink - other, 0.0)
    return out


def _offsets(head: ParametricHead, name: str) -> F64:
    return np.asarray(head.expression_basis[head.expression_names.index(name)], np.float64)


def _rings(head: ParametricHead, rest: F64, centre: F64) -> I32:
    """``(V,)`` how many edges of the skin lie between a vertex and the left eye's opening; −1 elsewhere."""
    quads = head.quads[head.quad_part == head.part_names.index("skin")]
    directed = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    edges, uses = np.unique(np.sort(directed, 1), axis=0, return_counts=True)
    border = np.unique(edges[uses == 1])
    border = border[np.linalg.norm(rest[border] - centre, axis=1) < SOCKET_REACH_M]
    count = len(rest)
    graph = _graph(edges, count)
    steps = dijkstra(graph, directed=False, indices=border, unweighted=True, min_only=True)
    return np.where(np.isfinite(steps), steps, -1).astype(np.int32)


def _followers(
    head: ParametricHead, rest: F64, edge: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Vertices of the left lashes and tear line, and the lid vertex of ``edge`` that each goes with."""
    tree = cKDTree(rest[edge])
    rows, leaders = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    for name in ("lashes", "tear_line"):
        if name not in head.part_names:
            continue
        own = vertices_of(head, name)
        own = own[rest[own, 0] > 0]
        gap, near = tree.query(rest[own])
        if name == "lashes":  # a strand goes with its root, which is nearest to the lid
            quads = head.quads[head.quad_part == head.part_names.index(name)]
            strand = connected_components(_graph(edges_of(quads), len(rest)), directed=False)[1][own]
            order = np.lexsort((gap, strand))
            _, first, member = np.unique(strand[order], return_index=True, return_inverse=True)
            root = near[order][first][member]
            near = np.empty_like(near)
            near[order] = root
        rows.append(own)
        leaders.append(edge[near])
    return np.concatenate(rows), np.concatenate(leaders)


def _graph(edges: I32, count: int) -> csr_matrix:
    return csr_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
