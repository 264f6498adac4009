"""A picture of a face seen from the front, coloured by its error: which places are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import Camera
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera

F64 = NDArray[np.float64]

FULL_SCALE_MM = 4.0  # the colour's end
_SIZE_PX = 360
_FOCAL_PX = 3000.0  # a long lens: nearly no perspective
# Dark blue, teal, yellow, red: rises in lightness but for the end, told apart without red and green.
_STOPS = np.array([[0.16, 0.24, 0.45], [0.14, 0.55, 0.58], [0.96, 0.85, 0.35], [0.80, 0.16, 0.16]])
_PLAIN = np.array([0.62, 0.62, 0.62])


def error_picture(vertices: F64, triangles: NDArray[np.int64], rows: NDArray[np.int64], error_mm: F64) -> Any:
    """A PIL picture of the mesh (head space, m): ``rows`` ``(N,)`` coloured by ``error_mm``, rest grey."""
    from PIL import Image

    colour = np.tile(_PLAIN, (len(vertices), 1))
    colour[rows] = error_colour(error_mm)
    face = vertices[rows]
    middle, extent = (face.max(0) + face.min(0)) / 2, float(np.ptp(face[:, :2], axis=0).max()) * 1.15
    distance = _FOCAL_PX * extent / _SIZE_PX
    # Looks along −Z of the head: x to the picture's right, y down.
    pose = np.c_[np.diag([1.0, -1.0, -1.0]), [-middle[0], middle[1], distance + middle[2]]]
    camera = Camera(_FOCAL_PX, (_SIZE_PX / 2, _SIZE_PX / 2), _SIZE_PX, _SIZE_PX, pose)
    faces = triangles.astype(np.int32)
    drawn = rasterise_camera(vertices, faces, camera)
    normal = vertex_normals(vertices, faces)
    shade = 0.45 + 0.55 * np.clip(normal @ np.array([-0.25, 0.35, 0.9]), 0, 1)
    picture = drawn.interpolate((colour * shade[:, None]).astype(np.float32), faces)
    picture = np.where(drawn.covered[..., None], picture, 1.0)
    return Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))


def error_colour(error_mm: NDArray[np.floating[Any]]) -> F64:
    """sRGB ``(N, 3)`` in [0, 1] for errors ``(N,)``; everything from FULL_SCALE_MM on is the same red."""
    at = np.clip(np.asarray(error_mm, np.float64) / FULL_SCALE_MM, 0, 1) * (len(_STOPS) - 1)
    return np.stack([np.interp(at, np.arange(len(_STOPS)), _STOPS[:, k]) for k in range(3)], axis=-1)


def css_gradient() -> str:
    """The colours from 0 to FULL_SCALE_MM as CSS, for a legend."""
    stops = ", ".join(f"rgb({', '.join(str(round(255 * c)) for c in stop)})" for stop in _STOPS)
    return f"linear-gradient(90deg, {stops})"
