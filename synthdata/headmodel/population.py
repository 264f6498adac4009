"""The population that the open head's identity modes are the principal modes of.

A person is the mean head plus, all independent and of zero mean,

* ICT-FaceKit's identity modes, standard normal: measured people;
* traits of MakeHuman's shapes (``traits``): age, sex, origin and features. Of each trait only what ICT's
  modes do not explain at little cost is added, so that sculpture widens the scans and does not count twice;
* a smooth random field of half a millimetre that knows no left and right, for what neither of them holds.

Every person's mirror image is as likely as the person. The covariance is then known in closed form (the
traits' weights but for a few thousand draws), falls apart into symmetric and antisymmetric offsets, and its
eigenvectors are the modes: coefficients are standard normal in the sense of their second moments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from backend.head.base import ParametricHead
from backend.head.meshing import together, vertices_of
from backend.head.open_head import unfold
from backend.head.surface import closest_on
from backend.uvspace.cotangent import cotangent_operators
from synthdata.headmodel.follow import TOGETHER, Follower, hold_lips
from synthdata.headmodel.makehuman import Registered, similarity
from synthdata.headmodel.parts import MIRROR_X
from synthdata.headmodel.traits import BODIES, Trait, find_traits, read_target

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I8 = NDArray[np.int8]
I32 = NDArray[np.int32]

MODES = 160
LARGEST_M = 0.009  # that a feature at weight 1 moves a vertex
LARGEST_BODY_M = 0.020
FAR_M = 0.006  # half of the trust in a shape is lost where the registered head lies so far off MakeHuman's
EXPLAINED_M = 0.0004  # RMS of what is left for which ICT's modes would spend one more standard deviation
FIELD_M, FIELD_LENGTH_M = 0.0005, 0.030  # standard deviation per axis and correlation length of the field
FIELD_CENTRES = 700
FACE_COUNTS, HEAD_COUNTS = 1.0, 0.3  # per area, when modes are ranked


@dataclass(frozen=True)
class TraitShapes:
    """Traits and their shapes on one head."""

    traits: tuple[Trait, ...]
    offsets: tuple[F32, ...]  # (S, V, 3) metres at weight 1, for each trait

    def draw(self, rng: np.random.Generator) -> F64:
        """Offsets ``(V, 3)`` of one random person."""
        out = np.zeros(self.offsets[0].shape[1:])
        for trait, shapes in zip(self.traits, self.offsets, strict=True):
            out += np.tensordot(trait.draw(1, rng)[0] - trait.moments[0], shapes, 1)
        return out


def carry_traits(
    folder: Path, registered: Registered, head: ParametricHead, without: frozenset[str] = frozenset()
) -> TraitShapes:
    """MakeHuman's shapes (its ``folder``) on ``head``, which ``registered`` lays onto MakeHuman's.

    ``without``: families left out. Raises: Missing.
    """
    base, mean = registered.base, head.mean_vertices.astype(np.float64)
    place, corners, weight = _even_places(registered, head.mirror_vertex)

    def on_head(values: F64) -> F64:
        return np.asarray(np.einsum("nk,nkc->nc", weight, values[corners]))

    gap = np.linalg.norm(place - on_head(base.vertices), axis=1)
    skin = np.zeros(len(mean))
    skin[vertices_of(head, "skin")] = 1.0
    trust = skin / (1 + (gap / FAR_M) ** 4)
    follow = Follower(head, trust)
    scale, rotation, _ = similarity(place[trust > 0.5], mean[trust > 0.5])
    importance = importance_of(head)
    # Shoulders belong to no face; what shapes do there fades out.
    share = np.clip((mean[:, 1] + 0.15) / 0.05, 0, 1)[:, None]
    traits = find_traits(folder, without)
    carried = []
    for trait in traits:
        largest = LARGEST_BODY_M if trait.family == BODIES else LARGEST_M
        raw = [read_target(folder, target, base) for target in trait.targets]
        rough = np.stack([on_head(offsets) for offsets in raw]) @ (scale * rotation.T)
        if trait.moves_all:
            rough = np.stack([_stilled(mean, offsets, importance) for offsets in rough])
        if trait.family == BODIES:
            rough -= rough.mean(0)  # their common part leads from the base mesh to a body
        length = np.linalg.norm(rough, axis=-1, keepdims=True)
        rough *= share * largest * np.tanh(length / largest) / np.maximum(length, 1e-9)
        carried.append(follow(rough).astype(np.float32))
    return TraitShapes(tuple(traits), tuple(carried))


def _even_places(registered: Registered, mirror: I32) -> tuple[F64, I32, F64]:
    """Places near MakeHuman's symmetric head, made symmetric; the triangle ``(V, 3)`` there, barycentrics."""
    base = registered.base
    place = 0.5 * (registered.place + registered.place[mirror] * MIRROR_X)
    # A triangle whose mirror image was found to be lining is lining, too.
    middle = base.vertices[base.triangles].mean(1)
    twin = cKDTree(middle).query(middle * MIRROR_X)[1]
    body = registered.body[np.isin(twin[registered.body], registered.body)]
    hit, weight = closest_on(place, base.vertices, base.triangles[body])
    return place, base.triangles[body[hit]], weight


def _stilled(rest: F64, offsets: F64, importance: F64) -> F64:
    """``offsets`` without the turn and the shift of the whole head (``importance`` ``(V,)``); size stays."""
    moved = rest + offsets
    a, b = moved - importance @ moved, rest - importance @ rest
    u, _, vt = np.linalg.svd((b * importance[:, None]).T @ a)
    rotation = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return np.asarray(a @ rotation.T + importance @ rest - rest)


def population_modes(
    head: ParametricHead,
    half: I32,
    ict: tuple[F64, I8],
    shapes: TraitShapes,
    count: int = MODES,
) -> tuple[F64, I8]:
    """Principal modes ``(count, H, 3)`` on the ``half`` of ``head`` and their parity, strongest first.

    ``ict``: ICT's own modes ``(K, H, 3)`` on the half and their parity (``assemble.carried_modes``).
    """
    importance = importance_of(head)[half]
    importance = np.where(head.mirror_vertex[half] == half, importance, 2 * importance)
    found: list[tuple[F64, F32]] = []
    for sign in (1, -1):
        scans = np.asarray(ict[0][ict[1] == sign], np.float32)
        sculpted = [own - _explained(own, scans, importance) for own in _generators(shapes, head, half, sign)]
        people = np.concatenate([scans, *sculpted, smooth_fields(head, half, sign)])
        found.append(_principal(people, importance, count))
    order = np.argsort([-v for variance, _ in found for v in variance], kind="stable")[:count]
    modes = np.concatenate([modes for _, modes in found])[order]
    signs = np.repeat(np.array([1, -1], np.int8), [len(variance) for variance, _ in found])[order]
    # Scans differ in how far lips are open or pressed; a neutral face is to have them closed.
    whole = unfold(modes, half, head.mirror_vertex, signs, MIRROR_X.astype(np.float32))
    return hold_lips(head, whole.astype(np.float64))[:, half], signs


def importance_of(head: ParametricHead) -> F64:
    """How much a vertex counts ``(V,)`` when modes are ranked; the sum is 1, nothing but skin counts."""
    skin = head.triangles[head.triangle_part == 0]
    area, _ = cotangent_operators(head.mean_vertices.astype(np.float64), skin)
    weight = np.zeros(len(area))
    rows = np.unique(skin)
    weight[rows] = area[rows] * (HEAD_COUNTS + (FACE_COUNTS - HEAD_COUNTS) * head.regions["face"][rows])
    return np.asarray(weight / weight.sum())


def _generators(shapes: TraitShapes, head: ParametricHead, half: I32, sign: int) -> Iterator[F32]:
    """Per trait, independent offsets ``(S, H, 3)`` of one standard deviation: its part of parity ``sign``."""
    mirror = head.mirror_vertex[half]
    for trait, offsets in zip(shapes.traits, shapes.offsets, strict=True):
        variance, turn = np.linalg.eigh(np.atleast_2d(trait.moments[1]))
        own = np.tensordot(np.sqrt(np.maximum(variance, 0.0))[:, None] * turn.T, offsets, 1)
        yield (0.5 * (own[:, half] + sign * own[:, mirror] * MIRROR_X)).astype(np.float32)


def _explained(offsets: F32, modes: F32, importance: F64) -> F32:
    """What of ``offsets`` the most likely standard normal coefficients of ``modes`` make."""
    root = np.sqrt(importance)[:, None].astype(np.float32)
    a = (modes * root).reshape(len(modes), -1).astype(np.float64)
    b = (offsets * root).reshape(len(offsets), -1).astype(np.float64)
    normal = a @ a.T + EXPLAINED_M**2 * np.eye(len(a))
    return np.tensordot(np.linalg.solve(normal, a @ b.T).T.astype(np.float32), modes, 1)


def smooth_fields(head: ParametricHead, half: I32, sign: int) -> F32:
    """The smooth field's part of parity ``sign`` as independent offsets ``(M, H, 3)``.

    A Gaussian process with a squared-exponential kernel over the mean head, by Nyström's method.
    """
    mean = _one_place_per_rigid_part(head)
    rows = np.intersect1d(vertices_of(head, "skin"), half)
    centres = mean[rows[spread_out(mean[rows], FIELD_CENTRES)]]

    def kernel(a: F64, b: F64) -> F64:
        return np.asarray(np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * FIELD_LENGTH_M**2)))

    out = []
    for axis in range(3):
        across = sign * MIRROR_X[axis]

        def even(a: F64, across: float = across) -> F64:
            return 0.5 * (kernel(a, centres) + across * kernel(a * MIRROR_X, centres))

        variance, turn = np.linalg.eigh(even(centres))
        keep = variance > 1e-3 * variance[-1]
        to_modes = turn[:, keep] / np.sqrt(variance[keep])
        values = np.concatenate([even(part) @ to_modes for part in np.array_split(mean[half], 40)])
        field = np.zeros((int(keep.sum()), len(half), 3), np.float32)
        field[..., axis] = FIELD_M * values.T
        out.append(field)
    return np.concatenate(out)


def _one_place_per_rigid_part(head: ParametricHead) -> F64:
    """Where a field is looked up for each vertex: eyeballs and bite move as one."""
    place = head.mean_vertices.astype(np.float64)
    for group in TOGETHER:
        rows = together(head, group)
        if len(rows) == 0:
            continue
        place[rows] = place[rows].mean(0)
        if abs(float(place[rows[0], 0])) < 1e-4:
            place[rows, 0] = 0.0  # across the midline
    return place


def spread_out(points: F64, count: int) -> NDArray[np.intp]:
    """Rows of ``count`` points far from each other (farthest-point sampling from the first)."""
    chosen = [0]
    gap = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.asarray(chosen, np.intp)


def _principal(people: F32, importance: F64, count: int) -> tuple[F64, F32]:
    """Variances and modes of the covariance that independent unit-variance offsets ``people`` make."""
    root = np.sqrt(importance)[:, None].astype(np.float32)
    flat = (people * root).reshape(len(people), -1)
    variance, turn = np.linalg.eigh((flat @ flat.T).astype(np.float64))
    pick = np.argsort(-variance, kind="stable")[:count]
    turn = turn[:, pick].T
    turn = turn * np.where(turn.sum(1) < 0, -1.0, 1.0)[:, None]
    return variance[pick], np.tensordot(turn.astype(np.float32), people, 1)
