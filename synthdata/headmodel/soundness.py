"""Faces that flip or run into each other: of any mesh, and of the open head over identities and expressions.

``python -m synthdata.headmodel.soundness HEAD.safetensors`` prints what the model card states.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from backend.head.open_head import load_open_head
from backend.uvspace.kernels import compiled

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
CELL_EDGES = 1.5  # size of the search grid's cells in mean edge lengths
IDENTITIES, BOUND_SIGMA, SEED = 200, 2.5, 2026


def crossing_faces(vertices: NDArray[np.floating[Any]], triangles: I32) -> NDArray[np.bool_]:
    """``(T,)`` which triangles are pierced by an edge of another, or pierce one, without a shared vertex.

    ``vertices`` ``(V, 3)``, ``triangles`` ``(T, 3)``. Touching within rounding does not count; coplanar
    overlap is not found.
    """
    v, t = np.asarray(vertices, np.float64), np.ascontiguousarray(triangles, np.int32)
    if len(t) == 0:
        return np.zeros(0, bool)
    corner = v[t]
    low, high = corner.min(1), corner.max(1)
    size = max(float(CELL_EDGES * np.linalg.norm(corner - np.roll(corner, 1, 1), axis=2).mean()), 1e-12)
    origin = low.min(0)
    first = ((low - origin) / size).astype(np.int64)
    last = ((high - origin) / size).astype(np.int64)
    shape = last.max(0) + 1
    start, entry = _grid(first, last, shape)
    hit = np.zeros(len(t), np.bool_)
    _search(v, t, low, high, first, last, shape, start, entry, hit)
    return hit


def crossing_pairs(vertices: NDArray[np.floating[Any]], triangles: I32, hit: NDArray[np.bool_]) -> I32:
    """``(P, 2)`` rows of ``triangles`` that cross, among those ``hit`` (of ``crossing_faces``)."""
    v, t = np.asarray(vertices, np.float64), np.ascontiguousarray(triangles, np.int32)
    rows = np.flatnonzero(hit)
    low, high = v[t[rows]].min(1), v[t[rows]].max(1)
    near = ((low[:, None] <= high[None]) & (high[:, None] >= low[None])).all(2)
    pairs = [
        (rows[a], rows[b])
        for a, b in np.argwhere(np.triu(near, 1))
        if not _share(t[rows[a]], t[rows[b]])
        and (_pierces(v, t[rows[a]], t[rows[b]]) or _pierces(v, t[rows[b]], t[rows[a]]))
    ]
    return np.array(pairs, np.int32).reshape(-1, 2)


def folded_quads(vertices: NDArray[np.floating[Any]], quads: I32) -> NDArray[np.bool_]:
    """``(Q,)`` whether two corner normals of a quad are more than a right angle apart."""
    v = np.asarray(vertices, np.float64)
    normals = []
    for k in range(4):
        p, q, r = v[quads[:, k - 1]], v[quads[:, k]], v[quads[:, (k + 1) % 4]]
        normals.append(np.cross(q - p, r - q))
    pairs = [(normals[i] * normals[j]).sum(1) for i in range(4) for j in range(i)]
    return np.asarray(np.min(pairs, axis=0) < 0)


def random_identities(modes: int, count: int = IDENTITIES, seed: int = SEED) -> F64:
    """``(count, modes)`` standard normal coefficients, clipped to ±2.5."""
    drawn = np.random.default_rng(seed).standard_normal((count, modes))
    return np.clip(drawn, -BOUND_SIGMA, BOUND_SIGMA)


def surface_rows(head: ParametricHead) -> NDArray[np.intp]:
    """Triangles of the closed surface: skin, mouth's bag, eye sockets."""
    names = [head.part_names.index(n) for n in ("skin", "mouth", "sockets")]
    return np.flatnonzero(np.isin(head.triangle_part, names))


def apart_from_contact(head: ParametricHead, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of the triangles ``rows`` lie away from lips, mouth's bag, lids and sockets, which may touch."""
    contact = np.maximum(head.regions["lips"], head.regions["eyelids"])[head.triangles[rows]].max(1) > 0.02
    return np.asarray(~contact & (head.triangle_part[rows] == head.part_names.index("skin")))


def measure(head: ParametricHead, meshes: Iterator[tuple[str, NDArray[np.floating[Any]]]]) -> list[str]:
    """One line per mesh that has a folded quad or crossing faces away from contact, and a summary."""
    rows = surface_rows(head)
    apart = apart_from_contact(head, rows)
    quads = head.quads[head.quad_part == head.part_names.index("skin")]
    lines, folded, crossed, inside = [], 0, 0, 0
    total = 0
    for name, vertices in meshes:
        bad = folded_quads(vertices, quads)
        cross = crossing_faces(vertices, head.triangles[rows])
        away = cross & apart
        folded, crossed, inside = (
            folded + int(bad.sum()),
            crossed + int(away.sum()),
            inside + int(cross.sum()),
        )
        total += 1
        if bad.any() or away.any():
            middle = np.concatenate(
                [vertices[quads[bad]].mean(1), vertices[head.triangles[rows[away]]].mean(1)]
            )
            where = ", ".join(
                f"({x:.0f} {y:.0f} {z:.0f})"
                for x, y, z in np.unique(np.round(1e3 * middle[:40] / 4) * 4, axis=0)[:6]
            )
            lines.append(f"{name}: {int(bad.sum())} folded, {int(away.sum())} crossing; near {where} mm")
    lines.append(
        f"{total} meshes: {folded} folded quads, {crossed} crossing faces away from lips and lids, "
        f"{inside - crossed} at them; {len(lines)} meshes with any away from them"
    )
    return lines


def main() -> None:
    """Measure the head over 200 identities and all expressions."""
    parser = argparse.ArgumentParser(prog="python -m synthdata.headmodel.soundness", description=main.__doc__)
    parser.add_argument("head", type=Path, help="open head's safetensors file")
    parser.add_argument("--identities", type=int, default=IDENTITIES)
    parser.add_argument("--seed", type=int, default=SEED, help="of the identities")
    options = parser.parse_args()
    head = load_open_head(options.head)
    identities = random_identities(len(head.identity_basis), options.identities, options.seed)
    none = np.zeros(1)
    acts = np.eye(len(head.expression_names))
    names = list(head.expression_names)
    acts[names.index("mouthClose"), names.index("jawOpen")] = 1.0  # by its definition: lips shut, jaw open
    print(*measure(head, iter([("mean", head.mean_vertices)])), sep="\n")
    print(
        *measure(head, ((n, head.shape(none, a)) for n, a in zip(names, acts, strict=True))),
        sep="\n",
    )
    print(*measure(head, ((f"identity {k}", head.shape(a)) for k, a in enumerate(identities))), sep="\n")


@compiled
def _grid(first: I64, last: I64, shape: I64) -> tuple[I64, I32]:
    """Triangles by cell: entries of cell c are entry[start[c] : start[c + 1]]."""
    start = np.zeros(shape[0] * shape[1] * shape[2] + 1, np.int64)
    for step in range(2):
        if step == 1:
            for c in range(len(start) - 1):
                start[c + 1] += start[c]
            entry = np.empty(start[-1], np.int32)
            fill = start[:-1].copy()
        for t in range(len(first)):
            for i in range(first[t, 0], last[t, 0] + 1):
                for j in range(first[t, 1], last[t, 1] + 1):
                    for k in range(first[t, 2], last[t, 2] + 1):
                        c = (i * shape[1] + j) * shape[2] + k
                        if step == 0:
                            start[c + 1] += 1
                        else:
                            entry[fill[c]] = t
                            fill[c] += 1
    return start, entry


@compiled
def _search(
    v: F64,
    t: I32,
    low: F64,
    high: F64,
    first: I64,
    last: I64,
    shape: I64,
    start: I64,
    entry: I32,
    hit: NDArray[np.bool_],
) -> None:
    """Marks both triangles of every pair of which one's edge pierces the other."""
    mark = np.full(len(t), -1, np.int32)
    for a in range(len(t)):
        for i in range(first[a, 0], last[a, 0] + 1):
            for j in range(first[a, 1], last[a, 1] + 1):
                for k in range(first[a, 2], last[a, 2] + 1):
                    c = (i * shape[1] + j) * shape[2] + k
                    for e in range(start[c], start[c + 1]):
                        b = entry[e]
                        if b <= a or mark[b] == a:
                            continue
                        mark[b] = a
                        if (low[a] > high[b]).any() or (low[b] > high[a]).any() or _share(t[a], t[b]):
                            continue
                        if _pierces(v, t[a], t[b]) or _pierces(v, t[b], t[a]):
                            hit[a] = hit[b] = True


@compiled
def _share(a: I32, b: I32) -> bool:
    for i in range(3):
        for j in range(3):
            if a[i] == b[j]:
                return True
    return False


@compiled
def _pierces(v: F64, a: I32, b: I32) -> bool:
    """Whether an edge of triangle ``a`` passes through the inside of triangle ``b``."""
    o = v[b[0]]
    e, f = v[b[1]] - o, v[b[2]] - o
    n = np.cross(e, f)
    nn = (n * n).sum()
    if nn == 0.0:
        return False
    for i in range(3):
        p, q = v[a[i]] - o, v[a[(i + 1) % 3]] - o
        hp, hq = (p * n).sum(), (q * n).sum()
        if hp * hq >= 0.0:
            continue
        x = p + (q - p) * (hp / (hp - hq))
        s = (np.cross(x, f) * n).sum() / nn
        u = (np.cross(e, x) * n).sum() / nn
        if s > 0.0 and u > 0.0 and s + u < 1.0:
            return True
    return False


if __name__ == "__main__":
    main()
