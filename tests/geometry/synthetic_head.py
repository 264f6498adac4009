"""A small head made of formulae, and observations of it: the geometry tests need no data files."""

from __future__ import annotations

import numpy as np

from backend.artifacts import Camera, FaceBox, Observation, Photo
from backend.geometry.state import rotation_exp
from backend.head.base import ParametricHead, SurfacePoints

ROWS, COLUMNS = 48, 64
FACE_TO_CAMERA = np.diag([1.0, -1.0, -1.0])


def _smooth_fields(rng: np.random.Generator, directions: np.ndarray, count: int, width: float) -> np.ndarray:
    """``(count, V, 3)`` smooth vector fields on the sphere, unit RMS."""
    fields = np.empty((count, len(directions), 3), np.float32)
    for k in range(count):
        centres = rng.normal(size=(12, 3))
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        bumps = np.exp((directions @ centres.T - 1) / width**2)
        fields[k] = bumps @ rng.normal(size=(12, 3))
        fields[k] /= np.sqrt((fields[k] ** 2).sum(1).mean())
    return fields


def synthetic_head(identities: int = 20, expressions: int = 10, textures: int = 4) -> ParametricHead:
    """An egg with a nose, smooth random identity modes (2 mm RMS each, falling) and local expressions."""
    rng = np.random.default_rng(7)
    theta = np.linspace(0.06, np.pi - 0.06, ROWS)
    phi = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    t, p = (g.ravel() for g in np.meshgrid(theta, phi, indexing="ij"))
    d = np.stack([np.sin(t) * np.sin(p), np.cos(t), np.sin(t) * np.cos(p)], axis=1)
    nose = 0.025 * np.exp((d @ np.array([0.0, -0.1, 0.995]) - 1) / 0.02)
    mean = d * np.array([0.075, 0.11, 0.095]) + nose[:, None] * np.array([0, 0, 1.0])
    r, c = np.meshgrid(np.arange(ROWS - 1), np.arange(COLUMNS), indexing="ij")
    corner = lambda dr, dc: ((r + dr) * COLUMNS + (c + dc) % COLUMNS).ravel()  # noqa: E731
    quads = np.stack([corner(0, 0), corner(1, 0), corner(1, 1), corner(0, 1)], axis=1).astype(np.int32)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    identity = _smooth_fields(rng, d, identities, 0.6) * 0.002
    identity *= (0.93 ** np.arange(identities, dtype=np.float32))[:, None, None]
    identity[0] = 0.04 * mean  # size is the first thing that heads differ in
    local = np.exp((d @ np.array([0.0, -0.4, 0.92]) - 1) / 0.15)
    expression = _smooth_fields(rng, d, expressions, 0.35) * 0.006 * local[None, :, None].astype(np.float32)
    uvs = np.stack([p / (2 * np.pi), 1 - t / np.pi], axis=1).astype(np.float32)
    albedo = np.clip(np.array([0.45, 0.28, 0.2]) * (1 + 0.05 * _smooth_fields(rng, d, 1, 0.4)[0]), 0.05, 0.9)
    tone = np.tile(np.array([0.1, 0.075, 0.06], np.float32), (len(d), 1))
    textures_ = np.concatenate([tone[None], 0.02 * _smooth_fields(rng, d, textures - 1, 0.5)])
    return ParametricHead(
        name="egg",
        mean_vertices=mean.astype(np.float32),
        quads=quads,
        quad_uvs=quads,
        quad_part=np.zeros(len(quads), np.uint8),
        part_names=("skin",),
        uvs=uvs,
        triangles=triangles,
        triangle_uvs=triangles,
        triangle_quad=np.concatenate([np.arange(len(quads))] * 2).astype(np.int32),
        identity_basis=identity.astype(np.float32),
        expression_names=tuple(f"expression{k}" for k in range(expressions)),
        expression_basis=expression.astype(np.float32),
        albedo_mean=albedo.astype(np.float32),
        albedo_basis=textures_.astype(np.float32),
        mediapipe=_landmarks(mean, triangles),
        mirror_vertex=np.arange(len(mean), dtype=np.int32),
        regions={},
        eye_centres=np.array([[0.032, 0.03, 0.07], [-0.032, 0.03, 0.07]], np.float32),
        weights_file=None,
        weights_sha256=None,
        licence="none",
    )


def _landmarks(mean: np.ndarray, triangles: np.ndarray) -> SurfacePoints:
    """478 random points of the front; the eye corners (33, 263) and irises where eyes would be."""
    rng = np.random.default_rng(11)
    centre = mean[triangles].mean(1)
    front = np.flatnonzero((centre[:, 2] > 0.045) & (np.abs(centre[:, 1]) < 0.08))
    triangle = rng.choice(front, 478).astype(np.int32)
    weights = rng.dirichlet(np.ones(3), 478).astype(np.float32)
    for index, x in ((263, 0.045), (33, -0.045), (473, 0.032), (468, -0.032)):
        triangle[index] = front[np.argmin(((centre[front, :2] - [x, 0.03]) ** 2).sum(1))]
    rings = [*range(469, 473), *range(474, 478)]  # drawn by ``observe`` at the iris' true size
    trust = np.ones(478, np.float32)
    triangle[rings], trust[rings] = -1, 0.0
    return SurfacePoints(triangle, weights, trust)


def camera_at(
    yaw: float = 0.2, pitch: float = -0.1, roll: float = 0.05, focal: float = 1400.0, distance: float = 0.8,
    size: int = 800,
) -> Camera:  # fmt: skip
    """A camera that looks at the face from ``distance`` metres; angles in radians."""
    turn = rotation_exp(np.array([0.0, 0.0, roll])) @ rotation_exp(np.array([pitch, 0.0, 0.0]))
    rotation = turn @ rotation_exp(np.array([0.0, yaw, 0.0])) @ FACE_TO_CAMERA
    rt = np.concatenate([rotation, np.array([[0.02], [0.01], [distance]])], axis=1)
    return Camera(focal, (size / 2, size / 2), size, size, rt)


def observe(
    head: ParametricHead,
    vertices: np.ndarray,
    camera: Camera,
    noise_px: float = 0.0,
    seed: int = 0,
    focal_source: str = "exif",
    rgb: np.ndarray | None = None,
    skin: np.ndarray | None = None,
) -> Observation:
    """What a perfect (or noisy) landmark network would say of ``vertices`` seen by ``camera``."""
    points = head.mediapipe.positions(vertices, head.triangles)
    pixels, depth = camera.project(points)
    pixels = pixels + noise_px * np.random.default_rng(seed).normal(size=pixels.shape)
    # Iris rings of the true size around the iris centres, so that the scale term sees the truth.
    for ring, centre in ((range(474, 478), 473), (range(469, 473), 468)):
        radius = 0.5 * 0.0117 * camera.focal_px / depth[centre]
        corner_depth = depth[263 if centre == 473 else 33]
        radius *= depth[centre] / corner_depth
        for k, index in enumerate(ring):
            angle = np.pi / 2 * k
            pixels[index] = pixels[centre] + radius * np.array([np.cos(angle), np.sin(angle)])
    size = camera.width_px
    picture = np.full((size, size, 3), 0.5, np.float32) if rgb is None else rgb
    mask = np.ones((size, size), np.float32) if skin is None else skin
    scale = camera.focal_px / depth.mean()
    visible = np.ones(478, np.float32)
    return Observation(
        photo=Photo("synthetic", "0" * 64, picture, None, (size, size)),
        faces=(FaceBox(0, 0, size, size, 1.0),),
        face_index=0,
        landmarks_px=pixels.astype(np.float32),
        landmarks_depth=((depth - depth.mean()) * scale).astype(np.float32),
        landmarks_visible=visible,
        skin_mask=mask,
        person_mask=mask,
        focal_px=camera.focal_px,
        focal_source=focal_source,  # type: ignore[arg-type]
    )
