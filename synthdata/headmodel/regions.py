"""Soft regions of the head's skin, from rings of the layout and distances to ICT's 68 landmarks."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numpy.typing import NDArray

from backend.head.meshing import edges_of
from synthdata.headmodel.layout import HalfMesh

F64 = NDArray[np.float64]

NAMES = (
    "face",
    "lips",
    "nose",
    "brows",
    "eyelids",
    "cheeks",
    "forehead",
    "chin",
    "scalp",
    "ears",
    "neck",
    "beard",
)
LIP_LINE = 5  # mouth rings from the inner border to where the lips meet
# Hairline height (metres) over azimuth from the front (degrees), about the head's vertical axis.
HAIRLINE = (
    (0, 0.101),
    (25, 0.097),
    (45, 0.080),
    (58, 0.060),
    (72, 0.030),
    (84, 0.004),
    (95, 0.0),
    (110, 0.012),
    (130, -0.025),
    (150, -0.047),
    (180, -0.050),
)


def half_regions(mesh: HalfMesh, v: F64, landmarks: F64, lid_rings: int) -> dict[str, F64]:
    """Weights in [0, 1] for the half's vertices ``v`` ``(N, 3)``; ``landmarks`` ``(68, 3)`` iBUG order."""
    x, y, z = np.abs(v[:, 0]), v[:, 1], v[:, 2]
    lips = _lips(mesh, v, landmarks[51:58])
    eyelids = np.zeros(len(v))
    for k, ring in enumerate(mesh.eye_rings):
        eyelids[ring] = np.clip(1 - (len(mesh.eye_rings) - lid_rings - 3 - k) * 0.35, 0, 1)
    eyelids = _soften(mesh, v, eyelids, 0.0015)
    brow = _step(_distance(v, landmarks[22:27]), 0.0010, 0.0095)
    width = np.interp(
        y, [-0.018, -0.012, 0.0, 0.012, 0.03, 0.042], [0.014, 0.0175, 0.0175, 0.012, 0.0075, 0.006]
    )
    nose = _step(x, width - 0.002, width + 0.003) * _step(-z, -0.098, -0.092)
    nose *= _step(y, 0.036, 0.046) * _step(-y, 0.0110, 0.0155)
    nose = _soften(mesh, v, nose, 0.0025) * (1 - lips) * (1 - eyelids)
    azimuth = np.degrees(np.arctan2(x, z))
    hairline = np.interp(azimuth, *np.array(HAIRLINE).T)
    ears = _ears(mesh, v)
    above = 1 / (1 + np.exp(-(y - hairline) / 0.0035))
    scalp = above * (1 - ears)
    jaw = np.interp(
        z, [-0.06, -0.02, 0.0, 0.06, 0.09, 0.105], [-0.055, -0.045, -0.042, -0.066, -0.079, -0.086]
    )
    neck = 1 / (1 + np.exp((y - jaw) / 0.004)) * (1 - ears)
    neck = np.maximum(neck, (1 - above) * _step(z, -0.02, 0.0)) * (1 - ears)
    front = (1 - scalp) * (1 - neck) * (1 - ears)
    face = front
    cheeks = (
        np.exp(-(((x - 0.045) / 0.025) ** 2 + ((y - 0.0) / 0.025) ** 2))
        * front
        * (1 - nose)
        * (1 - lips)
        * (1 - eyelids)
    )
    forehead = front * _step(-y, -0.062, -0.052) * (1 - brow)
    chin = np.exp(-((np.linalg.norm(v - landmarks[8] - np.array([0, 0.009, 0]), axis=1) / 0.022) ** 2)) * (
        1 - lips
    )
    cheek_line = np.interp(x, [0, 0.02, 0.045, 0.06, 0.07], [-0.0125, -0.0150, -0.032, -0.018, 0.02])
    beard = (1 / (1 + np.exp((y - cheek_line) / 0.003))) * (1 - lips) * (1 - nose) * (1 - ears)
    beard *= _step(-y - 0.25 * (0.09 - z), 0.080, 0.094) * _step(-z, -0.016, 0.006)
    out = {
        "face": face,
        "lips": lips,
        "nose": nose,
        "brows": brow * (1 - eyelids * 0.5),
        "eyelids": eyelids,
        "cheeks": cheeks,
        "forehead": forehead,
        "chin": chin,
        "scalp": scalp,
        "ears": ears,
        "neck": neck,
        "beard": beard,
    }
    return {name: np.clip(out[name], 0.0, 1.0) for name in NAMES}


def _lips(mesh: HalfMesh, v: F64, outline: F64) -> F64:
    """The vermilion, from the half's ``outline`` (upper midline to lower midline): soft over 4.5 mm."""
    smooth = outline.copy()
    for _ in range(3):  # corner cutting (Chaikin); the ends lie on the midline
        a, b = smooth[:-1], smooth[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], 1).reshape(-1, 3)
        smooth = np.concatenate([smooth[:1], cut, smooth[-1:]])
    ring = np.concatenate(mesh.mouth_rings)
    p = v[ring]
    order = np.argsort(smooth[:, 1])
    edge = np.interp(p[:, 1], smooth[order, 1], smooth[order, 0], left=-1.0, right=-1.0)
    inside = np.where(p[:, 0] < edge, 1.0, -1.0)
    out = np.zeros(len(v))
    out[ring] = _step(-inside * _distance(p, smooth), -0.0025, 0.0020)
    for k, loop in enumerate(mesh.mouth_rings[::-1]):  # what lies behind the lips' line is lip
        if k < LIP_LINE:
            out[loop] = 1.0
    return _soften(mesh, v, out, 0.0010)


def _ears(mesh: HalfMesh, v: F64) -> F64:
    """Where the surface stands off its own smoothed version, beside the head."""
    edges = np.concatenate([mesh.quads[:, [k, (k + 1) % 4]] for k in range(4)])
    degree = np.bincount(edges.ravel(), minlength=len(v))[:, None]
    gap = np.abs(v - np.array([0.0, 0.008, -0.004]))
    inside = (gap[:, 0] > 0.066) & (gap[:, 1] < 0.045) & (gap[:, 2] < 0.036)
    on_patch = np.zeros(len(v), bool)
    on_patch[mesh.patch_vertices] = True  # the nostril's, too, which lie elsewhere
    smooth = v.copy()
    for _ in range(300):
        total = np.zeros_like(v)
        np.add.at(total, edges[:, 0], smooth[edges[:, 1]])
        np.add.at(total, edges[:, 1], smooth[edges[:, 0]])
        smooth[inside] = (total / degree)[inside]
    height = np.linalg.norm(v - smooth, axis=1)
    ears = np.where(inside & on_patch, _step(-height, -0.008, -0.003), 0.0)
    ears *= _step(gap[:, 1], 0.034, 0.042) * _step(gap[:, 2], 0.026, 0.034)
    return np.clip(1.15 * _soften(mesh, v, ears, 0.003), 0, 1)


def _soften(mesh: HalfMesh, v: F64, weight: F64, radius: float) -> F64:
    """``weight`` diffused over the surface with a standard deviation of about ``radius`` metres.

    Two implicit heat steps on the graph of edges, each edge counting by 1/length²; across the midline
    nothing flows, as the weights are symmetric.
    """
    edges = edges_of(mesh.quads)
    a, b = edges.T
    flow = 1.0 / np.maximum(((v[a] - v[b]) ** 2).sum(1), 1e-8)
    n = len(v)
    graph = sp.csr_matrix((np.r_[flow, flow], (np.r_[a, b], np.r_[b, a])), shape=(n, n))
    laplacian = sp.diags(np.asarray(graph.sum(1)).ravel()) - graph
    solver = spla.splu((sp.eye(n) + 0.25 * radius**2 * laplacian).tocsc())
    return np.asarray(solver.solve(solver.solve(weight)))


def _distance(points: F64, polyline: F64) -> F64:
    """Distance of points to a polyline."""
    best = np.full(len(points), np.inf)
    for a, b in itertools.pairwise(polyline):
        t = np.clip(((points - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - a - t[:, None] * (b - a), axis=1))
    return best


def _step(value: F64, low: F64 | float, high: F64 | float, rising: bool = False) -> F64:
    """Smooth 1 below ``low``, 0 above ``high`` (or the reverse)."""
    t = np.clip((value - low) / (high - low), 0, 1)
    s = t * t * (3 - 2 * t)
    return np.asarray(s if rising else 1 - s)
