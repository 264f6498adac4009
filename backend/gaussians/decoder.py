"""The embedded decoder, without learned weights: Gaussians on the fitted mesh, coloured as in the photo.

Skin takes the completed photo-lit chart; eyes, teeth and the inner mouth are lit by the fitted light. What
their colour gains or loses from other sides is the material's gloss under that light, in degree 1 harmonics.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Reconstruction
from backend.colour import linear_to_srgb
from backend.gaussians.surface import (
    LARGEST_TEXEL_M,
    BoundGaussians,
    ChartPoints,
    bind,
    chart_points,
    texel_shapes,
)
from backend.shading import sh
from backend.shading.parts import EYE_PARTS, eye_albedo, iris_coordinates, plain_material
from backend.uvspace.buffers import interpolate_at
from backend.uvspace.normals import vertex_normals
from backend.uvspace.sampling import sample_bilinear
from blender_addon import splat_sh
from blender_addon.splats import Splats

SKIN_CHART, SKIN_EVERY = 256, 2  # the face takes every texel, the rest every second one each way
# Texels a side of the other parts' charts; parts that are not named are too fine for texels.
_CHARTS = {"mouth": 56, "sockets": 36, "eye": 72, "teeth": 112, "gums": 44, "tongue": 32}
_INNER_TEXEL_M = 3.6e-3  # stretched texels deep in the mouth would reach through the lips
_LASH_ALBEDO = 0.012
OPAQUE_LOGIT, LASH_LOGIT = 3.0, -3.0
INSIDE_SHARE = 0.35  # of the light outside that reaches gums, teeth and sockets
_EYE_SHARE = 1.0
_MOST_GLOSS = 0.12  # of the colour seen
_SIDES = 14  # directions in which gloss is looked at


def decode(made: Reconstruction) -> BoundGaussians:
    """Gaussians of everything but the hair, on the photographed face."""
    fit = made.fit
    head = fit.head
    normals = vertex_normals(fit.vertices_head, head.triangles)
    whole = _skin(made, normals)
    for index, name in enumerate(head.part_names):
        size = next((s for word, s in _CHARTS.items() if name.startswith(word)), 0)
        if index and size:
            whole = whole.joined(_part(made, normals, index, size))
        elif name == "lashes":
            whole = whole.joined(_lashes(made, normals, index))
    return whole


def on_scalp(made: Reconstruction, bound: BoundGaussians) -> F32:
    """How far each Gaussian's place is scalp, ``(N,)`` in [0, 1]."""
    head = made.fit.head
    region = head.regions["scalp"][:, None]
    found: F32 = interpolate_at(bound.triangle, bound.barycentric, region, head.triangles)[:, 0]
    return found


def skin_seen(made: Reconstruction, bound: BoundGaussians) -> F32:
    """How far the photo shows each Gaussian's place on the skin, ``(N,)`` in [0, 1]; 1 on other parts."""
    head = made.fit.head
    uv = np.einsum("nk,nkc->nc", bound.barycentric, head.uvs[head.triangle_uvs[bound.triangle]])
    size = len(made.complete.seen)
    at = np.stack([uv[:, 0] * size, (1 - uv[:, 1]) * size], 1)
    seen: F32 = sample_bilinear(made.complete.seen[..., None], at)[:, 0]
    return np.asarray(np.where(bound.part == 0, seen, 1), np.float32)


def _skin(made: Reconstruction, normals: F32) -> BoundGaussians:
    fit = made.fit
    head = fit.head
    fine = chart_points(head, fit.vertices_head, 0, SKIN_CHART)
    coarse = chart_points(head, fit.vertices_head, 0, SKIN_CHART, SKIN_EVERY)
    face = np.maximum(head.regions["face"], head.regions["ears"])[:, None]
    is_face = [
        interpolate_at(p.triangle, p.barycentric, face, head.triangles)[:, 0] > 0.5 for p in (fine, coarse)
    ]
    points = _joined(_rows(fine, is_face[0]), _rows(coarse, ~is_face[1]))
    n = _unit(interpolate_at(points.triangle, points.barycentric, normals, head.triangles))
    seen = sample_bilinear(made.complete.rgb_linear, _pixels(points, len(made.complete.rgb_linear)))
    at = _pixels(points, made.materials.size)
    surface = np.dstack([made.materials.albedo_linear, made.materials.roughness, made.materials.specular])
    material = sample_bilinear(np.ascontiguousarray(surface, np.float32), at)
    colours = _with_gloss(made, points.position, n, seen, material[:, 3], material[:, 4])
    return _bound(made, points, n, colours, material[:, :3], 0, OPAQUE_LOGIT)


def _part(made: Reconstruction, normals: F32, index: int, size: int) -> BoundGaussians:
    fit = made.fit
    head = fit.head
    name = head.part_names[index]
    points = chart_points(head, fit.vertices_head, index, size)
    n = _unit(interpolate_at(points.triangle, points.barycentric, normals, head.triangles))
    plain, roughness, specular = plain_material(name)
    albedo = np.broadcast_to(np.array(plain, np.float32), (len(n), 3))
    share = INSIDE_SHARE
    if name in EYE_PARTS:
        place = interpolate_at(points.triangle, points.barycentric, iris_coordinates(head), head.triangles)
        shown = np.hypot(place[:, 0], place[:, 1]) < 3.2  # the rest never leaves the socket
        points, n, albedo = _rows(points, shown), n[shown], eye_albedo(place[shown], fit.iris_srgb)
        share = _EYE_SHARE
    lit = share * albedo / np.pi * np.maximum(sh.irradiance(fit.radiance_sh, n), 0)
    rough, shiny = np.full(len(n), roughness), np.full(len(n), specular)
    colours = _with_gloss(made, points.position, n, lit.astype(np.float32), rough, share * shiny)
    return _bound(made, points, n, colours, albedo, index, OPAQUE_LOGIT)


def _lashes(made: Reconstruction, normals: F32, index: int) -> BoundGaussians:
    """One drawn-out Gaussian for every quad of the strips: as long as the quad, a third as wide."""
    fit = made.fit
    head = fit.head
    rows = np.flatnonzero(head.triangle_part == index)
    p = fit.vertices_head.astype(np.float64)[head.triangles[rows]]
    edges = np.stack([p[:, 1] - p[:, 0], p[:, 2] - p[:, 1], p[:, 0] - p[:, 2]], 1)
    length = np.linalg.norm(edges, axis=2)
    longest = edges[np.arange(len(rows)), length.argmax(1)]
    n = _unit(normals[head.triangles[rows]].mean(1))
    points = ChartPoints(
        triangle=rows.astype(np.int32),
        barycentric=np.full((len(rows), 3), 1 / 3, np.float32),
        uv=np.zeros((len(rows), 2), np.float32),
        position=p.mean(1),
        across=0.8 * longest,
        along=0.10 * np.cross(n, longest),
    )
    albedo = np.full((len(rows), 3), _LASH_ALBEDO, np.float32)
    lit = (albedo / np.pi * np.maximum(sh.irradiance(fit.radiance_sh, n), 0)).astype(np.float32)
    harmonics = np.zeros((len(rows), 4, 3), np.float32)
    harmonics[:, 0] = (linear_to_srgb(lit) - splat_sh.COLOUR_OFFSET) / splat_sh.C0
    return _bound(made, points, n, harmonics, albedo, index, LASH_LOGIT)


def _bound(
    made: Reconstruction,
    points: ChartPoints,
    normals: F32,
    harmonics: F32,
    albedo: F32,
    part: int,
    logit: float,
) -> BoundGaussians:
    log_scales, rotations = texel_shapes(points, normals, _INNER_TEXEL_M if part else LARGEST_TEXEL_M)
    count = len(normals)
    splats = Splats(
        points.position.astype(np.float32),
        log_scales,
        rotations,
        np.full(count, logit, np.float32),
        harmonics,
    )
    fit = made.fit
    return bind(
        splats,
        points.triangle,
        points.barycentric,
        fit.vertices_head,
        fit.head.triangles,
        albedo,
        normals,
        np.full(count, part, np.uint8),
    )


def _with_gloss(
    made: Reconstruction, position: F64, normals: F32, seen_linear: F32, roughness: F32, specular: F32
) -> F32:
    """Harmonics ``(N, 4, 3)`` that show ``seen_linear`` from the photo's camera and gloss from elsewhere."""
    eye = made.fit.camera.centre_head
    home = _unit((eye - position).astype(np.float32))
    sides = _spiral(_SIDES)
    shown = linear_to_srgb(np.clip(seen_linear, 0, 1))
    # The light is an estimate: it may explain a little of what the photo shows, not paint the skin anew.
    own = np.minimum(_gloss(made, normals, home, roughness, specular), _MOST_GLOSS * seen_linear)
    left, weights, wanted = [], [], []
    for side in sides:
        view = np.broadcast_to(side, normals.shape)
        facing = np.clip((normals * view).sum(1), 0, 1)
        gained = np.minimum(_gloss(made, normals, view, roughness, specular), 2 * _MOST_GLOSS * seen_linear)
        linear = np.clip(seen_linear + gained - own, 0, 1)
        # A splat's direction runs from the eye to it.
        left.append(splat_sh.basis(-view, 1)[:, 1:] - splat_sh.basis(-home, 1)[:, 1:])
        weights.append(facing)
        wanted.append(linear_to_srgb(linear) - shown)
    a = np.stack(left, 1)
    w = np.stack(weights, 1)[..., None]
    normal_matrix = np.einsum("nsi,nsj->nij", w * a, a) + 0.6 * np.eye(3)
    varying = np.linalg.solve(normal_matrix, np.einsum("nsi,nsc->nic", w * a, np.stack(wanted, 1)))
    harmonics = np.empty((len(normals), 4, 3), np.float32)
    harmonics[:, 1:] = varying
    constant = (
        shown - splat_sh.COLOUR_OFFSET - np.einsum("ni,nic->nc", splat_sh.basis(-home, 1)[:, 1:], varying)
    )
    harmonics[:, 0] = constant / splat_sh.C0
    return harmonics


def _gloss(made: Reconstruction, normals: F32, view: F32, roughness: F32, specular: F32) -> F64:
    """Specular radiance ``(N, 3)`` towards ``view``: Schlick times the light blurred by the lobe.

    The lobe's share of band l is exp(−alpha² l (l + 1) / 2), a Gaussian on the sphere of its width.
    """
    cosine = np.clip((normals * view).sum(1, keepdims=True), 0, 1)
    mirror = 2 * cosine * normals - view
    band = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])
    alpha = np.asarray(roughness, np.float64)[:, None] ** 2
    blurred = sh.basis(mirror) * np.exp(-(alpha**2) * band * (band + 1) / 2)
    f0 = 0.08 * np.asarray(specular, np.float64)[:, None]
    fresnel = f0 + (1 - f0) * (1 - np.maximum(cosine, 0.15)) ** 5 * (1 - alpha)
    return np.asarray(fresnel * np.maximum(blurred @ made.fit.radiance_sh, 0) * (cosine > 0))


def _spiral(count: int) -> F32:
    """Directions spread over the sphere's front and sides."""
    place = np.arange(count) + 0.5
    height, angle = 1 - 2 * place / count, np.pi * (1 + 5**0.5) * place
    ring = np.sqrt(1 - height**2)
    return np.asarray(np.stack([ring * np.cos(angle), ring * np.sin(angle), height], -1), np.float32)


def _pixels(points: ChartPoints, size: int) -> F32:
    """Continuous pixel places ``(N, 2)`` of points on a map of ``size`` texels a side."""
    return np.asarray(np.stack([points.uv[:, 0] * size, (1 - points.uv[:, 1]) * size], 1), np.float32)


def _rows(points: ChartPoints, rows: NDArray[Any]) -> ChartPoints:
    return ChartPoints(*(getattr(points, name)[rows] for name in ChartPoints.__dataclass_fields__))


def _joined(first: ChartPoints, second: ChartPoints) -> ChartPoints:
    names = ChartPoints.__dataclass_fields__
    return ChartPoints(*(np.concatenate([getattr(first, n), getattr(second, n)]) for n in names))


def _unit(vectors: NDArray[Any]) -> F32:
    length = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return np.asarray(vectors / length, np.float32)
