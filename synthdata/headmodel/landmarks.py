"""Where MediaPipe's 478 Face Mesh points lie on the head: seen on renders, cast back, the robust middle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.head.base import SurfacePoints
from backend.head.meshing import LANDMARK_COUNT
from backend.uvspace.rasterise import rasterise_camera
from synthdata.headmodel.preview import look_at, picture

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

# Outline of the face and of the forehead's top: Face Mesh lets these slide along the silhouette.
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
SPREAD_M = 0.002  # a point whose casts scatter by this much keeps half of its trust


@dataclass(frozen=True)
class View:
    """One render to look for landmarks on."""

    vertices: F64  # (V, 3)
    yaw_deg: float
    pitch_deg: float


def detect(image: NDArray[np.uint8], detector: object) -> F64 | None:
    """``(478, 2)`` landmark pixels (centres at .5) of the face in an RGB image, or None."""
    found = detector.process(image)  # type: ignore[attr-defined]
    if not found.multi_face_landmarks:
        return None
    size = np.array([image.shape[1], image.shape[0]])
    return np.array([(p.x, p.y) for p in found.multi_face_landmarks[0].landmark]) * size


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

    Raises: ValueError when Face Mesh sees fewer than half of the views.
    """
    import mediapipe as mp

    skin = np.flatnonzero(triangle_part == parts.index("skin"))
    eyes = np.flatnonzero(np.isin(triangle_part, [parts.index("eye_left"), parts.index("eye_right")]))
    casts: list[F64] = []
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
                hit = seen.triangle[row, column]
                weight = seen.barycentric[row, column].astype(np.float64)
                corner = mean[triangles[chosen][np.maximum(hit, 0)]]
                cast[list(points)] = np.where(
                    (hit >= 0)[:, None], np.einsum("nk,nkc->nc", weight, corner), np.nan
                )
            casts.append(cast)
    if 2 * len(casts) < len(views):
        raise ValueError(f"Face Mesh found a face on only {len(casts)} of {len(views)} renders")
    stack = np.stack(casts)
    return _robust(stack, mean, triangles, skin, eyes)


def _robust(
    stack: F64, mean: F64, triangles: I32, skin: NDArray[np.intp], eyes: NDArray[np.intp]
) -> SurfacePoints:
    middle = np.nanmedian(stack, axis=0)
    twin = _twins(middle)
    flipped = stack[:, twin] * np.array([-1.0, 1.0, 1.0])
    both = np.concatenate([stack, flipped])
    middle = np.nanmedian(both, axis=0)
    spread = np.nanmedian(np.linalg.norm(both - middle, axis=2), axis=0)
    share = np.isfinite(both[..., 0]).mean(0)
    trust = share / (1 + (spread / SPREAD_M) ** 2)
    trust[list(FACE_OVAL)] *= 0.15
    triangle = np.full(LANDMARK_COUNT, -1, np.int32)
    weight = np.full((LANDMARK_COUNT, 3), 1 / 3)
    for chosen, points in ((skin, np.arange(468)), (eyes, np.arange(468, 478))):
        ok = points[np.isfinite(middle[points, 0])]
        hit, bary = closest_on(middle[ok], mean, triangles[chosen])
        triangle[ok], weight[ok] = chosen[hit], bary
    trust = np.where(triangle >= 0, trust, 0.0)
    return SurfacePoints(triangle, weight.astype(np.float32), trust.astype(np.float32))


def _twins(middle: F64) -> NDArray[np.intp]:
    """Index of each landmark's mirror landmark, by position; Face Mesh's topology is symmetric."""
    from scipy.optimize import linear_sum_assignment

    out = np.arange(LANDMARK_COUNT)
    for points in (np.arange(468), np.arange(468, 478)):
        p = np.nan_to_num(middle[points], nan=9.0)
        cost = np.linalg.norm(p[:, None] - (p * np.array([-1.0, 1.0, 1.0]))[None], axis=2) ** 2
        cost = 0.5 * (cost + cost.T)
        rows, columns = linear_sum_assignment(cost)
        out[points[rows]] = points[columns]
    unsure = out[out] != np.arange(LANDMARK_COUNT)
    out[unsure] = np.flatnonzero(unsure)
    return out


def closest_on(points: F64, vertices: F64, triangles: I32) -> tuple[NDArray[np.intp], F64]:
    """Closest triangle and barycentrics ``(N, 3)`` for each point."""
    from scipy.spatial import cKDTree

    corner = vertices[triangles]
    _, candidate = cKDTree(corner.mean(1)).query(points, k=min(40, len(triangles)))
    c = corner[candidate]
    bary = _project(points[:, None], c)
    gap = np.linalg.norm(np.einsum("nmk,nmkc->nmc", bary, c) - points[:, None], axis=2)
    pick = gap.argmin(1)
    row = np.arange(len(points))
    return np.asarray(candidate[row, pick], np.intp), bary[row, pick]


def _project(point: F64, corner: F64) -> F64:
    """Barycentrics of the closest point of each triangle (exact inside, nearest edge otherwise)."""
    a, b, c = corner[..., 0, :], corner[..., 1, :], corner[..., 2, :]
    e, f, g = b - a, c - a, point - a
    ee, ef, ff = (e * e).sum(-1), (e * f).sum(-1), (f * f).sum(-1)
    ge, gf = (g * e).sum(-1), (g * f).sum(-1)
    det = np.maximum(ee * ff - ef * ef, 1e-30)
    v, w = (ff * ge - ef * gf) / det, (ee * gf - ef * ge) / det
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    best = np.stack([1 - v - w, v, w], -1)
    gap = np.where(inside, 0.0, np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        p, q = corner[..., i, :], corner[..., j, :]
        d = q - p
        t = np.clip(((point - p) * d).sum(-1) / np.maximum((d * d).sum(-1), 1e-30), 0, 1)
        distance = np.linalg.norm(point - p - t[..., None] * d, axis=-1)
        candidate = np.zeros_like(best)
        candidate[..., i], candidate[..., j] = 1 - t, t
        better = ~inside & (distance < gap)
        best = np.where(better[..., None], candidate, best)
        gap = np.where(better, distance, gap)
    return best
