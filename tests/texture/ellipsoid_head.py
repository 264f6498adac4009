"""A head whose chart, skin and light are known in closed form: an ellipsoid with a nose.

Longitude runs along u with the face (+Z) at u = 0.5 and the seam at the back, latitude along v.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import Camera, ChartMaps, HeadFit, PartialUV
from backend.head.base import ParametricHead, SurfacePoints
from backend.shading import sh

F32 = NDArray[np.float32]

RADII = np.array([0.075, 0.115, 0.095])
U_RANGE = (0.02, 0.98)
V_RANGE = (0.06, 0.94)
COLUMNS, ROWS = 64, 48
SKIN = np.array([0.42, 0.24, 0.17], np.float32)


def _surface(u: NDArray[np.floating], v: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points (metres) of the chart's normalised coordinates in [0, 1]²."""
    longitude = (u - 0.5) * 2 * np.pi
    latitude = (v - 0.5) * np.pi * 0.94
    d = np.stack(
        [np.sin(longitude) * np.cos(latitude), np.sin(latitude), np.cos(longitude) * np.cos(latitude)], -1
    )
    nose = np.exp(-((longitude / 0.16) ** 2) - ((latitude + 0.05) / 0.18) ** 2)
    return d * RADII * (1 + 0.16 * nose[..., None])


def make_head() -> ParametricHead:
    i, j = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS + 1))
    vertex = (j * COLUMNS + i).astype(np.int32)  # (ROWS + 1, COLUMNS), longitude wraps
    mean = _surface(i / COLUMNS, j / ROWS).reshape(-1, 3)
    mirror = (j * COLUMNS + (COLUMNS - i) % COLUMNS).reshape(-1).astype(np.int32)

    iu, jv = np.meshgrid(np.arange(COLUMNS + 1), np.arange(ROWS + 1))
    uvs = np.stack(
        [
            U_RANGE[0] + (U_RANGE[1] - U_RANGE[0]) * iu / COLUMNS,
            V_RANGE[0] + (V_RANGE[1] - V_RANGE[0]) * jv / ROWS,
        ],
        -1,
    ).reshape(-1, 2)
    uv_row = (jv * (COLUMNS + 1) + iu).astype(np.int32)

    def ring(table: NDArray[np.int32], wrap: bool) -> NDArray[np.int32]:
        right = np.roll(table, -1, 1) if wrap else table[:, 1:]
        left = table if wrap else table[:, :-1]
        return np.stack([left[:-1], right[:-1], right[1:], left[1:]], -1).reshape(-1, 4)

    quads, quad_uvs = ring(vertex, True), ring(uv_row, False)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], 1).reshape(-1, 3)
    triangle_uvs = np.concatenate([quad_uvs[:, [0, 1, 2]], quad_uvs[:, [0, 2, 3]]], 1).reshape(-1, 3)

    longitude = ((i / COLUMNS - 0.5) * 2 * np.pi).reshape(-1)
    latitude = ((j / ROWS - 0.5) * np.pi * 0.94).reshape(-1)

    def blob(lon: float, lat: float, w: float, h: float) -> F32:
        return np.exp(-(((longitude - lon) / w) ** 2) - ((latitude - lat) / h) ** 2).astype(np.float32)

    lips = blob(0, -0.5, 0.25, 0.08)
    regions = {
        "nose": blob(0, -0.05, 0.2, 0.2),
        "lips": lips,
        "brows": np.maximum(blob(0.4, 0.3, 0.2, 0.05), blob(-0.4, 0.3, 0.2, 0.05)),
        "forehead": blob(0, 0.6, 0.6, 0.25),
        "scalp": (1 / (1 + np.exp(-(latitude - 0.95) / 0.08))).astype(np.float32),
    }
    cheeks = blob(0.6, -0.3, 0.3, 0.25) + blob(-0.6, -0.3, 0.3, 0.25)
    albedo = SKIN * (1 - 0.35 * lips[:, None] * np.array([0.4, 1.2, 1.0], np.float32))
    basis = np.stack(
        [
            np.broadcast_to(SKIN * 0.3, mean.shape),
            cheeks[:, None] * np.array([0.04, -0.02, -0.02]),
            lips[:, None] * np.array([0.05, -0.04, -0.03]),
        ]
    )
    nowhere = SurfacePoints(
        np.full(478, -1, np.int32), np.zeros((478, 3), np.float32), np.zeros(478, np.float32)
    )
    return ParametricHead(
        name="ellipsoid",
        mean_vertices=mean.astype(np.float32),
        quads=quads,
        quad_uvs=quad_uvs,
        quad_part=np.zeros(len(quads), np.uint8),
        part_names=("skin",),
        uvs=uvs.astype(np.float32),
        triangles=triangles,
        triangle_uvs=triangle_uvs,
        triangle_quad=np.repeat(np.arange(len(quads), dtype=np.int32), 2),
        identity_basis=np.zeros((1, len(mean), 3), np.float32),
        expression_names=(),
        expression_basis=np.zeros((0, len(mean), 3), np.float32),
        albedo_mean=albedo.astype(np.float32),
        albedo_basis=basis.astype(np.float32),
        mediapipe=nowhere,
        mirror_vertex=mirror,
        regions=regions,
        eye_centres=np.array([[0.03, 0.03, 0.07], [-0.03, 0.03, 0.07]], np.float32),
        weights_file=None,
        weights_sha256=None,
        licence="none",
    )


def make_chart(head: ParametricHead, size: int) -> ChartMaps:
    """The ellipsoid's chart by closed form: the cell of each texel centre, no rasteriser."""
    centre = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(centre, 1 - centre)
    x = (u - U_RANGE[0]) / (U_RANGE[1] - U_RANGE[0])
    y = (v - V_RANGE[0]) / (V_RANGE[1] - V_RANGE[0])
    inside = (x >= 0) & (x < 1) & (y >= 0) & (y < 1)
    ci = np.clip((x * COLUMNS).astype(int), 0, COLUMNS - 1)
    cj = np.clip((y * ROWS).astype(int), 0, ROWS - 1)
    fx, fy = x * COLUMNS - ci, y * ROWS - cj
    lower = fx >= fy  # triangle (0, 1, 2) of the cell, else (0, 2, 3)
    face = 2 * (cj * COLUMNS + ci) + ~lower
    bary = np.where(
        lower[..., None],
        np.stack([1 - fx, fx - fy, fy], -1),
        np.stack([1 - fy, fx, fy - fx], -1),
    )
    face = np.where(inside, face, -1).astype(np.int32)
    bary = np.where(inside[..., None], bary, 0).astype(np.float32)

    vertices = head.mean_vertices.astype(np.float64)
    corner = vertices[head.triangles]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal_v = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normal_v, head.triangles[:, k], cross)
    normal_v /= np.linalg.norm(normal_v, axis=1, keepdims=True)

    def lay(values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.einsum("rck,rckd->rcd", bary, values[head.triangles[np.maximum(face, 0)]])

    normal = lay(normal_v)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    step = 1e-4
    along_u = _surface(x + step, y) - _surface(x - step, y)
    tangent = along_u - normal * (along_u * normal).sum(-1, keepdims=True)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=-1, keepdims=True), 1e-12)
    return ChartMaps(
        face_id=face,
        barycentric=bary,
        inside=inside,
        position_head=lay(vertices).astype(np.float32),
        normal_head=normal.astype(np.float32),
        tangent_head=np.concatenate([tangent, np.ones((size, size, 1))], -1).astype(np.float32),
    )


def chart_coordinates(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude (radians) of texel centres ``(S, S)``."""
    centre = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(centre, 1 - centre)
    x = (u - U_RANGE[0]) / (U_RANGE[1] - U_RANGE[0])
    y = (v - V_RANGE[0]) / (V_RANGE[1] - V_RANGE[0])
    return (x - 0.5) * 2 * np.pi, (y - 0.5) * np.pi * 0.94


def skin_albedo(size: int, seed: int = 3) -> F32:
    """Linear albedo ``(S, S, 3)``: cheeks, lips, brows, two moles on one side, fine mottling."""
    lon, lat = chart_coordinates(size)

    def blob(a: float, b: float, w: float, h: float) -> NDArray[np.float64]:
        return np.exp(-(((lon - a) / w) ** 2) - ((lat - b) / h) ** 2)

    albedo = np.broadcast_to(SKIN, (size, size, 3)).astype(np.float64).copy()
    cheeks = blob(0.6, -0.3, 0.3, 0.25) + blob(-0.6, -0.3, 0.3, 0.25)
    albedo += cheeks[..., None] * np.array([0.04, -0.02, -0.02])
    albedo *= 1 - 0.35 * blob(0, -0.5, 0.25, 0.08)[..., None] * np.array([0.4, 1.2, 1.0])
    dark = blob(0.4, 0.3, 0.2, 0.05) + blob(-0.4, 0.3, 0.2, 0.05)
    dark += blob(0.7, -0.1, 0.03, 0.03) + blob(0.3, -0.75, 0.025, 0.025)
    albedo *= 1 - 0.75 * np.clip(dark, 0, 1)[..., None]
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(size // 2, size // 2)).repeat(2, 0).repeat(2, 1)
    albedo *= np.exp(0.03 * coarse)[..., None]
    return np.clip(albedo, 0.01, 0.9).astype(np.float32)


def directional_light(direction: tuple[float, float, float], ambient: float, strength: float) -> F32:
    """SH radiance ``(9, 3)``: a warm lobe from ``direction`` over a grey dome."""
    d = np.asarray(direction, float) / np.linalg.norm(direction)
    lobe = sh.basis(d[None])[0]
    # A cosine-power-like lobe: damp the second order, so that radiance stays nearly non-negative.
    lobe = lobe * np.array([1.0] + [0.8] * 3 + [0.35] * 5)
    colour = np.array([1.05, 1.0, 0.92])
    light = strength * lobe[:, None] * colour
    light[0] += ambient * np.sqrt(4 * np.pi) * np.array([0.95, 1.0, 1.05])
    return light.astype(np.float32)


def uniform_light() -> F32:
    light = np.zeros((9, 3), np.float32)
    light[0] = np.sqrt(4 * np.pi)
    return light


def shade(albedo: F32, chart: ChartMaps, light: F32) -> F32:
    """Lambertian radiance under SH light, no shadows."""
    lit = albedo * np.maximum(sh.irradiance(light, chart.normal_head) / np.pi, 0)
    return np.where(chart.inside[..., None], lit, 0).astype(np.float32)


def make_fit(head: ParametricHead, light: F32, beta: tuple[float, ...] = (0.0, 0.0, 0.0)) -> HeadFit:
    camera = Camera(
        1500.0, (256.0, 256.0), 512, 512, np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.8]])
    )
    return HeadFit(
        head=head,
        identity=np.zeros(1, np.float32),
        expression=np.zeros(0, np.float32),
        albedo_coefficients=np.asarray(beta, np.float32),
        radiance_sh=light,
        camera=camera,
        vertices_head=head.mean_vertices,
        neutral_head=head.mean_vertices,
        iris_srgb=np.array([0.3, 0.2, 0.1], np.float32),
        landmark_error_px=1.0,
        landmark_error_iod=0.01,
        photometric_psnr_db=25.0,
        focal_source="estimated",
    )


def half_seen(chart: ChartMaps, lit: F32, yaw: float = 0.5) -> PartialUV:
    """What a camera turned by ``yaw`` radians sees: a confidence that falls to 0 at grazing angles."""
    view = np.array([np.sin(yaw), 0, np.cos(yaw)])
    facing = chart.normal_head @ view
    confidence = np.clip((facing - 0.25) / 0.25, 0, 1) * chart.inside
    confidence = confidence.astype(np.float32)
    return PartialUV(chart, np.where(confidence[..., None] > 0, lit, 0).astype(np.float32), confidence, 2.0)


def scaled(fit: HeadFit, factor: float) -> HeadFit:
    return replace(fit, radiance_sh=(fit.radiance_sh * factor).astype(np.float32))
