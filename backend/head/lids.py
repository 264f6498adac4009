"""Lids in combinations: closed ones lie on the eyeball and meet, whatever else the face does.

All is worked out for the subject's left eye, of the mean head or of one person's; the right one is its
mirror image.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from backend.head.base import ParametricHead
from backend.head.contact import Missing, Sheet, sampled
from backend.head.eyeball import GAZES_DEG, LOOKS_ASIDE, LOOKS_UP_DOWN, outer_distance, sunk, turn_of
from backend.head.meshing import edges_of, together, vertices_of

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Offsets = dict[str, F64]  # (V, 3) metres by the expression
Correcting = dict[tuple[str, ...], F64]  # likewise by the expressions that meet

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
LASH_RING = 2  # the lash line, in edges from the opening's border
CLEARANCE_M = 0.00025  # closed lids over eyeball and cornea, at least
REST_CLEARANCE_M = 0.00005  # open ones over its white
MOST_SUNK_M = 0.0008  # that the white may sink: deeper, the socket shows beside it
OVERLAP_M = 0.0001  # of closed lids
MEETINGS = 2  # as going over the cornea parts lids again
CORNER_M = 0.002  # from the ends of the opening, within which the lines run together
FREE_RINGS = 4  # around the lash line, that lids move
STAY_M, GONE_M = 0.003, 0.014  # from the lash line: where a closed lid ignores others, and where it follows
SOCKET_REACH_M = 0.025  # of the eye's centre, in which the opening's border is sought


class LidLayout:
    """What the left lids of all people with one head's mesh have in common: rings, and what follows them."""

    def __init__(self, head: ParametricHead) -> None:
        self.head = head
        self.mean = head.mean_vertices.astype(np.float64)
        self.centre = head.eye_centres[0].astype(np.float64)
        self.ball = vertices_of(head, "eye_left")
        self.eye = np.concatenate([self.ball, vertices_of(head, "cornea_left")])
        arm = self.mean[self.ball] - self.centre
        self.radius = float(np.linalg.norm(arm, axis=1).max())
        cosine = arm[:, 2] / np.linalg.norm(arm, axis=1)
        self.front, self.behind = self.ball[sunk(cosine) == 0], self.ball[sunk(cosine) == 1]
        self.depth = _rings(head, self.mean, self.centre)
        self.skin = head.triangles[head.triangle_part == 0]
        around = self.depth[self.skin]
        self.surface = self.skin[((around >= LASH_RING) & (around < LASH_RING + FREE_RINGS + 2)).all(1)]
        self.free = (self.depth > LASH_RING) & (self.depth < LASH_RING + FREE_RINGS)
        self.lash = np.flatnonzero(self.depth == LASH_RING)
        self.inner = np.flatnonzero((self.depth >= 0) & (self.depth < LASH_RING))
        self.inner_leaders = self.lash[cKDTree(self.mean[self.lash]).query(self.mean[self.inner])[1]]
        edge = np.flatnonzero((self.depth >= 0) & (self.depth <= LASH_RING + 1))
        self.rows, self.leaders = _followers(head, self.mean, edge)
        gap, _ = cKDTree(self.mean[self.lash]).query(self.mean)
        near = np.clip((GONE_M - gap) / (GONE_M - STAY_M), 0.0, 1.0)
        self.moving = np.zeros(len(self.mean), bool)
        self.moving[together(head, ("skin", "sockets"))] = True
        self.moving[self.rows] = True
        self.mask = np.where(self.moving, near * near * (3 - 2 * near), 0.0)
        self.mask[(self.depth >= 0) & (self.depth <= LASH_RING)] = 1.0
        self.mask[self.rows] = 1.0

    def offsets(self, name: str) -> F64:
        """The expression ``name`` as the head has it, metres ``(V, 3)``."""
        return np.asarray(self.head.expression_basis[self.head.expression_names.index(name)], np.float64)


class Lids:
    """The left lids of one person."""

    def __init__(self, layout: LidLayout, rest: F64 | None = None) -> None:
        """``rest`` ``(V, 3)``: the person's neutral vertices, the mean head's where not given."""
        self.layout = layout
        self.rest = layout.mean if rest is None else np.asarray(rest, np.float64)
        # An eyeball moves and grows as a whole, but that its white may sink towards the sides.
        arm, shown = layout.mean[layout.front] - layout.centre, self.rest[layout.front]
        even = arm - arm.mean(0)
        self.growth = float((even * (shown - shown.mean(0))).sum() / (even * even).sum())
        self.centre = shown.mean(0) - self.growth * arm.mean(0)
        distance = np.linalg.norm(self.rest[layout.behind] - self.centre, axis=1)
        self.sink = max(self.growth * layout.radius - float(np.median(distance)), 0.0)  # metres, at the sides
        self.sheet = Sheet(self.rest, layout.skin, layout.free)

    def missing(self, gaze: F64, clearance_m: float = CLEARANCE_M) -> Missing:
        """How far points lie below ``clearance_m`` over the eyeball turned by ``gaze`` ``(3, 3)``."""

        def below(points: F64) -> tuple[F64, F64]:
            arm = points - self.centre
            distance = np.sqrt(np.einsum("ij,ij->i", arm, arm))
            cosine = arm @ gaze[:, 2] / distance
            surface = self.growth * outer_distance(cosine, self.layout.radius) - self.sink * sunk(cosine)
            wanted = surface + clearance_m
            return np.asarray(wanted - distance), np.asarray(arm / distance[:, None])

        return below

    def meeting(self, offsets: F64) -> F64:
        """Offsets ``(V, 3)`` in which the upper lash line comes down to the lower one, and a little past."""
        lash = self.layout.lash
        rest, shown = self.rest[lash], (self.rest + offsets)[lash]
        inner, outer = rest[rest[:, 0].argmin()], rest[rest[:, 0].argmax()]
        chord = np.interp(rest[:, 0], [inner[0], outer[0]], [inner[1], outer[1]])
        upper = rest[:, 1] > chord
        line = shown[~upper][np.argsort(shown[~upper, 0])]
        ends = np.minimum(shown[:, 0] - line[0, 0], line[-1, 0] - shown[:, 0])
        down = np.interp(shown[:, 0], line[:, 0], line[:, 1]) - OVERLAP_M - shown[:, 1]
        shift = np.zeros_like(offsets)
        shift[lash, 1] = np.where(upper, down * np.clip(ends / CORNER_M, 0.0, 1.0), 0.0)
        shift[self.layout.inner] = shift[self.layout.inner_leaders]
        return np.asarray(offsets + shift)

    def cleared(self, offsets: F64, gaze: F64, clearance_m: float = CLEARANCE_M) -> F64:
        """Offsets ``(V, 3)`` that keep the lids, and all that is on them, over the turned eyeball."""
        layout, below = self.layout, self.missing(gaze, clearance_m)
        # The lash lines first, both by the same rule, so that lids which meet still do.
        posed = self.rest + offsets
        depth, way = below(posed[layout.lash])
        edge = np.zeros_like(posed)
        edge[layout.lash] = np.maximum(depth, 0.0)[:, None] * way
        edge[layout.inner] = edge[layout.inner_leaders]
        moved = self.sheet.interpolate(edge)
        moved += self.sheet.clear(posed + moved, layout.surface, below)
        moved[layout.rows] = moved[layout.leaders]
        return np.asarray(offsets + moved)

    def followed(self, offsets: F64, before: F64) -> F64:
        """``offsets`` ``(V, 3)`` in which lashes and tear line go with what lids do beyond ``before``."""
        rows, leaders = self.layout.rows, self.layout.leaders
        out = offsets.copy()
        out[rows] = before[rows] + (offsets - before)[leaders]
        return out


def closed_lids(lids: Lids) -> F64:
    """``eyeBlinkLeft`` ``(V, 3)`` whose lid slides over the cornea as a whole and meets the lower one."""
    blink = lids.layout.offsets(BLINK)
    for _ in range(MEETINGS):
        met = lids.followed(lids.sheet.interpolate(lids.meeting(blink)), blink)
        blink = lids.cleared(met, np.eye(3))
    return lids.cleared(blink, np.eye(3))  # eyes that stand out far need it twice


def rested_eye(lids: Lids) -> F64:
    """The person's vertices ``(V, 3)`` with the white of the left eye below the open lids.

    Identity modes move lids and eyeball each by itself, so that their sum may let the white cut the lids'
    corners. It sinks towards its sides, alike all round, for an eyeball turns; what still stands out moves
    the lids.
    """
    layout = lids.layout
    depth, _ = lids.missing(np.eye(3), REST_CLEARANCE_M)(sampled(lids.rest, layout.surface))
    sink = float(np.clip(depth.max(), 0.0, MOST_SUNK_M))
    arm = lids.rest[layout.ball] - lids.centre
    distance = np.linalg.norm(arm, axis=1, keepdims=True)
    out = lids.rest.copy()
    out[layout.ball] -= sink * sunk(arm[:, 2:] / distance) * arm / distance
    return out + Lids(layout, out).cleared(np.zeros_like(out), np.eye(3), REST_CLEARANCE_M)


def looks(lids: Lids) -> Offsets:
    """The looks as offsets ``(V, 3)``: the person's eyeball turns about its own middle, under open lids."""
    layout = lids.layout
    out = {}
    for name in GAZES_DEG:
        if name in layout.head.expression_names:
            offsets = layout.offsets(name).copy()
            offsets[layout.eye] = (lids.rest[layout.eye] - lids.centre) @ (turn_of(name) - np.eye(3)).T
            out[name] = lids.cleared(offsets, turn_of(name))
    return out


def lid_correctives(lids: Lids, blink: F64, look: Offsets, opened: Correcting) -> Correcting:
    """Offsets ``(V, 3)`` that keep closing lids over an eyeball that turns by ``look``.

    ``opened`` is what open lids get (``open_lid_correctives``), or nothing.
    """
    layout = lids.layout
    # Halfway a lid that moves straight would pass through the cornea; w (1 − w) is 1/4 there.
    halfway = lids.cleared(0.5 * blink, np.eye(3)) - 0.5 * blink
    out: Correcting = {(BLINK, BETWEEN + BLINK): 4.0 * halfway}
    for name in PARTNERS:
        if name not in layout.head.expression_names:
            continue
        other = look.get(name, layout.offsets(name))
        kept = other * (1.0 - layout.mask[:, None])
        gaze = turn_of(name) if name in look else np.eye(3)
        posed = lids.cleared(blink + kept, gaze)
        # Eyeballs turn as they do; only the lids, their lashes and tear line are corrected.
        both = np.where(layout.moving[:, None], posed - blink - other, 0.0)
        out[BLINK, name] = both
        if name in look:  # through a turned cornea it passes elsewhere
            shown = 0.5 * blink + halfway + other + 0.5 * both
            out[BLINK, BETWEEN + BLINK, name] = 4.0 * _missing(lids, shown, gaze)
        if (name, BETWEEN + name) in opened:  # and so does a cornea that is halfway to where it looks
            shown = blink + 0.5 * (other + both) + 0.25 * opened[name, BETWEEN + name]
            out[BLINK, name, BETWEEN + name] = 4.0 * _missing(lids, shown, turn_of(name, share=0.5))
    for pitch, yaw in _two_looks(look):  # the cornea stands where neither look puts it
        shown = blink + sum(look[n] + out[BLINK, n] for n in (pitch, yaw)) + opened.get((yaw, pitch), 0.0)
        out[BLINK, pitch, yaw] = _missing(lids, shown, turn_of(pitch, yaw))
    return out


def open_lid_correctives(lids: Lids, look: Offsets) -> Correcting:
    """Offsets ``(V, 3)`` that keep open lids over an eyeball that turns by ``look``: halfway to each, as the
    lids' way is a chord and the eyeball's an arc, and where two meet.

    For two the look aside is named first: pairs with up or down first are the eyeballs' own
    (``gaze_correctives``), which bones turn by themselves.
    """
    out: Correcting = {}
    for name, offsets in look.items():
        out[name, BETWEEN + name] = 4.0 * _missing(lids, 0.5 * offsets, turn_of(name, share=0.5))
    for pitch, yaw in _two_looks(look):
        out[yaw, pitch] = _missing(lids, look[pitch] + look[yaw], turn_of(pitch, yaw))
    return out


def _missing(lids: Lids, shown: F64, gaze: F64) -> F64:
    """What the offsets ``shown`` ``(V, 3)`` lack for lids, lashes and tear line to clear the eyeball."""
    return np.asarray(np.where(lids.layout.moving[:, None], lids.cleared(shown, gaze) - shown, 0.0))


def _two_looks(look: Offsets) -> list[tuple[str, str]]:
    return [(pitch, yaw) for pitch, yaw in product(LOOKS_UP_DOWN, LOOKS_ASIDE) if {pitch, yaw} <= set(look)]


def gaze_correctives(lids: Lids, look: Offsets) -> Correcting:
    """Offsets ``(V, 3)`` that keep the eyeball round where it looks up or down and aside at once.

    Two turns that are added shear it: (R − 1) + (Q − 1) lacks (Q − 1)(R − 1) of the turn QR.
    """
    layout = lids.layout
    out: Correcting = {}
    for pitch, yaw in _two_looks(look):
        out[pitch, yaw] = np.zeros(layout.mean.shape)
        turned = look[pitch][layout.eye]
        out[pitch, yaw][layout.eye] = turned @ (turn_of(yaw) - np.eye(3)).T
    return out


def _rings(head: ParametricHead, rest: F64, centre: F64) -> I32:
    """``(V,)`` how many edges of the skin lie between a vertex and the left eye's opening; −1 elsewhere."""
    quads = head.quads[head.quad_part == head.part_names.index("skin")]
    directed = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    count = len(rest)
    low, high = directed.min(1).astype(np.int64), directed.max(1)
    keys, uses = np.unique(low * count + high, return_counts=True)
    edges = np.stack([keys // count, keys % count], 1)
    border = np.unique(edges[uses == 1])
    border = border[np.linalg.norm(rest[border] - centre, axis=1) < SOCKET_REACH_M]
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
