"""What hides part of a head besides its own hair and glasses: a hat, a hand; head space, no Blender."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from synthdata.cases.glasses import tube_mesh
from synthdata.cases.hair import F32, F64

I32 = NDArray[np.int32]
Mesh = tuple[F32, I32]  # vertices (V, 3) in metres, quads (Q, 4)

WOOL_M = 0.006  # of the hat over what is under it …
CUFF_M = 0.004  # … and of its turned-up edge, in addition
_CUFF_SHARE = 0.28  # of the way from edge to crown
_RIBS, _RIB_M = 90, 0.0007
_AROUND, _UP = 720, 60  # facets of the hat
FINGER_M = (0.0085, 0.0092, 0.0088, 0.0075, 0.0100)  # radii, index to little finger, thumb
_LENGTH_M = (0.070, 0.078, 0.073, 0.058)
_PALM_M = 0.016
_CUPPED_M = 0.012  # by which a finger may lie behind the foremost


def hat_mesh(head: ParametricHead, vertices: F32) -> Mesh:
    """A knitted hat that covers the upper forehead, the tops of the ears and the back of the head.

    The head's convex hull above its edge, grown by the wool: so it bridges what wool bridges.
    """
    from scipy.spatial import ConvexHull

    skin = vertices[np.unique(head.triangles[head.triangle_part == 0])].astype(np.float64)
    centre, up = edge(head, vertices, skin)
    hull = ConvexHull(skin[(skin - centre) @ up > -0.005])
    front = np.cross([1.0, 0.0, 0.0], up)
    side = np.cross(up, front)
    turn = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)[None]
    share = np.linspace(0, 1, _UP)[:, None]  # from the crown to the edge
    tilt = 0.5 * np.pi * np.maximum(share, 1e-3)
    level = np.cos(turn)[..., None] * front + np.sin(turn)[..., None] * side
    towards = np.sin(tilt)[..., None] * level + np.cos(tilt)[..., None] * up
    radius = reach(hull.equations, centre, towards.reshape(-1, 3)).reshape(towards.shape[:2])
    cuff = np.clip((share - (1 - _CUFF_SHARE)) / 0.02, 0, 1)
    radius = radius + WOOL_M + CUFF_M * cuff + _RIB_M * np.cos(_RIBS * turn) * np.sin(tilt)
    rows = centre + radius[..., None] * towards
    inside = centre + (radius[-1] - WOOL_M - CUFF_M)[:, None] * towards[-1]
    return grid(np.concatenate([rows, inside[None]]))


def under_hat(head: ParametricHead, vertices: F32, strands: F32) -> NDArray[np.bool_]:
    """Which of ``strands`` ``(N, n, 3)`` the hat hides: those that grow above its edge."""
    skin = vertices[np.unique(head.triangles[head.triangle_part == 0])].astype(np.float64)
    centre, up = edge(head, vertices, skin)
    return np.asarray((strands[:, 0] - centre) @ up > 0)


def edge(head: ParametricHead, vertices: F32, skin: F64) -> tuple[F64, F64]:
    """The middle of the hat's edge and the way up from it: mid-forehead to under the back of the skull."""
    points = head.mediapipe.positions(vertices, head.triangles)
    brow, top = points[[9, 10]].astype(np.float64)
    forehead = 0.45 * brow + 0.55 * top
    ears = points[[234, 454]].mean(0).astype(np.float64)
    back = skin[np.abs(skin[:, 1] - ears[1]) < 0.01]
    nape = np.array([forehead[0], ears[1] + 0.01, back[:, 2].min()])
    along = forehead - nape
    up = np.cross(along, [1.0, 0.0, 0.0])
    return 0.5 * (forehead + nape), up / np.linalg.norm(up)


def reach(planes: F64, origin: F64, directions: F64) -> F64:
    """Distance ``(N,)`` from ``origin`` to the hull's surface; ``planes`` ``(F, 4)`` point outwards."""
    height = -(planes[:, :3] @ origin + planes[:, 3])
    out = np.empty(len(directions))
    for start in range(0, len(directions), 4096):
        slope = directions[start : start + 4096] @ planes[:, :3].T
        out[start : start + 4096] = np.where(slope > 1e-9, height / np.maximum(slope, 1e-9), np.inf).min(1)
    return out


def grid(rows: F64) -> Mesh:
    """Rings ``(R, C, 3)`` joined by quads."""
    count, around = rows.shape[:2]
    a = np.arange(count - 1)[:, None] * around + np.arange(around)
    b = np.arange(count - 1)[:, None] * around + (np.arange(around) + 1) % around
    quads = np.stack([a, a + around, b + around, b], -1).reshape(-1, 4)
    return rows.reshape(-1, 3).astype(np.float32), quads.astype(np.int32)


def hand_meshes(head: ParametricHead, vertices: F32, side: float) -> list[Mesh]:
    """A hand laid on the cheek and jaw on the subject's left (``side`` 1) or right (−1), fingers upwards."""
    points = head.mediapipe.positions(vertices, head.triangles).astype(np.float64)
    jaw, cheek = points[[288, 280] if side > 0 else [58, 50]]
    knuckles = jaw + np.array([0.006 * side, -0.016, 0.0])
    up = (cheek - knuckles)[:2] / np.linalg.norm((cheek - knuckles)[:2])
    across = np.array([up[1], -up[0]]) * side
    fingers = []
    for finger, length in enumerate(_LENGTH_M):
        start = knuckles[:2] + (finger - 1.5) * 0.0178 * across
        splay = up + 0.07 * (finger - 1.5) * across
        fingers.append(start + np.linspace(0, length, 24)[:, None] * splay / np.linalg.norm(splay))
    thumb = knuckles[:2] - 0.030 * across - 0.035 * up
    fingers.append(np.linspace(thumb, thumb - 0.022 * across + 0.045 * up, 24))
    face = vertices[head.regions["face"] > 0.5].astype(np.float64)
    laid = _laid(np.stack(fingers), face, max(FINGER_M))
    meshes = [_capsule(line, radius) for line, radius in zip(laid, FINGER_M, strict=True)]
    # Palm and forearm are one flat tube: it lies where the fingers begin, the arm hangs down from it.
    knuckle = np.append(knuckles[:2] + 0.012 * up, laid[:4, 0, 2].max())
    down, aside = np.append(-up, 0.0), np.append(across, 0.0)
    along = np.array([0.0, 0.03, 0.06, 0.095, 0.13, 0.27])
    half_width = np.array([0.037, 0.040, 0.036, 0.027, 0.028, 0.034])
    even = np.linspace(0, along[-1], 80)
    line = knuckle + even[:, None] * down
    return [*meshes, _flat(line, aside, np.interp(even, along, half_width), _PALM_M)]


def _laid(paths: F64, face: F64, radius: float) -> F64:
    """``paths`` ``(k, n, 2)`` in x, y, side by side, with the z at which they rest on the ``face``."""
    flat = paths.reshape(-1, 2)
    gap = np.hypot(flat[:, None, 0] - face[None, :, 0], flat[:, None, 1] - face[None, :, 1])
    z = np.where(gap < radius + 0.004, face[None, :, 2], -np.inf).max(1).reshape(paths.shape[:2])
    # What reaches past the face stays beside its neighbour, what is below it goes straight on.
    z = np.maximum(z, z.max(0) - _CUPPED_M)
    known = np.isfinite(z[0])
    step = np.arange(z.shape[1])
    z = np.stack([np.interp(step, step[known], line[known]) for line in z])
    for _ in range(12):  # bones are straight: bend gently, and rather off the skin than into it
        z[:, 1:-1] = np.maximum(z[:, 1:-1], 0.5 * (z[:, :-2] + z[:, 2:]))
    return np.concatenate([paths, (z + radius)[..., None]], -1)


def _flat(path: F64, aside: F64, half_width: F64, half_thickness: float) -> Mesh:
    """A tube of elliptical section along ``path`` ``(n, 3)``, wide towards ``aside``, round at its start."""
    front = np.cross(aside, path[-1] - path[0])
    front *= np.sign(front[2]) / np.linalg.norm(front)
    start = np.linalg.norm(path - path[0], axis=1) / half_thickness
    round_off = np.sqrt(np.clip(1 - (1 - np.minimum(start, 1)) ** 2, 0.01, 1))[:, None, None]
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)[None, :, None]
    wide = half_width[:, None, None] * np.cos(turn) * aside
    thick = half_thickness * np.sin(turn) * front
    return grid(path[:, None] + round_off * (wide + thick))


def _capsule(path: F64, radius: float) -> Mesh:
    """A rounded stick along ``path`` ``(n, 3)``."""
    step = np.linalg.norm(np.diff(path, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(step)])
    even = np.linspace(0, along[-1], 80)
    line = np.stack([np.interp(even, along, path[:, k]) for k in range(3)], 1)
    to_end = np.minimum(even, even[-1] - even)
    cap = np.sqrt(np.clip(1 - (1 - np.minimum(to_end / radius, 1)) ** 2, 0.02, 1))
    vertices, quads = tube_mesh(line, closed=False, radius_m=1.0, sides=20)
    ring = vertices.reshape(len(line), 20, 3).astype(np.float64) - line[:, None]
    thick = (radius * cap)[:, None, None]
    return (line[:, None] + thick * ring).reshape(-1, 3).astype(np.float32), quads
