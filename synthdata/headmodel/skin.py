"""The skin of the open head: the layout flattened onto ICT's surface, every vertex a point of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backend.head.meshing import edges_of
from synthdata.headmodel.cavities import narrow_tube
from synthdata.headmodel.flatten import barycentric_lookup, half_disc
from synthdata.headmodel.layout import HalfMesh, Layout, Patch, Window, build_half
from synthdata.headmodel.mouth import close_lips
from synthdata.headmodel.patches import ear_patch, nostril_patch
from synthdata.headmodel.relax import relax
from synthdata.headmodel.settle import LinearMap, sample_shapes, settle
from synthdata.headmodel.source import SKIN_END, IctSurface

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

EYE_LOOPS = (2, 1, 0)  # ICT's edge loops from lash line to the hole's border
MOUTH_LOOPS = (13, 12, 11, 10, 9, 8, 7, 6, 4, 2, 0)  # vermilion border, 8 the closed lips' line, inner border
HOOP_STIFFNESS = 0.3
EAR_RING_STEP = 0.09  # of the ear's base loop's radius, between the rings round it
PLANE_ITERATIONS, TOP_ITERATIONS = 24, 24
TOP_ROWS = 9  # rows below the cap that are smoothed together with it, in the disc


@dataclass(frozen=True)
class OnIct:
    """Points on ICT's surface: three vertices and weights each."""

    corner: I32  # (N, 3)
    weight: F64  # (N, 3)

    def apply(self, values: NDArray[np.floating[Any]]) -> F64:
        """Values ``(…, 26719, C)`` at ICT's vertices, taken at the points: ``(…, N, C)``."""
        picked = np.asarray(values)[..., self.corner, :]
        return np.asarray(np.einsum("...nkc,nk->...nc", picked.astype(np.float64), self.weight))


@dataclass(frozen=True)
class SkinHalf:
    """The relaxed half."""

    mesh: HalfMesh
    on_ict: LinearMap
    loop_share: dict[str, F64]  # "eye", "mouth": each ring vertex's place along ICT's loop, in loop steps


def build_skin_half(surface: IctSurface, layout: Layout) -> SkinHalf:
    """Flatten ICT's half, lay the grid, relax it and look every vertex up."""
    ear, nostril = ear_patch(surface), nostril_patch(surface)
    openings = surface.holes
    holes = [openings["mouth"], openings["eye_left"], openings["eye_right"]]
    # Loops run as the faces outside them do.
    rounded = [loop for p in (ear, nostril) for loop in (p.border[::-1], surface.mirror[p.border].tolist())]
    z, triangles = half_disc(
        surface.vertices[:SKIN_END],
        surface.mirror[:SKIN_END],
        _without(surface, ear, nostril),
        openings["neck"],
        holes,
        rounded,
    )
    polar = np.stack([np.abs(np.angle(z)), -np.log(np.maximum(np.abs(z), 1e-9))], 1)
    disc = np.stack([z.imag, -z.real], 1)
    points3 = np.concatenate(
        [surface.vertices[:SKIN_END], [surface.vertices[h].mean(0) for h in holes + rounded]]
    )
    mesh = build_half(
        layout,
        len(EYE_LOOPS),
        len(MOUTH_LOOPS),
        _turned(nostril, layout.nostril, polar),
        _turned(ear, layout.ear, polar),
    )
    edges = edges_of(mesh.quads)
    count = len(mesh.start)

    pinned = np.zeros(count, bool)
    position = mesh.start.copy()
    eye_share = _eye_share(surface, mesh.eye_rings[0], layout)
    mouth_share = _mouth_share(surface, layout)
    for ring, loop in _pinned_loops(surface, "eye_left", EYE_LOOPS, mesh.eye_rings):
        position[ring], pinned[ring] = _along(polar, loop, eye_share, closed=True), True
    for ring, loop in _pinned_loops(surface, "mouth", MOUTH_LOOPS, mesh.mouth_rings):
        position[ring], pinned[ring] = _along(polar, loop, mouth_share, closed=False), True
    place = polar[mesh.patch_ids]
    inner = np.isnan(place[:, 0])  # of a patch: they have no place in the plane and need none
    place[inner] = place[~inner].mean(0)
    position[mesh.patch_vertices], pinned[mesh.patch_vertices] = place, True
    for k, ring in enumerate(mesh.ear_rings[-2:0:-1]):  # the border stays free
        position[ring], pinned[ring] = (
            _scaled(position[mesh.ear_rings[-1]], 1 + (k + 1) * EAR_RING_STEP),
            True,
        )
    grid = mesh.row >= 0
    _start_rings(position, mesh, pinned)

    in_polar = np.ones(count, bool)
    in_polar[mesh.cap] = False
    middle = np.zeros(count, bool)
    middle[mesh.front] = middle[mesh.back] = True
    held = pinned.copy()
    held[mesh.row == layout.rows] = True
    neck = mesh.row == 0
    rim = grid & (mesh.row == layout.rows)
    used = in_polar[edges].all(1)

    def lift(plane: F64, flat: F64) -> F64:
        found, weight, _ = barycentric_lookup(flat, triangles, plane)
        return np.asarray(np.einsum("nk,nkc->nc", weight, points3[triangles[found]]))

    position[~in_polar] = 0.0
    position = relax(
        position,
        edges[used],
        lambda p: lift(p, polar),
        _importance,
        (held & ~neck | middle | rim | ~in_polar, held | neck | ~in_polar),
        middle,
        iterations=PLANE_ITERATIONS,
        stiffness=_stiffness(edges[used], mesh),
    )
    held = ~in_polar | pinned | neck | rim
    held[mesh.mouth_rings[len(mesh.mouth_rings) - len(MOUTH_LOOPS)]] = False  # may slip at the lip corner
    position = _untangle(position, mesh.quads, edges, held, middle, lambda p: lift(p, polar))
    radius = np.exp(-position[:, 1])
    in_disc = np.stack([radius * np.sin(position[:, 0]), -radius * np.cos(position[:, 0])], 1)
    top = (mesh.row > layout.rows - TOP_ROWS) | ~in_polar
    middle_disc = middle.copy()
    middle_disc[mesh.cap_middle] = True
    in_disc[middle_disc, 0] = 0.0
    around_top = (top[edges]).any(1)
    in_disc = relax(
        in_disc,
        edges[around_top],
        lambda p: lift(p, disc),
        _importance,
        (~top | middle_disc, ~top),
        middle_disc,
        iterations=TOP_ITERATIONS,
        stiffness=_stiffness(edges[around_top], mesh),
    )
    corner = np.zeros((count, 3), np.int32)
    weight = np.zeros((count, 3))
    for chosen, flat, where in ((~top, polar, position), (top, disc, in_disc)):
        found, w, worst = barycentric_lookup(flat, triangles, where[chosen])
        if worst.min() < -1e-5:
            raise ValueError(f"a grid vertex left the flattened surface (weight {worst.min():.2g})")
        corner[chosen], weight[chosen] = triangles[found], w
    corner[mesh.patch_vertices] = mesh.patch_ids[:, None]
    weight[mesh.patch_vertices] = [1.0, 0.0, 0.0]
    if (corner[weight > 1e-6] >= SKIN_END).any():
        raise ValueError("a grid vertex fell into a filled hole")
    weight[corner >= SKIN_END] = 0.0
    corner[corner >= SKIN_END] = 0
    weight /= weight.sum(1, keepdims=True)
    still = middle_disc.copy()
    still[mesh.eye_rings[-1]] = True  # where the socket begins
    row = np.repeat(np.arange(count), 3)
    chosen = sp.csr_matrix((weight.ravel(), (row, corner.ravel())), shape=(count, len(surface.vertices)))
    shapes = sample_shapes(surface.head, surface.vertices)
    laid = LinearMap((narrow_tube(mesh) @ chosen).tocsr())
    points = laid.apply(surface.vertices)
    on_ict = settle(laid, mesh.quads, shapes, still, close_lips(mesh, points) - points)
    return SkinHalf(mesh, on_ict, {"eye": eye_share, "mouth": mouth_share})


def fold_cosines(points: F64, quads: I32) -> F64:
    """``(Q,)`` the smallest cosine between two corner normals of each quad: below 0 it is folded."""
    normals = []
    for k in range(4):
        p, q, r = points[quads[:, k - 1]], points[quads[:, k]], points[quads[:, (k + 1) % 4]]
        n = np.cross(q - p, r - q)
        normals.append(n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-15))
    pairs = [(normals[i] * normals[j]).sum(1) for i in range(4) for j in range(i)]
    return np.asarray(np.min(pairs, axis=0))


def _untangle(
    position: F64,
    quads: I32,
    edges: I32,
    held: NDArray[np.bool_],
    middle: NDArray[np.bool_],
    lift: Callable[[F64], F64],
    rounds: int = 100,
) -> F64:
    """Planar smoothing around quads that fold in 3D; only free vertices within two edges of one move."""
    position = position.copy()
    degree = np.maximum(np.bincount(edges.ravel(), minlength=len(position)), 1)[:, None]
    usable = ~held[quads].all(1)
    for _ in range(rounds):
        bad = (fold_cosines(lift(position), quads) < 0.35) & usable
        if not bad.any():
            break
        move = np.zeros(len(position), bool)
        move[quads[bad]] = True
        for _ in range(2):
            move[quads[move[quads].any(1)]] = True
        move &= ~held
        total = np.zeros_like(position)
        np.add.at(total, edges[:, 0], position[edges[:, 1]])
        np.add.at(total, edges[:, 1], position[edges[:, 0]])
        target = total / degree
        target[middle, 0] = position[middle, 0]
        position[move] += 0.3 * (target - position)[move]
    return position


def _importance(point: F64) -> F64:
    """Density wanted at 3D points: high on the face's front and round the nostrils."""
    x, y, z = np.abs(point[:, 0]), point[:, 1], point[:, 2]
    face = 1 / (1 + np.exp(-(z - 0.055) / 0.015)) / (1 + np.exp(-(y + 0.085) / 0.01))
    nostrils = np.exp(-(((x - 0.009) / 0.009) ** 2 + ((y + 0.011) / 0.008) ** 2 + ((z - 0.108) / 0.012) ** 2))
    return np.asarray(0.6 + 0.6 * face + 0.7 * nostrils)


def _stiffness(edges: I32, mesh: HalfMesh) -> F64:
    """Pull ``(E,)`` of edges: weak along rings that as hoops would tighten round their openings too much."""
    ring_of = np.full(len(mesh.start), -1)
    names = itertools.count()
    for rings in (mesh.mouth_rings, mesh.nostril_rings, mesh.ear_rings):
        for ring in rings:
            ring_of[ring] = next(names)
    same = (ring_of[edges[:, 0]] == ring_of[edges[:, 1]]) & (ring_of[edges[:, 0]] >= 0)
    return np.where(same, HOOP_STIFFNESS, 1.0)


def _pinned_loops(
    surface: IctSurface, hole: str, depths: tuple[int, ...], rings: list[NDArray[np.intp]]
) -> list[tuple[NDArray[np.intp], list[int]]]:
    loops = surface.loops_around(hole, max(depths) + 1)
    if hole == "mouth":
        loops = [_lower_to_upper(surface, loop) for loop in loops]
    else:
        loops = [_anticlockwise(surface, loop) for loop in loops]
    return [(rings[len(rings) - len(depths) + k], loops[d]) for k, d in enumerate(depths)]


def _scaled(loop: F64, factor: float) -> F64:
    """A loop of (θ, s) about its middle in the disc, ``factor`` times as large."""
    z = np.exp(-loop[:, 1] + 1j * loop[:, 0])
    z = z.mean() + factor * (z - z.mean())
    return np.stack([np.angle(z), -np.log(np.abs(z))], 1)


def _without(surface: IctSurface, *patches: Patch) -> I32:
    """ICT's skin quads that lie in none of the left ``patches`` nor in their mirror images."""
    taken = {frozenset(q) for patch in patches for q in patch.quads.tolist()}
    taken |= {frozenset(surface.mirror[list(q)].tolist()) for q in taken}
    return np.asarray([q for q in surface.skin_quads.tolist() if frozenset(q) not in taken], np.int32)


def _turned(patch: Patch, window: Window, polar: F64) -> Patch:
    """The patch with its border begun where it faces the window's first corner best."""
    border = np.array(window.border(), np.float64)
    loop = polar[patch.border]
    target, own = (_directions(p) for p in (border, loop))
    turn = max(range(len(own)), key=lambda k: float((np.roll(own, -k, 0) * target).sum()))
    turn = (turn + window.turn) % len(own)
    return Patch(patch.border[turn:] + patch.border[:turn], patch.quads)


def _directions(loop: F64) -> F64:
    """Unit vectors ``(N, 2)`` from the middle of a loop's bounding box, its height scaled to its width."""
    low, high = loop.min(0), loop.max(0)
    arm = (loop - 0.5 * (low + high)) / (high - low)
    return np.asarray(arm / np.linalg.norm(arm, axis=1, keepdims=True))


def _anticlockwise(surface: IctSurface, loop: list[int]) -> list[int]:
    """Seen from the front (x right, y up), keeping vertex 0 first."""
    x, y = surface.vertices[loop, 0], surface.vertices[loop, 1]
    area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum()
    return loop if area > 0 else [loop[0], *loop[:0:-1]]


def _lower_to_upper(surface: IctSurface, loop: list[int]) -> list[int]:
    """The x ≥ 0 half of a mouth loop, from the lower midline vertex to the upper one."""
    loop = _anticlockwise(surface, loop)
    middle = [k for k, c in enumerate(loop) if abs(surface.vertices[c, 0]) < 1e-6]
    if len(middle) != 2:
        raise ValueError("a mouth loop must cross the midline twice")
    low = min(middle, key=lambda k: surface.vertices[loop[k], 1])
    turned = loop[low:] + loop[:low]
    between = max(middle) - min(middle)
    return turned[: (between if low == min(middle) else len(loop) - between) + 1]


def _share_between(length: F64, first: int, last: int, parts: int) -> F64:
    """Places, in loop steps, of ``parts`` equal arc lengths from vertex ``first`` to vertex ``last``."""
    cumulative = np.r_[0.0, np.cumsum(length[first:last])]
    steps = np.interp(np.linspace(0, cumulative[-1], parts + 1), cumulative, np.arange(last - first + 1.0))
    return np.asarray(first + steps, np.float64)


def _mouth_share(surface: IctSurface, layout: Layout) -> F64:
    loop = _lower_to_upper(surface, surface.loops_around("mouth", 11)[10])
    p = surface.vertices[loop]
    length = np.linalg.norm(np.diff(p, axis=0), axis=1)
    corner = int(np.argmax(p[:, 0]))
    w = layout.mouth
    side = (w.r1 - w.r0) // 2
    lower = _share_between(length, 0, corner, w.c1 + side)
    upper = _share_between(length, corner, len(loop) - 1, w.c1 + (w.r1 - w.r0 - side))
    return np.asarray(np.r_[lower, upper[1:]])


def _eye_share(surface: IctSurface, border: NDArray[np.intp], layout: Layout) -> F64:
    loop = _anticlockwise(surface, surface.loops_around("eye_left", 3)[2])
    p = surface.vertices[loop]
    length = np.linalg.norm(np.roll(p, -1, 0) - p, axis=1)
    inner, outer = int(np.argmin(p[:, 0])), int(np.argmax(p[:, 0]))
    w = layout.eye
    width, height = w.c1 - w.c0, w.r1 - w.r0
    low, high = height // 2, height - height // 2
    count = len(loop)
    turned = np.roll(length, -inner)
    doubled = np.r_[turned, turned]
    span = (outer - inner) % count
    bottom = inner + _share_between(doubled, 0, span, low + width + low)
    top = inner + _share_between(doubled, span, count, high + width + high)
    # Border vertex 0 is the window's lower left corner, `low` steps after the middle of its left side.
    walk = np.r_[bottom, top[1:-1]]
    if len(walk) != len(border):
        raise ValueError(f"{len(walk)} places for {len(border)} ring vertices")
    return np.asarray(np.roll(walk, -low) % count, np.float64)


def _along(values: F64, loop: list[int], share: F64, closed: bool) -> F64:
    """Values at fractional places of a loop."""
    low = np.floor(share).astype(int)
    part = (share - low)[:, None]
    ids = np.asarray(loop)
    size = len(ids)
    nxt = (low + 1) % size if closed else np.minimum(low + 1, size - 1)
    return np.asarray(values[ids[low % size]] * (1 - part) + values[ids[nxt]] * part)


def _start_rings(position: F64, mesh: HalfMesh, pinned: NDArray[np.bool_]) -> None:
    """Free rings start on straight lines between the window's border and the first pinned loop."""
    for rings in (mesh.eye_rings, mesh.mouth_rings, mesh.nostril_rings, mesh.ear_rings):
        last = next(k for k, ring in enumerate(rings) if pinned[ring].all())
        for k in range(1, last):
            position[rings[k]] = position[rings[0]] + (position[rings[last]] - position[rings[0]]) * k / last


def hole_loop(surface: IctSurface, hole: str) -> list[int]:
    """ICT's border loop of a hole in the order in which the layout's rings run."""
    loop = surface.holes[hole]
    return _lower_to_upper(surface, loop) if hole == "mouth" else _anticlockwise(surface, loop)
