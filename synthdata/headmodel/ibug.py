"""iBUG's 68 points on the head: ICT-FaceKit names its vertices for them, closest points carry them over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.head.base import SurfacePoints
from backend.head.surface import closest_on
from synthdata.headmodel.assemble import Whole
from synthdata.headmodel.parts import MIRROR_X, PartHalf
from synthdata.headmodel.source import IctSurface

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

JAW = 17  # the first points: an outline that slides along the face
JAW_TRUST = 0.15


def carry_ibug(
    surface: IctSurface, parts: list[PartHalf], whole: Whole, landmarks68: F64, triangles: I32
) -> SurfacePoints:
    """ICT's ``landmarks68`` ``(68, 3)``, metres, on the skin of ``whole``, triangulated by ``triangles``.

    Looked up where ICT's own surface carries our vertices: its lips stand apart, ours are closed.
    """
    half = np.concatenate([part.carry(surface.head.mean_vertices) for part in parts])
    places = np.zeros_like(whole.vertices)
    places[whole.mirror[whole.half]] = half * MIRROR_X
    places[whole.half] = half
    skin = np.flatnonzero((whole.vertex_part[triangles] == whole.part_names.index("skin")).all(1))
    hit, weight = closest_on(landmarks68, places, triangles[skin])
    trust = np.where(np.arange(len(landmarks68)) < JAW, JAW_TRUST, 1.0)
    return SurfacePoints(skin[hit].astype(np.int32), weight.astype(np.float32), trust.astype(np.float32))
