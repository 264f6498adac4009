"""Offsets held back where they fold faces or drive them through each other: one linear map for all modes.

Springs between vertices resist what moves them apart from how they lie at rest. Those of a face that folds
in a sample of people, or of two faces that cross, grow until none does any more. The change that they make
spreads smoothly, so that a mode loses nothing farther away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from backend.head.base import ParametricHead
from backend.head.meshing import vertices_of
from backend.uvspace.cotangent import cotangent_operators
from backend.uvspace.kernels import compiled
from synthdata.headmodel.follow import (
    NEAREST,
    across_the_lips,
    bending_energy,
    factorised,
)
from synthdata.headmodel.parts import MIRROR_X
from synthdata.headmodel.soundness import (
    BOUND_SIGMA,
    apart_from_contact,
    crossing_faces,
    crossing_pairs,
    surface_rows,
)

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Rows = NDArray[np.intp]

REACH_M = 0.014  # of a spring, beyond which nothing changes
MIN_COSINE = 0.04  # between a quad's corner normals, or half of what it is at rest where that is less
LEAST_COSINE = 0.02  # the same in an expression
ACTED = np.array([[0.5], [1.0]])  # weights at which an expression is looked at
SOFTEST = 0.5  # springs, in vertex areas
SEED, BATCHES, PEOPLE = 5, 5, 500  # at random, who are made sound
SIGMA = 1.0  # of their coefficients, so that ordinary people keep a distance from folding
ROUND_M = 0.012  # round ears, nostrils and lips, in which faces are looked for that cross
WATCHED_COSINE = 0.5  # quads that bend less than this in all are looked at again at the end only


@dataclass(frozen=True)
class Grip:
    """How faces that fold or cross are held."""

    spread_m: float  # waves of the change that are shorter than about six times this are damped
    growth: float  # of springs that do not suffice, each round
    rounds: int
    shared: float  # of a face's springs that those next to it get
    strongest: float  # springs, in vertex areas
    least_m2: float  # area of a vertex that is held: slivers fold most easily


# Not at any price in people: what is held in everyone is lost to everyone.
IN_PEOPLE = Grip(0.0020, 2.0, 60, 0.25, 256.0, 1e-7)
IN_EXPRESSIONS = Grip(0.0008, 1.4, 100, 0.35, np.inf, 1e-6)


@dataclass(frozen=True)
class Springs:
    """Pairs of vertices of the closed surface and how strongly each is held, metres²."""

    first: Rows  # (S,)
    second: Rows  # (S,)
    strength: F64  # (S,)

    def laplacian(self, count: int) -> sp.csr_matrix:
        """``(count, count)`` the springs' energy of a field on all vertices."""
        a, b, k = self.first, self.second, self.strength
        return sp.csr_matrix((np.r_[k, k, -k, -k], (np.r_[a, b, a, b], np.r_[a, b, b, a])), (count, count))

    def __add__(self, other: Springs) -> Springs:
        return Springs(
            np.r_[self.first, other.first],
            np.r_[self.second, other.second],
            np.r_[self.strength, other.strength],
        )


class Skin:
    """What holding offsets back takes of a head's closed surface: skin, mouth's bag, eye sockets."""

    def __init__(self, head: ParametricHead, grip: Grip) -> None:
        self.grip = grip
        self.rest = head.mean_vertices.astype(np.float64)
        self.mirror = head.mirror_vertex
        self.rows = np.unique(head.triangles[surface_rows(head)])
        self.quads = head.quads[head.quad_part == head.part_names.index("skin")]
        area, stiffness = cotangent_operators(self.rest, head.triangles[surface_rows(head)])
        self.area = 0.5 * (area + area[self.mirror])
        # Quads are split along diagonals that are no mirror images; what is done to modes must be even.
        self._resistance = self._even(sp.diags(area) + bending_energy(stiffness, area, grip.spread_m))
        self._lips = self._even(across_the_lips(head, self.rest, self.area))
        free = [vertices_of(head, n) for n in ("tear_line", "lashes", "brows") if n in head.part_names]
        self._beside = np.setdiff1d(np.concatenate([np.zeros(0, np.intp), *free]), self.rows)
        self._near = self.rows[cKDTree(self.rest[self.rows]).query(self.rest[self._beside], NEAREST)[1]]
        order = {tuple(sorted(q)): k for k, q in enumerate(self.quads.tolist())}
        self.twin = np.array([order[tuple(sorted(q))] for q in self.mirror[self.quads].tolist()])
        self._watched = _where_faces_may_cross(head)
        self._faces = head.triangles[self._watched]
        self._apart = apart_from_contact(head, self._watched)
        still, once = np.zeros((1, *self.rest.shape), np.float32), np.zeros((1, 1))
        at_rest = least_cosine(still, self.rest.astype(np.float32), once, self.quads)
        self.wanted = np.minimum(MIN_COSINE, 0.5 * at_rest)

    def _even(self, operator: sp.csr_matrix) -> sp.csr_matrix:
        return 0.5 * (operator + operator.tocsr()[self.mirror][:, self.mirror]).tocsr()

    def of_quads(self, strength: F64) -> Springs:
        """Springs between all corners of quads, ``strength`` ``(Q,)`` in vertex areas."""
        rows = np.flatnonzero(strength)
        q = self.quads[rows].astype(np.intp)
        pairs = [(q[:, i], q[:, j]) for i in range(4) for j in range(i)]
        a, b = np.concatenate([p for p, _ in pairs]), np.concatenate([p for _, p in pairs])
        return Springs(a, b, np.tile(strength[rows], len(pairs)) * self._size(a, b))

    def between(self, pairs: dict[tuple[int, int], float]) -> Springs:
        """Springs between single vertices, strength in vertex areas."""
        known = np.array(list(pairs), np.intp).reshape(-1, 2)
        return Springs(
            known[:, 0],
            known[:, 1],
            np.array(list(pairs.values()), np.float64) * self._size(known[:, 0], known[:, 1]),
        )

    def crossing(self, vertices: F64) -> set[tuple[int, int]]:
        """The nearest corners of faces that cross away from lips and lids in ``vertices`` ``(V, 3)``."""
        hit = crossing_faces(vertices, self._faces)
        if not (hit & self._apart).any():
            return set()
        pairs = crossing_pairs(vertices, self._faces, hit)
        pairs = pairs[self._apart[pairs].any(1)]
        corners = self._faces[pairs]  # (P, 2, 3)
        gap = np.linalg.norm(self.rest[corners[:, 0, :, None]] - self.rest[corners[:, 1, None, :]], axis=3)
        near = gap.reshape(len(gap), 9).argmin(1)
        each = np.arange(len(pairs))
        ends = np.sort(np.stack([corners[each, 0, near // 3], corners[each, 1, near % 3]], 1), axis=1)
        return {(int(a), int(b)) for a, b in ends}

    def restrained(self, offsets: F32, springs: Springs, keep_lips: bool) -> F32:
        """``offsets`` ``(K, V, 3)`` with ``springs`` at work; ``keep_lips``: what touches moves alike."""
        if not len(springs.first):
            return offsets
        count = len(self.rest)
        held = np.unique(np.r_[springs.first, springs.second])
        gap, _ = cKDTree(self.rest[held]).query(self.rest[self.rows])
        rows = self.rows[gap < REACH_M]
        pull = springs.laplacian(count)[rows][:, rows]
        system = self._resistance[rows][:, rows]
        if keep_lips:
            system = system + self._lips[rows][:, rows]
        flat = np.moveaxis(offsets[:, rows], 1, 0).reshape(len(rows), -1).astype(np.float64)
        change = np.zeros((count, flat.shape[1]))
        change[rows] = -factorised(system + pull)(pull @ flat)
        change[self._beside] = change[self._near].mean(1)
        return np.asarray(offsets + np.moveaxis(change.reshape(count, len(offsets), 3), 0, 1), np.float32)

    def _size(self, a: Rows, b: Rows) -> F64:
        return np.asarray(np.maximum(np.maximum(self.area[a], self.area[b]), self.grip.least_m2))


def _where_faces_may_cross(head: ParametricHead) -> Rows:
    """Triangles of the closed surface round ears, nostrils and mouth, where one face meets another."""
    rows = surface_rows(head)
    rest = head.mean_vertices
    near = np.max([head.regions[n] for n in ("ears", "nostrils", "lips")], axis=0) > 0.02
    gap, _ = cKDTree(rest[near]).query(rest[head.triangles[rows]].mean(1))
    return np.asarray(rows[gap < ROUND_M], np.intp)


def sound_modes(head: ParametricHead) -> F32:
    """The head's identity modes ``(K, V, 3)``, changed until people drawn at random are sound. Deterministic.

    Batches follow each other, so that what one has settled is what the next one finds.
    """
    skin, modes = Skin(head, IN_PEOPLE), head.identity_basis
    rng = np.random.default_rng(SEED)
    for _ in range(BATCHES):
        drawn = SIGMA * rng.standard_normal((PEOPLE, len(modes)))
        modes = sound_people(skin, modes, np.clip(drawn, -BOUND_SIGMA, BOUND_SIGMA))
    return modes


def sound_expressions(head: ParametricHead) -> F32:
    """The head's expressions ``(E, V, 3)``, changed where a quad folds on the way to weight 1.

    ``mouthClose`` is taken with ``jawOpen``, without which it has no meaning.
    """
    skin, names = Skin(head, IN_EXPRESSIONS), head.expression_names
    skin.wanted = np.minimum(LEAST_COSINE, skin.wanted)  # nothing here is left to chance
    out = head.expression_basis.copy()
    opened = out[names.index("jawOpen")]
    for k, name in enumerate(names):
        if name.endswith("Right"):
            continue  # the mirror image of the left one
        given = opened if name == "mouthClose" else 0.0 * opened
        symmetric = not name.endswith("Left")
        out[k] = _unfolded(skin, (out[k] + given)[None], ACTED, symmetric)[0] - given
        if not symmetric:
            other = names.index(name.removesuffix("Left") + "Right")
            out[other] = out[k][head.mirror_vertex] * MIRROR_X
    return out


def sound_people(skin: Skin, modes: F32, coefficients: F64) -> F32:
    """``modes`` ``(K, V, 3)`` that fold no quad and cross no faces in the people ``(N, K)``."""
    apart = _crossing_springs(skin, modes, coefficients)
    return _unfolded(skin, modes, coefficients, True, apart)


def _crossing_springs(skin: Skin, modes: F32, coefficients: F64) -> Springs:
    """The springs that keep faces, which cross in one of the people, from it."""
    strength: dict[tuple[int, int], float] = {}
    known, springs = modes, skin.between(strength)
    waiting = np.arange(len(coefficients))
    for _ in range(skin.grip.rounds):
        found: set[tuple[int, int]] = set()
        crossed = []
        for person in waiting:
            shown = skin.rest + np.tensordot(coefficients[person].astype(np.float32), known, 1)
            pairs = skin.crossing(shown)
            if pairs:
                crossed.append(person)
                found |= pairs
        if found:
            found |= {(int(skin.mirror[a]), int(skin.mirror[b])) for a, b in found}
            before = dict(strength)
            for pair in sorted({(min(p), max(p)) for p in found}):
                strength[pair] = min(
                    max(skin.grip.growth * strength.get(pair, 0.0), SOFTEST), skin.grip.strongest
                )
            if strength == before:
                break  # all that can be done is done
            springs = skin.between(strength)
            known = skin.restrained(modes, springs, True)
            waiting = np.array(crossed)
        elif len(waiting) == len(coefficients):
            break
        else:
            waiting = np.arange(len(coefficients))
    return springs


def _unfolded(
    skin: Skin,
    offsets: F32,
    coefficients: F64,
    symmetric: bool,
    also: Springs | None = None,
) -> F32:
    base, grip, keep_lips = skin.rest.astype(np.float32), skin.grip, skin.grip is IN_PEOPLE
    strength = np.zeros(len(skin.quads))
    given = skin.between({}) if also is None else also
    springs = given
    known = skin.restrained(offsets, springs, keep_lips)
    watched = np.arange(len(skin.quads))
    for _ in range(grip.rounds):
        worst = least_cosine(known, base, coefficients, skin.quads[watched])
        bad = np.zeros(len(skin.quads), bool)
        bad[watched] = worst < skin.wanted[watched]
        if symmetric:
            bad |= bad[skin.twin]
        if bad.any():
            if len(watched) == len(skin.quads):
                watched = np.flatnonzero(worst < WATCHED_COSINE)
            before = strength.copy()
            strength[bad] = np.clip(grip.growth * strength[bad], SOFTEST, grip.strongest)
            # What a stiff face no longer takes up, those round it must share.
            strongest = np.zeros(len(base))
            np.maximum.at(strongest, skin.quads, np.where(bad, strength, 0.0)[:, None])
            strength = np.maximum(strength, grip.shared * strongest[skin.quads].max(1))
            if np.array_equal(strength, before):
                break  # all that can be done is done
            springs = given + skin.of_quads(strength)
            known = skin.restrained(offsets, springs, keep_lips)
        elif len(watched) == len(skin.quads):
            break
        else:
            watched = np.arange(len(skin.quads))
    return known


def least_cosine(modes: F32, base: F32, coefficients: F64, quads: I32) -> F64:
    """``(Q,)`` over the shapes ``base`` + ``coefficients`` ``(N, K)`` · ``modes``: the smallest cosine
    between two corner normals of each quad.
    """
    used, local = np.unique(quads, return_inverse=True)
    own = np.ascontiguousarray(modes[:, used]).reshape(len(modes), -1)
    out = np.ones(len(quads))
    for some in np.array_split(coefficients.astype(np.float32), max(1, len(coefficients) // 50)):
        points = base[used] + (some @ own).reshape(len(some), len(used), 3)
        _lower(points, local.reshape(-1, 4).astype(np.int32), out)
    return out


@compiled
def _lower(points: F32, quads: I32, out: F64) -> None:
    """Lowers ``out`` ``(Q,)`` to the smallest cosine between corner normals in ``points`` ``(N, V, 3)``."""
    normal = np.zeros((4, 3))
    for s in range(len(points)):
        for q in range(len(quads)):
            for k in range(4):
                a, b, c = quads[q, k - 1], quads[q, k], quads[q, (k + 1) % 4]
                ux, uy, uz = (
                    points[s, b, 0] - points[s, a, 0],
                    points[s, b, 1] - points[s, a, 1],
                    points[s, b, 2] - points[s, a, 2],
                )
                vx, vy, vz = (
                    points[s, c, 0] - points[s, b, 0],
                    points[s, c, 1] - points[s, b, 1],
                    points[s, c, 2] - points[s, b, 2],
                )
                x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
                length = max(np.sqrt(x * x + y * y + z * z), 1e-15)
                normal[k, 0], normal[k, 1], normal[k, 2] = x / length, y / length, z / length
            for i in range(4):
                for j in range(i):
                    cosine = (
                        normal[i, 0] * normal[j, 0]
                        + normal[i, 1] * normal[j, 1]
                        + normal[i, 2] * normal[j, 2]
                    )
                    out[q] = min(out[q], cosine)
