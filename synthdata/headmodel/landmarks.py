"""Where MediaPipe's 478 Face Mesh points lie on the head: seen on renders, cast back, the robust middle."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import Camera
from backend.head.base import SurfacePoints
from backend.head.meshing import LANDMARK_COUNT
from backend.head.surface import closest_on
from backend.uvspace.rasterise import rasterise_camera
from synthdata.headmodel.preview import look_at, picture

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

# Outline of the face and of the forehead's top: Face Mesh lets these slide along the silhouette.
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
# Face Mesh's points on the mid-sagittal line, forehead to under the chin.
MIDLINE = (
    10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 164, 0, 11, 12, 13,
    14, 15, 16, 17, 18, 200, 199, 175, 152,
)  # fmt: skip
# The lids' margins, subject's right with left: the eyes' openings would stop the walk over triangles.
EYE_PAIRS = (
    (33, 263), (246, 466), (161, 388), (160, 387), (159, 386), (158, 385), (157, 384), (173, 398),
    (133, 362), (155, 382), (154, 381), (153, 380), (145, 374), (144, 373), (163, 390), (7, 249),
)  # fmt: skip
# The lips' inner rims: on a closed mouth a ray cannot tell the upper from the lower one.
INNER_LIPS = (
    13, 14, 82, 87, 81, 178, 80, 88, 191, 95, 312, 317, 311, 402, 310, 318, 415, 324,
)  # fmt: skip
BESIDE_PX = 4.0  # a cast that misses the skin by no more goes to the nearest pixel of it
SPREAD_M = 0.002  # a point whose casts scatter by this much keeps half of its trust


@dataclass(frozen=True)
class View:
    """One render to look for landmarks on."""

    vertices: F64  # (V, 3)
    yaw_deg: float
    pitch_deg: float
    mouth_open: bool = False


def detect(image: NDArray[np.uint8], detector: object) -> F64 | None:
    """``(478, 2)`` landmark pixels (centres at .5) of the face in an RGB image, or None."""
    found = detector.process(image)  # type: ignore[attr-defined]
    if not found.multi_face_landmarks:
        return None
    size = np.array([image.shape[1], image.shape[0]])
    return np.asarray(np.array([(p.x, p.y) for p in found.multi_face_landmarks[0].landmark]) * size)


def find_landmarks(
    views: list[View],
    mean: F64,
    triangles: I32,
    triangle_part: NDArray[np.uint8],
    colour: NDArray[np.float32],
    parts: tuple[str, ...],
    size: int = 512,
) -> SurfacePoints:
    """Robust surface positions over all views; every point is symmetrised with its mirror point.

    The inner lips are taken from views whose mouth is open alone.
    Raises: ValueError when Face Mesh sees fewer than half of the views, or none with an open mouth.
    """
    import mediapipe as mp

    skin = np.flatnonzero(triangle_part == parts.index("skin"))
    eyes = np.flatnonzero(np.isin(triangle_part, [parts.index("eye_left"), parts.index("eye_right")]))
    casts: list[F64] = []
    mouths_open = 0
    with mp.solutions.face_mesh.FaceMesh(
        static_image_mode=True, refine_landmarks=True, max_num_faces=1, min_detection_confidence=0.3
    ) as detector:
        for view in views:
            camera = look_at((0.0, -0.005, 0.02), view.yaw_deg, view.pitch_deg, 0.9, 0.34, size)
            image = picture(view.vertices, triangles, camera, colour, gloss=0.015, background=0.55)
            pixels = detect(image, detector)
            if pixels is None:
                continue
            cast = np.full((LANDMARK_COUNT, 3), np.nan)
            for chosen, points in ((skin, range(468)), (eyes, range(468, 478))):
                seen = rasterise_camera(view.vertices, triangles[chosen], camera)
                column = np.clip(pixels[list(points), 0].astype(int), 0, size - 1)
                row = np.clip(pixels[list(points), 1].astype(int), 0, size - 1)
                # Through the openings of the eyes one sees the back of the head from inside.
                front = (seen.triangle >= 0) & facing(view.vertices, triangles[chosen], camera)[seen.triangle]
                row, column, found = onto_covered(front, row, column)
                hit = np.where(found, seen.triangle[row, column], -1)
                weight = seen.barycentric[row, column].astype(np.float64)
                corner = mean[triangles[chosen][np.maximum(hit, 0)]]
                cast[list(points)] = np.where(
                    (hit >= 0)[:, None], np.einsum("nk,nkc->nc", weight, corner), np.nan
                )
            if not view.mouth_open:
                cast[list(INNER_LIPS)] = np.nan
            casts.append(cast)
            mouths_open += view.mouth_open
    if 2 * len(casts) < len(views) or not mouths_open:
        raise ValueError(f"Face Mesh found a face on only {len(casts)} of {len(views)} renders")
    stack = np.stack(casts)
    return _robust(stack, mouths_open, mean, triangles, skin, eyes)


def facing(vertices: F64, triangles: I32, camera: Camera) -> NDArray[np.bool_]:
    """Which triangles turn their outside to the camera ``(T,)``."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return np.asarray((np.cross(b - a, c - a) * (camera.centre_head - a)).sum(1) > 0)


def onto_covered(
    covered: NDArray[np.bool_], row: NDArray[np.intp], column: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """The ``covered`` pixel next to each one, and whether it is within BESIDE_PX.

    Face Mesh's lids lie a little inside the openings of the eyes, where a ray meets no skin.
    """
    from scipy.ndimage import distance_transform_edt

    away, (rows, columns) = distance_transform_edt(~covered, return_indices=True)
    return rows[row, column], columns[row, column], away[row, column] <= BESIDE_PX


def _robust(
    stack: F64,
    mouths_open: int,
    mean: F64,
    triangles: I32,
    skin: NDArray[np.intp],
    eyes: NDArray[np.intp],
) -> SurfacePoints:
    twin = mirror_landmarks(np.nanmedian(stack, axis=0))
    both = np.concatenate([stack, stack[:, twin] * np.array([-1.0, 1.0, 1.0])])
    middle = np.nanmedian(both, axis=0)
    spread = np.nanmedian(np.linalg.norm(both - middle, axis=2), axis=0)
    possible = np.full(LANDMARK_COUNT, len(both))
    possible[list(INNER_LIPS)] = 2 * mouths_open
    trust = np.isfinite(both[..., 0]).sum(0) / possible / (1 + (spread / SPREAD_M) ** 2)
    trust[list(FACE_OVAL)] *= 0.15
    triangle = np.full(LANDMARK_COUNT, -1, np.int32)
    weight = np.full((LANDMARK_COUNT, 3), 1 / 3)
    for chosen, points in ((skin, np.arange(468)), (eyes, np.arange(468, 478))):
        ok = points[np.isfinite(middle[points, 0])]
        hit, bary = closest_on(middle[ok], mean, triangles[chosen])
        triangle[ok], weight[ok] = chosen[hit], bary
    trust = np.where(triangle >= 0, trust, 0.0)
    return SurfacePoints(triangle, weight.astype(np.float32), trust.astype(np.float32))


def mirror_landmarks(position: F64) -> NDArray[np.intp]:
    """Index ``(478,)`` of each landmark's mirror image.

    Face Mesh's triangulation is symmetric: from the midline outward, the third corners of triangles
    across mirrored edges are each other's image. The ten iris points are matched by ``position`` (478, 3).
    """
    import mediapipe as mp
    from scipy.optimize import linear_sum_assignment

    around: dict[int, set[int]] = {}
    for a, b in mp.solutions.face_mesh.FACEMESH_TESSELATION:
        around.setdefault(a, set()).add(b)
        around.setdefault(b, set()).add(a)
    twin = {m: m for m in MIDLINE} | dict(EYE_PAIRS) | {b: a for a, b in EYE_PAIRS}
    queue = []
    for a, b in itertools.pairwise(MIDLINE):
        sides = sorted((around[a] & around[b]) - set(MIDLINE)) if b in around[a] else []
        if len(sides) == 2 and sides[0] not in twin:
            twin[sides[0]], twin[sides[1]] = sides[1], sides[0]
            queue += [(a, sides[0]), (b, sides[0])]
    while queue:
        a, b = queue.pop(0)
        here = [c for c in around[a] & around[b] if c not in twin]
        there = [c for c in around[twin[a]] & around[twin[b]] if c not in twin]
        if len(here) == 1 and len(there) == 1:
            twin[here[0]], twin[there[0]] = there[0], here[0]
            queue += [(a, here[0]), (b, here[0]), (twin[a], there[0]), (twin[b], there[0])]
    out = np.arange(LANDMARK_COUNT)
    for a, b in twin.items():
        out[a] = b
    rest = np.array([k for k in range(LANDMARK_COUNT) if k not in twin])
    p = position[rest]
    cost = np.linalg.norm(p[:, None] - (p * np.array([-1.0, 1.0, 1.0]))[None], axis=2)
    rows, columns = linear_sum_assignment(np.nan_to_num(cost + cost.T, nan=9.0))
    out[rest[rows]] = rest[columns]
    return out
