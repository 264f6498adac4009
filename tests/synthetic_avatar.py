"""A made-up head of known geometry and a reconstruction of it, for tests of bundle, scene and exports."""

from __future__ import annotations

import numpy as np

from backend.artifacts import (
    Camera,
    ChartMaps,
    CompleteUV,
    EvenUV,
    FaceBox,
    HeadFit,
    Materials,
    Observation,
    PartialUV,
    Photo,
    Reconstruction,
    StageRecord,
)
from backend.head.base import ParametricHead, SurfacePoints

EYE_CENTRES = np.array([[0.032, 0.03, 0.075], [-0.032, 0.03, 0.075]], np.float32)
EYE_RADIUS = 0.012


def _sphere(centre, radii, columns, rows, pole):
    """Quads (triangles at the poles, padded with −1) of an ellipsoid; ``pole`` 1 is +Y, 2 is +Z."""
    vertices, uvs, quads, quad_uvs = [], [], [], []
    for i in range(rows + 1):
        for j in range(columns + 1):
            polar, around = np.pi * i / rows, 2 * np.pi * j / columns
            ring = np.array([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)])
            direction = ring if pole == 1 else np.array([ring[0], -ring[2], ring[1]])
            if pole == 1:
                uv = (0.02 + 0.96 * ((j / columns + 0.5) % 1.0 if j < columns else 0.5), 1 - i / rows)
                uv = (0.02 + 0.96 * j / columns, 0.02 + 0.96 * uv[1])
            else:  # polar chart: the front pole is the chart's centre
                spread = 0.48 * i / rows
                uv = (
                    0.5 + spread * direction[0] / max(np.hypot(*direction[:2]), 1e-9),
                    0.5 + spread * direction[1] / max(np.hypot(*direction[:2]), 1e-9),
                )
            vertices.append(centre + direction * radii)
            uvs.append(uv)
    across = columns + 1
    for i in range(rows):
        for j in range(columns):
            a, b, c, d = i * across + j, (i + 1) * across + j, (i + 1) * across + j + 1, i * across + j + 1
            corners = [a, b, c, d]
            if i == 0:
                corners = [a, b, c, -1]
            elif i == rows - 1:
                corners = [a, b, d, -1]
            quads.append(corners)
            quad_uvs.append(corners)
    # One vertex per place: the seam and the poles are shared, the chart's points are not.
    vertices = np.array(vertices, np.float64)
    _, first, same = np.unique(np.round(vertices, 9), axis=0, return_index=True, return_inverse=True)
    quads = np.array(quads)
    merged = np.where(quads >= 0, same.ravel()[quads], -1)
    return vertices[first], np.array(uvs), merged, np.array(quad_uvs)


def make_head() -> ParametricHead:
    """An egg with two eyeballs and a bar of teeth inside; three expressions."""
    parts = [
        ("skin", _sphere(np.zeros(3), np.array([0.075, 0.11, 0.09]), 32, 24, 1)),
        ("eye_left", _sphere(EYE_CENTRES[0].astype(float), np.full(3, EYE_RADIUS), 24, 16, 2)),
        ("eye_right", _sphere(EYE_CENTRES[1].astype(float), np.full(3, EYE_RADIUS), 24, 16, 2)),
        ("teeth", _sphere(np.array([0.0, -0.05, 0.06]), np.array([0.02, 0.006, 0.01]), 8, 6, 1)),
    ]
    vertices, uvs, quads, quad_uvs, quad_part = [], [], [], [], []
    v0 = u0 = 0
    for index, (_, (v, u, q, qu)) in enumerate(parts):
        vertices.append(v), uvs.append(u)
        quads.append(np.where(q >= 0, q + v0, -1)), quad_uvs.append(np.where(qu >= 0, qu + u0, -1))
        quad_part.append(np.full(len(q), index, np.uint8))
        v0, u0 = v0 + len(v), u0 + len(u)
    vertices, uvs = np.concatenate(vertices).astype(np.float32), np.concatenate(uvs).astype(np.float32)
    quads, quad_uvs = np.concatenate(quads).astype(np.int32), np.concatenate(quad_uvs).astype(np.int32)
    triangles, triangle_uvs, triangle_quad = [], [], []
    for row, (q, qu) in enumerate(zip(quads, quad_uvs, strict=True)):
        for corners in ((0, 1, 2), (0, 2, 3)) if q[3] >= 0 else ((0, 1, 2),):
            triangles.append(q[list(corners)]), triangle_uvs.append(qu[list(corners)])
            triangle_quad.append(row)
    count = len(vertices)
    jaw = np.zeros((count, 3), np.float32)
    jaw[:, 1] = -0.02 * np.clip((-0.03 - vertices[:, 1]) / 0.05, 0, 1)
    smile = np.zeros((count, 3), np.float32)
    smile[:, 0] = 0.01 * np.exp(-np.sum((vertices - [0.03, -0.04, 0.08]) ** 2, axis=1) / 0.02**2)
    smile[np.abs(smile) < 1e-5] = 0
    look = np.zeros((count, 3), np.float32)
    own = np.linalg.norm(vertices - EYE_CENTRES[0], axis=1) < EYE_RADIUS * 1.01
    own[: len(parts[0][1][0])] = False
    look[own, 0] = -0.3 * (vertices[own, 2] - EYE_CENTRES[0, 2])
    return ParametricHead(
        name="egg",
        mean_vertices=vertices,
        quads=quads,
        quad_uvs=quad_uvs,
        quad_part=np.concatenate(quad_part),
        part_names=tuple(name for name, _ in parts),
        uvs=uvs,
        triangles=np.array(triangles, np.int32),
        triangle_uvs=np.array(triangle_uvs, np.int32),
        triangle_quad=np.array(triangle_quad, np.int32),
        identity_basis=np.zeros((0, count, 3), np.float32),
        expression_names=("jawOpen", "mouthSmileLeft", "eyeLookInLeft"),
        expression_basis=np.stack([jaw, smile, look]),
        albedo_mean=np.full((count, 3), 0.4, np.float32),
        albedo_basis=np.zeros((0, count, 3), np.float32),
        mediapipe=SurfacePoints(
            np.full(478, -1, np.int32), np.zeros((478, 3), np.float32), np.zeros(478, np.float32)
        ),
        mirror_vertex=np.arange(count, dtype=np.int32),
        regions={},
        eye_centres=EYE_CENTRES,
        weights_file=None,
        weights_sha256=None,
        licence="GPL-3.0-or-later",
    )


def make_camera(width: int = 320, height: int = 240) -> Camera:
    """An off-centre camera that looks at the head from a little above and to its left."""
    yaw, pitch = 0.25, -0.15
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    rotation = np.diag([1.0, -1.0, -1.0]) @ nod @ turn
    pose = np.c_[rotation, [0.01, -0.015, 0.7]]
    return Camera(1.9 * height, (width * 0.47, height * 0.55), width, height, pose)


def make_materials(size: int, seed: int = 0) -> Materials:
    """Skin-coloured maps with a smooth pattern in each."""
    centre = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(centre, 1 - centre)
    wave = np.sin(14 * np.pi * u) * np.cos(10 * np.pi * v)
    grain = np.random.default_rng(seed).normal(0, 0.02, (size, size))
    albedo = np.array([0.50, 0.29, 0.20]) * (1 + 0.08 * wave + grain)[..., None]
    normal = np.stack([0.1 * grain, -0.1 * grain, np.ones_like(u)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    f = np.float32
    return Materials(
        albedo_linear=np.clip(albedo, 0, 1).astype(f),
        normal_tangent=normal.astype(f),
        roughness=(0.45 + 0.1 * wave).astype(f),
        specular=(0.4 + 0.1 * v).astype(f),
        displacement_m=(4e-4 * wave).astype(f),
    )


def make_reconstruction(
    head: ParametricHead | None = None,
    *,
    size: int = 64,
    camera: Camera | None = None,
    expression: dict[str, float] | None = None,
    materials: Materials | None = None,
    name: str = "portrait",
) -> Reconstruction:
    """A reconstruction whose every number is made up but sound."""
    head = head or make_head()
    camera = camera or make_camera()
    expression = {"jawOpen": 0.25, "mouthSmileLeft": 0.6} if expression is None else expression
    weights = np.array([expression.get(n, 0.0) for n in head.expression_names], np.float32)
    identity = np.zeros(0, np.float32)
    f = np.float32
    photo = Photo(name, "ab" * 32, np.full((camera.height_px, camera.width_px, 3), 0.5, f), None, (640, 480))
    light = np.zeros((9, 3))
    light[0], light[2], light[3] = 2.2, 0.7, 0.5
    observation = Observation(
        photo=photo,
        faces=(FaceBox(100, 60, 220, 200, 0.9),),
        face_index=0,
        landmarks_px=np.zeros((478, 2), f),
        landmarks_depth=np.zeros(478, f),
        landmarks_visible=np.ones(478, f),
        skin_mask=np.ones((camera.height_px, camera.width_px), f),
        person_mask=np.ones((camera.height_px, camera.width_px), f),
        focal_px=camera.focal_px,
        focal_source="estimated",
    )
    fit = HeadFit(
        head=head,
        identity=identity,
        expression=weights,
        albedo_coefficients=np.zeros(0, f),
        radiance_sh=light.astype(f),
        camera=camera,
        vertices_head=head.shape(identity, weights),
        neutral_head=head.shape(identity),
        iris_srgb=np.array([0.35, 0.42, 0.30], f),
        landmark_error_px=1.5,
        landmark_error_iod=0.012,
        photometric_psnr_db=24.0,
        focal_source="estimated",
    )
    chart = ChartMaps(
        face_id=np.zeros((size, size), np.int32),
        barycentric=np.zeros((size, size, 3), f),
        inside=np.ones((size, size), bool),
        position_head=np.zeros((size, size, 3), f),
        normal_head=np.zeros((size, size, 3), f),
        tangent_head=np.zeros((size, size, 4), f),
    )
    materials = materials or make_materials(size)
    rgb = materials.albedo_linear
    seen = np.linspace(0, 1, size * size, dtype=f).reshape(size, size)
    return Reconstruction(
        observation=observation,
        fit=fit,
        partial=PartialUV(chart, rgb, seen, 2.5),
        complete=CompleteUV(rgb, seen, "made up"),
        even=EvenUV(rgb, np.ones((size, size), f)),
        materials=materials,
        engine="embedded",
        seed=7,
        stages=(StageRecord("photo", "made up", 0.1), StageRecord("head fit", "made up", 0.2)),
        warnings=("the face is small",),
    )
