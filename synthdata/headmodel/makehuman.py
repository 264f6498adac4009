"""Skin detail of the CC0 MakeHuman skins, brought onto the open head.

The base head is registered by Face Mesh landmarks seen on its own render and by closest points
elsewhere; each skin is sampled at the open head's vertices and freed of its baked soft shading.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.colour import luminance, srgb_to_linear
from backend.head.base import SurfacePoints
from backend.head.surface import closest_on
from backend.shading.sh import basis
from backend.uvspace.rasterise import rasterise_camera
from synthdata.headmodel.landmarks import detect
from synthdata.headmodel.preview import look_at, picture, smooth_normals

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

METRES_PER_UNIT = 0.1
HEAD_BELOW_EYES_M = 0.30  # how much of the body is kept
SPACING_PX = 2.0  # blur of the 2048² skins to the head's vertex spacing


@dataclass(frozen=True)
class BaseHead:
    """MakeHuman's head and eyes, metres; its eyes' middle is the origin."""

    vertices: F64  # (V, 3)
    triangles: I32  # (T, 3)
    uvs: F64  # (U, 2)
    triangle_uvs: I32  # (T, 3)
    is_eye: NDArray[np.bool_]  # (T,)
    source_vertex: NDArray[np.intp]  # (V,) rows of base.obj, which MakeHuman's targets name


def load_base_head(folder: Path) -> BaseHead:
    """Read ``base.obj.gz``: the body above the shoulders and both eyeballs."""
    vertices, uvs, faces, face_uvs, is_eye = [], [], [], [], []
    group = ""
    with gzip.open(folder / "base.obj.gz", "rt") as lines:
        for line in lines:
            word = line.split()
            if not word:
                continue
            if word[0] == "v":
                vertices.append([float(c) for c in word[1:4]])
            elif word[0] == "vt":
                uvs.append([float(c) for c in word[1:3]])
            elif word[0] == "g":
                group = word[1]
            elif word[0] == "f" and group in ("body", "helper-l-eye", "helper-r-eye"):
                corner = [[int(i) - 1 for i in w.split("/")] for w in word[1:]]
                for a, b, c in ((0, k, k + 1) for k in range(1, len(corner) - 1)):
                    faces.append([corner[a][0], corner[b][0], corner[c][0]])
                    face_uvs.append([corner[a][1], corner[b][1], corner[c][1]])
                    is_eye.append(group != "body")
    v = np.asarray(vertices) * METRES_PER_UNIT
    t, tuv, eye = np.asarray(faces, np.int32), np.asarray(face_uvs, np.int32), np.asarray(is_eye)
    v = v - v[np.unique(t[eye])].mean(0)
    keep = (v[t, 1].min(1) > -HEAD_BELOW_EYES_M) & (np.abs(v[t, 0]).max(1) < 0.16)
    used, compact = np.unique(t[keep], return_inverse=True)
    triangles = compact.reshape(-1, 3).astype(np.int32)
    return BaseHead(v[used], triangles, np.asarray(uvs), tuv[keep], eye[keep], used)


@dataclass(frozen=True)
class Registered:
    """Where the open head's vertices lie on MakeHuman's head, and its skins."""

    base: BaseHead
    body: NDArray[np.intp]  # rows of base.triangles: outer skin
    place: F64  # (V, 3) open-head vertices moved near MakeHuman's surface
    triangle: NDArray[np.intp]  # (V,) rows of body
    barycentric: F64  # (V, 3)
    skin_names: tuple[str, ...]
    skins: list[F32]  # (2048, 2048, 3) linear, in MakeHuman's chart

    @property
    def uvs(self) -> F64:
        """Where each open-head vertex lies in MakeHuman's chart ``(V, 2)``."""
        corners = self.base.uvs[self.base.triangle_uvs[self.body][self.triangle]]
        return np.asarray(np.einsum("nk,nkc->nc", self.barycentric, corners))


def register_makehuman(
    folder: Path,
    head_vertices: F64,
    head_triangles: I32,
    mediapipe: SurfacePoints,
    scratch_light: float = 0.04,
) -> Registered:
    """Lay the open head onto MakeHuman's. Raises: ValueError when Face Mesh finds no face on the latter."""
    import cv2

    base = load_base_head(folder)
    files = sorted((folder / "skins").glob("*.jpg"))
    images = [
        srgb_to_linear(cv2.imread(str(f), cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255.0)
        for f in files
    ]
    landmarks = _landmarks_on(base, images, scratch_light)
    place = _register(base, landmarks, head_vertices, head_triangles, mediapipe)
    body = np.flatnonzero(~base.is_eye & ~_inside_of_eye_or_mouth(base))
    hit, weight = closest_on(place, base.vertices, base.triangles[body])
    return Registered(base, body, place, hit, weight, tuple(f.stem for f in files), images)


def sample_skins(registered: Registered) -> F64:
    """Linear skin colours ``(10, V, 3)`` at the open head's vertices, shading still in them."""
    return np.asarray([sample_skin(image, registered.uvs) for image in registered.skins], np.float64)


def sample_skin(image: F32, uvs: F64, blur_px: float = SPACING_PX) -> F32:
    """Colours ``(N, 3)`` of a skin at ``uvs`` ``(N, 2)`` of its chart, blurred to ``blur_px`` (0: not)."""
    import cv2

    soft = cv2.GaussianBlur(image, (0, 0), blur_px) if blur_px > 0 else image
    size = np.array([soft.shape[1], soft.shape[0]])
    xy = (np.stack([uvs[:, 0], 1 - uvs[:, 1]], 1) * size - 0.5).astype(np.float32)
    rows = [
        cv2.remap(soft, part[None, :, 0], part[None, :, 1], cv2.INTER_LINEAR)[0]
        for part in np.array_split(xy, len(xy) // 30000 + 1)  # remap's pictures have at most 2^15 columns
    ]
    return np.concatenate(rows)


def _landmarks_on(base: BaseHead, images: list[F32], gloss: float) -> F64:
    """``(468, 3)`` median surface positions of Face Mesh's points on MakeHuman's head; NaN where unseen."""
    import mediapipe as mp

    size = 640
    colours = [_vertex_colours(base, image) for image in images[1:4] + images[6:9]]
    found: list[F64] = []
    body = np.flatnonzero(~base.is_eye)
    with mp.solutions.face_mesh.FaceMesh(
        static_image_mode=True, refine_landmarks=True, max_num_faces=1, min_detection_confidence=0.3
    ) as detector:
        for k, colour in enumerate(colours):
            for yaw, pitch in ((0, 0), (10, 0), (-10, 0), (0, 8)):
                camera = look_at((0.0, -0.03, 0.0), yaw + k - 2, pitch, 0.9, 0.32, size)
                image = picture(base.vertices, base.triangles, camera, colour, gloss=gloss, background=0.55)
                pixels = detect(image, detector)
                if pixels is None:
                    continue
                seen = rasterise_camera(base.vertices, base.triangles[body], camera)
                column = np.clip(pixels[:468, 0].astype(int), 0, size - 1)
                row = np.clip(pixels[:468, 1].astype(int), 0, size - 1)
                hit = seen.triangle[row, column]
                corner = base.vertices[base.triangles[body][np.maximum(hit, 0)]]
                point = np.einsum("nk,nkc->nc", seen.barycentric[row, column].astype(np.float64), corner)
                found.append(np.where((hit >= 0)[:, None], point, np.nan))
    if len(found) < 8:
        raise ValueError(f"Face Mesh found MakeHuman's face on {len(found)} renders only")
    return np.asarray(np.nanmedian(np.stack(found), axis=0))


def _vertex_colours(base: BaseHead, image: F32) -> F32:
    """Vertex colours for the render: the skin, and eyes with a dark iris."""
    colour = np.zeros((len(base.vertices), 3), np.float32)
    uv = base.uvs[base.triangle_uvs].reshape(-1, 2)
    size = np.array([image.shape[1], image.shape[0]])
    xy = np.clip((np.stack([uv[:, 0], 1 - uv[:, 1]], 1) * size).astype(int), 0, size - 1)
    colour[base.triangles.ravel()] = image[xy[:, 1], xy[:, 0]]
    for sign in (1, -1):
        ids = np.unique(base.triangles[base.is_eye])
        ids = ids[base.vertices[ids, 0] * sign > 0]
        p = base.vertices[ids]
        middle = 0.5 * (p.min(0) + p.max(0))
        iris = np.linalg.norm(p[:, :2] - middle[:2], axis=1) < 0.006
        colour[ids] = np.where(iris[:, None], np.array([0.05, 0.03, 0.02]), np.array([0.7, 0.68, 0.65]))
    return colour


def _register(base: BaseHead, landmarks: F64, head: F64, triangles: I32, mediapipe: SurfacePoints) -> F64:
    """Where each open-head vertex ``(V, 3)`` lies near MakeHuman's surface.

    A biharmonic radial basis (φ = r) through the landmarks, smoothed, then closest-point steps whose
    displacement is averaged over neighbours.
    """
    from scipy.interpolate import RBFInterpolator
    from scipy.spatial import cKDTree

    source = mediapipe.positions(head, triangles)[:468]
    ok = np.isfinite(landmarks[:, 0]) & (mediapipe.trust[:468] > 0.12)
    warp = RBFInterpolator(source[ok], landmarks[ok], kernel="linear", smoothing=2e-4, degree=1)
    face = warp(head)
    # Far from landmarks the similarity that fits them all is safer than the extrapolated warp.
    s, r, t = similarity(source[ok], landmarks[ok])
    rigid = s * head @ r.T + t
    gap, _ = cKDTree(source[ok]).query(head)
    near = np.exp(-((gap / 0.03) ** 2))[:, None]
    place = near * face + (1 - near) * rigid
    body = base.triangles[~base.is_eye & ~_inside_of_eye_or_mouth(base)]
    neighbours = cKDTree(head).query(head, k=24)[1]
    for _ in range(6):
        hit, weight = closest_on(place, base.vertices, body)
        target = np.einsum("nk,nkc->nc", weight, base.vertices[body[hit]])
        step = target - place
        place = place + 0.7 * step[neighbours].mean(1)
    return np.asarray(place)


def _inside_of_eye_or_mouth(base: BaseHead) -> NDArray[np.bool_]:
    """Triangles of the red linings, which have charts of their own in MakeHuman's texture."""
    middle = base.uvs[base.triangle_uvs].mean(1)
    sockets = (middle[:, 0] < 0.16) & (np.abs(middle[:, 1] - 0.59) < 0.08)
    mouth = (middle[:, 0] > 0.72) & (middle[:, 1] < 0.14)
    return np.asarray(sockets | mouth)


def similarity(source: F64, target: F64) -> tuple[float, F64, F64]:
    """Best scale, rotation, translation with target ≈ s·R·source + t (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = float((d * np.diag(sign)).sum() / (a**2).sum())
    return scale, rotation, target.mean(0) - scale * rotation @ source.mean(0)


def remove_shading(colours: F64, head: F64, triangles: I32, mirror: I32, plain: F64) -> F64:
    """Skins ``(S, V, 3)`` without side light and soft top light.

    Left and right are averaged; then the luminance that second-order spherical harmonics of the normal
    explain over ``plain`` skin (weights ``(V,)``) is divided out, its mean kept (ridge-regularised).
    """
    even = np.sqrt(np.maximum(colours, 1e-4) * np.maximum(colours[:, mirror], 1e-4))
    functions = basis(smooth_normals(head, triangles))
    functions = functions[:, [0, 1, 2, 4 + 1, 6, 8]]  # those even in x
    functions[:, 1:] -= np.average(functions[:, 1:], axis=0, weights=plain)
    out = np.empty_like(even)
    for k, colour in enumerate(even):
        log = np.log(np.maximum(luminance(colour), 1e-4)).astype(np.float64)
        w = plain[:, None] * functions
        normal = functions.T @ w + 0.002 * plain.sum() * np.diag([0.0] + [1.0] * 5)
        fit = np.linalg.solve(normal, w.T @ log)
        out[k] = colour * np.exp(-functions[:, 1:] @ fit[1:])[:, None]
    return np.asarray(out)
