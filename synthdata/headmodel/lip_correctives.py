"""Lips in combinations: what draws them aside and back at once must not pull them through the teeth.

All is worked out on the mean head, for the mouth drawn to the subject's left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from backend.head.meshing import together
from backend.uvspace.rasterise import rasterise_camera
from synthdata.headmodel.preview import look_at

F64 = NDArray[np.float64]

# Aside, and back at the corner that is then drawn across the teeth: one pull gives way to the other.
COMBINATIONS = (("mouthLeft", "mouthSmileRight"),)
SHARES = np.arange(0.1, 1.0, 0.1)  # of the first shape that may be taken back
BLEND_M = 0.020  # from the trailing side, which gives way, across the midline to the other, which does not
BARED_M2 = 2e-6  # of teeth that pictures may show between closed lips
WIDTH_M, SIZE = 0.08, 200  # of those pictures
YAWS_DEG = (0.0, -35.0)  # from the front, and from the trailing side


def lip_correctives(head: ParametricHead) -> dict[tuple[str, ...], F64]:
    """Offsets ``(V, 3)`` by the names of the expressions that they belong to; none without teeth."""
    known = set(head.expression_names)
    if "teeth" not in head.part_names:
        return {}
    rest = head.mean_vertices.astype(np.float64)
    trailing = np.clip(0.5 - rest[:, 0] / (2 * BLEND_M), 0.0, 1.0)
    trailing = trailing * trailing * (3 - 2 * trailing)
    gives = np.zeros(len(rest))
    soft = together(head, ("skin", "mouth"))
    gives[soft] = trailing[soft]
    out: dict[tuple[str, ...], F64] = {}
    for names in COMBINATIONS:
        if not known.issuperset(names):
            continue
        shapes = [head.expression_basis[head.expression_names.index(n)].astype(np.float64) for n in names]
        other = shapes[1] + shapes[1][head.mirror_vertex] * (-1, 1, 1)  # both corners back: the wider mouth
        for share in SHARES:
            taken = -share * gives[:, None] * shapes[0]
            posed = (rest + shapes[0] + taken + back for back in (shapes[1], other))
            if max(_bared(head, vertices) for vertices in posed) < BARED_M2:
                break
        out[names] = taken
    return out


def _bared(head: ParametricHead, vertices: F64) -> float:
    """The largest area of teeth and gums that a picture shows, m²."""
    lips = head.regions["lips"] > 0.5
    target = tuple(float(c) for c in vertices[lips].mean(0))
    areas = []
    for yaw in YAWS_DEG:
        camera = look_at((target[0], target[1], target[2]), yaw, 0.0, 0.5, WIDTH_M, SIZE)
        hard = rasterise_camera(vertices, _faces(head, ("teeth", "gums")), camera)
        soft = rasterise_camera(vertices, _faces(head, ("skin", "mouth")), camera)
        seen = hard.covered & (~soft.covered | (soft.depth > hard.depth))
        areas.append(float(seen.sum()) * (WIDTH_M / SIZE) ** 2)
    return max(areas)


def _faces(head: ParametricHead, parts: tuple[str, ...]) -> NDArray[np.int32]:
    return head.triangles[np.isin(head.triangle_part, [head.part_names.index(p) for p in parts])]
