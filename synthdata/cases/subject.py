"""What stands before the camera and is true of it: a surface with maps, a made-up head's or a scan's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


@dataclass(frozen=True)
class Subject:
    """A triangle mesh in head space (metres) and its maps, linear, one chart, float32."""

    vertices_head: F32  # (V, 3) as photographed
    triangles: I32  # (T, 3)
    is_skin: NDArray[np.bool_]  # (T,) the surface that the maps belong to
    uvs: F32  # (U, 2)
    triangle_uvs: I32  # (T, 3)
    face: F32  # (V,) in [0, 1]
    albedo_linear: F32  # (S, S, 3)
    roughness: F32  # (S, S)
    specular: F32  # (S, S)
    normal_map_head: F32 | None = None  # (S, S, 3) unit, as shaded; None: the mesh's own smooth normals
    displacement_m: F32 | None = None  # (S, S)
    bare: F32 | None = None  # (S, S) 0 under painted hair
    neutral_head: F32 | None = None  # (V, 3)
    points478_head: F32 | None = None  # (478, 3), NaN where unknown
    points478_neutral_head: F32 | None = None
    maps: dict[str, NDArray[Any]] = field(default_factory=dict)  # as written to truth/maps, RGB order
