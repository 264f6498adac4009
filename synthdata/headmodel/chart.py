"""The skin's UV chart: of one half, low in stretch, its other half the mirror image; the face enlarged.

The seam runs up the back midline and on over the crown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthdata.headmodel.flatten import fill_holes, mean_value_weights, solve_pinned, split_quads
from synthdata.headmodel.slim import minimise_stretch, rest_frames
from synthdata.headmodel.source import border_loops

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

MARGIN = 0.004
FACE_ENLARGED = 2.7  # lengths on the face against those on neck and skull
BACK_IMPORTANCE = 0.06  # of stretch on skull and neck, against that on the face
NECK_SIDE = 0.12  # of the chart's side that the neck's edge takes
ROUNDING = 8.0  # exponent of the superellipse that bounds the chart
HOLE_RADIUS, HOLE_IMPORTANCE = 0.6, 0.05  # openings in the chart, against circles of their rims' length


def half_chart(
    vertices: F64,
    quads: I32,
    front: NDArray[np.intp],
    mouth: NDArray[np.intp],
    hidden: NDArray[np.bool_],
    iterations: int,
) -> F64:
    """UV ``(N, 2)`` in [0.5, 1]×[0, 1] of the x ≥ 0 half ``vertices`` ``(N, 3)``, without flips.

    ``front`` lists midline vertices that are not on the seam, ``mouth`` the rim of the half mouth from its
    lower to its upper midline vertex; vertices ``hidden`` ``(N,)`` within openings need little texture.
    Raises: ValueError when the half is not a disc.
    """
    count = len(vertices)
    triangles = split_quads(quads)
    loops = [loop for loop in border_loops(quads) if not set(loop) & set(front.tolist())]
    v, all_triangles = fill_holes(vertices, triangles, loops)
    middle = len(v)
    v = np.concatenate([v, v[mouth[[0, -1]]].mean(0, keepdims=True)])
    fan = np.stack([mouth[1:], mouth[:-1], np.full(len(mouth) - 1, middle)], 1).astype(np.int32)
    if _directed(all_triangles) & _directed(fan):
        fan = fan[:, [1, 0, 2]]
    all_triangles = np.concatenate([all_triangles, fan])
    on_axis = np.zeros(len(v), bool)
    on_axis[front] = on_axis[middle] = True
    rest = rest_frames(v[all_triangles])
    for first, loop, turn in _fans(len(triangles), loops, fan):
        rest[first] = _fan_frames(v, all_triangles[first], loop, turn)
    face = _on_face(v[all_triangles].mean(1))
    face[: len(triangles)] *= 1 - hidden[triangles].mean(1)
    rest *= (FACE_ENLARGED**face)[:, None, None]
    importance = BACK_IMPORTANCE + (1 - BACK_IMPORTANCE) * face
    importance[len(triangles) :] = HOLE_IMPORTANCE
    start, fixed = _half_square(v, all_triangles, on_axis, front)
    rest *= np.sqrt(2.0 / (0.5 * np.linalg.det(rest)).sum())  # as much area as the half square has
    uv = minimise_stretch(start, all_triangles, rest, importance, fixed, iterations)[:count]
    uv = _untangle(uv, quads, fixed[:count])  # quads that are split along the other diagonal on the right
    return np.asarray(0.5 + (0.5 - MARGIN) * uv)


def singular_values(vertices: F64, uv: F64, triangles: I32) -> F64:
    """``(T, 2)`` how much a map from the surface to the plane lengthens, most and least."""
    rest = rest_frames(vertices[triangles])
    p = uv[triangles]
    flat = np.stack([p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]], 2)
    return np.asarray(np.linalg.svd(flat @ np.linalg.inv(rest), compute_uv=False))


def _on_face(point: F64) -> F64:
    """1 on the face at 3D points, 0 on skull and neck: smooth, as changes of scale stretch."""
    y, z = point[:, 1], point[:, 2]
    face = 1 / (1 + np.exp(-(z - 0.025) / 0.018)) / (1 + np.exp(-(y + 0.100) / 0.014))
    return np.asarray(face / (1 + np.exp((y - 0.105) / 0.014)))


def _fans(first: int, loops: list[list[int]], mouth_fan: I32) -> list[tuple[slice, list[int], float]]:
    """Each hole's triangles, its rim, and the angle that they fill round its middle."""
    out = []
    for loop in loops:
        out.append((slice(first, first + len(loop)), loop, 2 * np.pi))
        first += len(loop)
    out.append((slice(first, first + len(mouth_fan)), mouth_fan[:, :2].ravel().tolist(), np.pi))
    return out


def _fan_frames(v: F64, fan: I32, loop: list[int], turn: float) -> F64:
    """Frames of isosceles triangles whose bases are the rim's edges."""
    base = np.linalg.norm(v[fan[:, 1]] - v[fan[:, 0]], axis=1)
    side = np.maximum(HOLE_RADIUS * base.sum() / turn, 0.6 * base)
    height = np.sqrt(side**2 - 0.25 * base**2)
    zero = np.zeros_like(base)
    return np.stack([np.stack([base, 0.5 * base], 1), np.stack([zero, height], 1)], 1)


def _half_square(
    v: F64, triangles: I32, on_axis: NDArray[np.bool_], front: NDArray[np.intp]
) -> tuple[F64, NDArray[np.bool_]]:
    """A flip-free start (Tutte) and which coordinates stay: the front's u = 0, the border on the outline.

    The outline is that of [−1, 1]², its corners rounded; the neck's edge takes the bottom and NECK_SIDE of
    the right side, the seam the rest. With its border on a convex outline and no flips, the chart is
    one-to-one.
    """
    loops = border_loops(np.c_[triangles, np.full(len(triangles), -1)])
    if len(loops) != 1:
        raise ValueError(f"the half chart's surface has {len(loops)} borders instead of one")
    loop = np.asarray(loops[0])
    inside = on_axis[loop]
    loop = np.roll(loop, -int(np.flatnonzero(inside & ~np.roll(inside, 1))[0]))
    axis = int(on_axis[loop].sum())
    if not on_axis[loop[:axis]].all():
        raise ValueError("the front midline is not one piece of the half chart's border")
    length = np.linalg.norm(v[np.roll(loop, -1)] - v[loop], axis=1)
    down = np.r_[0.0, np.cumsum(length[: axis - 1])]
    # The border runs anticlockwise: down the axis, along the neck's edge, up the seam.
    rest = loop[axis - 1 :]
    nape = int(np.argmin(v[rest[1:], 2] + 10 * np.abs(v[rest[1:], 0]))) + 1
    along = np.r_[0.0, np.cumsum(length[axis - 1 :])]
    outline, travelled = _outline()
    corner = np.interp(
        -1 + 2 * NECK_SIDE,
        outline[len(outline) // 4 : 3 * len(outline) // 4, 1],
        travelled[len(outline) // 4 : 3 * len(outline) // 4],
    )
    at = np.interp(along, [0.0, along[nape], along[-1]], [0.0, corner, travelled[-1]])[1:-1]
    place = np.stack([np.interp(at, travelled, outline[:, k]) for k in range(2)], 1)
    top_down = np.stack([np.zeros(axis), 1 - 2 * down / down[-1]], 1)
    flat = solve_pinned(mean_value_weights(v, triangles), loop, np.concatenate([top_down, place]))
    fixed = np.zeros(flat.shape, bool)
    fixed[loop[:axis], 0] = True
    fixed[rest] = fixed[loop[0]] = True
    return flat, fixed


def _outline() -> tuple[F64, F64]:
    """Right half of [−1, 1]²'s outline, from the bottom's middle, as a superellipse; and the way along it."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 4001)
    c, s = np.maximum(np.cos(angle), 0.0), np.sin(angle)
    points = np.stack([c ** (2 / ROUNDING), np.sign(s) * np.abs(s) ** (2 / ROUNDING)], 1)
    return points, np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]


def _directed(triangles: I32) -> set[tuple[int, int]]:
    return {(int(t[k]), int(t[(k + 1) % 3])) for t in triangles.tolist() for k in range(3)}


def folded(uv: F64, quads: I32, pinned: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``(Q,)`` whether a corner of a flat quad turns the wrong way (clockwise or straight).

    Corners of three ``pinned`` ``(N,)`` vertices, which lie on a convex outline, are not asked.
    """
    bad = np.zeros(len(quads), bool)
    for k in range(4):
        p, q, r = uv[quads[:, k - 1]], uv[quads[:, k]], uv[quads[:, (k + 1) % 4]]
        e, f = q - p, r - q
        size = np.linalg.norm(e, axis=1) * np.linalg.norm(f, axis=1)
        wrong = e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0] <= 0.02 * size
        bad |= wrong & ~pinned[quads[:, [k - 1, k, (k + 1) % 4]]].all(1)
    return bad


def _untangle(uv: F64, quads: I32, fixed: NDArray[np.bool_]) -> F64:
    """Relax the neighbourhood of folded quads towards neighbour means until none is left."""
    uv = uv.copy()
    count = len(uv)
    edges = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    edges = np.unique(np.sort(edges, 1), axis=0)
    use = np.bincount(edges.ravel(), minlength=count)
    for _ in range(400):
        bad = folded(uv, quads, fixed.all(1))
        if not bad.any():
            return uv
        move = np.zeros(count, bool)
        move[quads[bad].ravel()] = True
        for _ in range(2):
            near = move[quads].any(1)
            move[quads[near].ravel()] = True
        total = np.zeros((count, 2))
        np.add.at(total, edges[:, 0], uv[edges[:, 1]])
        np.add.at(total, edges[:, 1], uv[edges[:, 0]])
        target = total / np.maximum(use, 1)[:, None]
        uv = np.where(move[:, None] & ~fixed, 0.5 * uv + 0.5 * target, uv)
    raise ValueError(f"{int(folded(uv, quads, fixed.all(1)).sum())} quads of the chart stay folded")
