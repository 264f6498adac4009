"""The photograph laid into the skin chart: FiCA's partial UV, MARCUS' T_inc."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, ChartMaps, HeadFit, Observation, PartialUV, Run
from backend.errors import BadInput
from backend.uvspace.chart import chart_maps, skin_triangles
from backend.uvspace.kernels import compiled, in_bands
from backend.uvspace.rasterise import uv_to_px
from backend.uvspace.sampling import ImagePyramid, add_bicubic, add_bilinear, linear_light
from backend.uvspace.visibility import Visibility, head_window, picture_trust, pixel_depth, visibility

# n·v where a surface begins to be used and from which on it is trusted wholly (78° and 57°).
GRAZING, FRONTAL = 0.2, 0.55
MOST_TAPS = 4  # photo samples along the long axis of a texel's footprint
LEAST_CONFIDENCE = 0.02
# Distance, in texels or in half photo pixels where those are wider, between a texel and what its
# reading of the photo shows: up to which it is trusted wholly and from which on not at all.
APART_SAFE, APART_LOST = 0.2, 0.38


def unwrap(observation: Observation, fit: HeadFit, size: int, run: Run) -> PartialUV:
    """Sample the full-resolution photo at every texel of the ``size×size`` chart that it shows.

    Linear light throughout; Catmull-Rom where texels are finer than pixels, an anisotropic mip pyramid
    where they are coarser. Confidence is the product of z-buffered visibility behind every part of the
    head, a ramp on n·v, distance from occlusion edges, the shrunk skin mask and the photo's border, and
    whether the same reading of the depth gives the texel's own back (it does not where surfaces touch).
    Raises: BadInput when the photo shows no skin where the head was fitted, Cancelled.
    """
    head, camera, photo = fit.head, fit.camera, observation.photo
    if (camera.width_px, camera.height_px) != (photo.width, photo.height):
        raise BadInput("the fitted camera belongs to a photo of another size; fit this photo again")
    chart = chart_maps(head, fit.vertices_head, size)
    run.progress("partial UV", 0.3)

    window = head_window(fit.vertices_head, camera)
    depth_m = float(np.median(camera.to_camera(fit.vertices_head)[:, 2]))
    pixel_m = depth_m / camera.focal_px
    reach_px = max(1.0, 1.5 * _texel_m(fit, size) / pixel_m)  # pyramid levels run up to twice a texel
    seen = visibility(fit.vertices_head, head.opaque_triangles, camera, window, reach_px)
    frame = (photo.width, photo.height)
    trust = picture_trust(observation.skin_mask, observation.person_mask, window, frame, pixel_m, reach_px)
    run.progress("partial UV", 0.5)

    part = np.s_[window.y0 : window.y0 + window.height, window.x0 : window.x0 + window.width]
    colour = linear_light(photo.rgb_srgb[part])
    depth = pixel_depth(fit.vertices_head, head.opaque_triangles, camera, window)
    picture = ImagePyramid.build(np.concatenate([colour, depth[..., None]], -1))
    run.progress("partial UV", 0.7)

    rgb, confidence, density = _sample(chart, fit, size, picture, trust, seen)
    shown = confidence > 0
    if not shown.any():
        raise BadInput("no skin is visible where the head was fitted; choose a photo with a clearer face")
    return PartialUV(chart, rgb, confidence, float(np.median(density[shown])))


def _texel_m(fit: HeadFit, size: int) -> float:
    """A texel's typical width on the skin, metres: square root of the mean area ratio."""
    skin = skin_triangles(fit.head)
    p = fit.vertices_head[fit.head.triangles[skin]].astype(np.float64)
    t = fit.head.uvs[fit.head.triangle_uvs[skin]].astype(np.float64) * size
    surface = np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1).sum()
    chart = np.abs(np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])).sum()
    return float(np.sqrt(surface / max(chart, 1e-12)))


class _Chart(NamedTuple):
    face_id: NDArray[np.int32]
    position_head: F32
    normal_head: F32
    steps: F64  # (T, 2, 3) camera-space metres per texel to the right and down


class _Lens(NamedTuple):
    world_to_camera: F64
    focal: float
    cx: float  # principal point in window pixels
    cy: float


class _Picture(NamedTuple):
    texels: F32  # ImagePyramid's arrays, of linear red, green, blue and metres of depth
    offset: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    trust: F32  # (h·w, 1)


class _ZBuffer(NamedTuple):
    depth: F32
    trust: F32  # (h·w, 1)
    scale: float
    bias: float  # metres
    pixel: float  # its pixel's width on the head, metres
    apart: float  # unit of APART_SAFE and APART_LOST, metres


def _sample(
    chart: ChartMaps, fit: HeadFit, size: int, pyramid: ImagePyramid, trust: F32, seen: Visibility
) -> tuple[F32, F32, F32]:
    """Colours ``(S, S, 3)``, confidence and texels per photo pixel ``(S, S)``."""
    head, camera = fit.head, fit.camera
    vertices_camera = camera.to_camera(fit.vertices_head)
    steps = _texel_steps(vertices_camera, head.triangles, uv_to_px(head.uvs, size), head.triangle_uvs)
    surface = _Chart(chart.face_id, chart.position_head, chart.normal_head, steps)
    lens = _Lens(
        np.ascontiguousarray(camera.world_to_camera, np.float64),
        float(camera.focal_px),
        float(camera.principal_px[0]) - seen.window.x0,
        float(camera.principal_px[1]) - seen.window.y0,
    )
    picture = _Picture(pyramid.texels, pyramid.offset, pyramid.height, pyramid.width, trust.reshape(-1, 1))
    apart_m = max(_texel_m(fit, size), 0.5 * seen.pixel_m * seen.scale)
    buffer = _ZBuffer(seen.depth, seen.trust.reshape(-1, 1), seen.scale, seen.bias_m, seen.pixel_m, apart_m)
    rgb = np.zeros((size, size, 3), np.float32)
    confidence = np.zeros((size, size), np.float32)
    density = np.zeros((size, size), np.float32)

    def band(start: int, end: int) -> None:
        _sample_rows(start, end, surface, lens, picture, buffer, rgb, confidence, density)

    in_bands(band, size)
    return rgb, confidence, density


def _texel_steps(
    vertices_camera: F64, triangles: NDArray[np.int32], uv_texels: F64, triangle_uvs: NDArray[np.int32]
) -> F64:
    """Camera-space motion per texel to the right and down, ``(T, 2, 3)`` metres; 0 without UV area."""
    p, t = vertices_camera[triangles], uv_texels[triangle_uvs]
    d1, d2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    t1, t2 = t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]
    area = t1[:, 0] * t2[:, 1] - t1[:, 1] * t2[:, 0]
    inverse = np.divide(1.0, area, out=np.zeros_like(area), where=np.abs(area) > 1e-12)[:, None]
    right = (t2[:, 1, None] * d1 - t1[:, 1, None] * d2) * inverse
    down = (t1[:, 0, None] * d2 - t2[:, 0, None] * d1) * inverse
    return np.stack([right, down], 1)


@compiled
def _sample_rows(
    start: int,
    end: int,
    chart: _Chart,
    lens: _Lens,
    picture: _Picture,
    buffer: _ZBuffer,
    rgb: F32,
    confidence: F32,
    density: F32,
) -> None:
    """Fill rows ``[start, end)`` of the three outputs, which hold 0."""
    face_id, steps, focal = chart.face_id, chart.steps, lens.focal
    offset, height, width = picture.offset, picture.height, picture.width
    read = np.zeros(4, np.float32)
    weight = np.zeros(1, np.float32)
    p = np.zeros(3, np.float64)
    n = np.zeros(3, np.float64)
    for row in range(start, end):
        for column in range(face_id.shape[1]):
            t = face_id[row, column]
            if t < 0:
                continue
            for k in range(3):
                p[k] = lens.world_to_camera[k, 3]
                n[k] = 0.0
                for c in range(3):
                    p[k] += lens.world_to_camera[k, c] * chart.position_head[row, column, c]
                    n[k] += lens.world_to_camera[k, c] * chart.normal_head[row, column, c]
            if p[2] <= 0.0:
                continue
            toward = -(n[0] * p[0] + n[1] * p[1] + n[2] * p[2]) / np.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2)
            if toward <= GRAZING:
                continue
            ramp = min((toward - GRAZING) / (FRONTAL - GRAZING), 1.0)
            x = focal * p[0] / p[2] + lens.cx
            y = focal * p[1] / p[2] + lens.cy
            if x < 0.0 or y < 0.0 or x > width[0] or y > height[0]:
                continue

            # The triangle's plane, n·q = n·p, gives the depth to expect at the z-buffer's own samples.
            for k in range(3):
                i, j = (k + 1) % 3, (k + 2) % 3
                n[k] = steps[t, 0, i] * steps[t, 1, j] - steps[t, 0, j] * steps[t, 1, i]
            value = _seen(buffer, p, n, x * buffer.scale, y * buffer.scale, x, y, focal)
            value *= ramp * ramp * (3.0 - 2.0 * ramp)
            if value <= LEAST_CONFIDENCE:
                continue
            weight[0] = 0.0
            add_bilinear(picture.trust, 0, height[0], width[0], x, y, 1.0, weight)
            value *= weight[0]
            weight[0] = 0.0
            add_bilinear(
                buffer.trust,
                0,
                buffer.depth.shape[0],
                buffer.depth.shape[1],
                x * buffer.scale,
                y * buffer.scale,
                1.0,
                weight,
            )
            value *= weight[0]
            if value <= LEAST_CONFIDENCE:
                continue

            # The texel's footprint: the projection's derivative, then its long and short axes.
            right_x = focal * (steps[t, 0, 0] - steps[t, 0, 2] * p[0] / p[2]) / p[2]
            right_y = focal * (steps[t, 0, 1] - steps[t, 0, 2] * p[1] / p[2]) / p[2]
            down_x = focal * (steps[t, 1, 0] - steps[t, 1, 2] * p[0] / p[2]) / p[2]
            down_y = focal * (steps[t, 1, 1] - steps[t, 1, 2] * p[1] / p[2]) / p[2]
            area = abs(right_x * down_y - right_y * down_x)
            xx, yy = right_x * right_x + down_x * down_x, right_y * right_y + down_y * down_y
            xy = right_x * right_y + down_x * down_y
            longest = 0.5 * (xx + yy + np.sqrt((xx - yy) ** 2 + 4.0 * xy * xy))
            long = np.sqrt(longest)
            short = area / max(long, 1e-12)
            taps = 1
            if long > 1.0:
                taps = min(int(np.ceil(long / max(short, 1.0))), MOST_TAPS)
            level = np.log2(max(max(short, long / taps), 1.0))
            axis_x, axis_y = xy, longest - xx  # eigenvector of the footprint's matrix
            if abs(axis_x) + abs(axis_y) < 1e-9 * longest:
                axis_x, axis_y = (1.0, 0.0) if xx >= yy else (0.0, 1.0)
            stretch = long / np.sqrt(axis_x * axis_x + axis_y * axis_y)

            read[:] = 0.0
            k = min(int(level), len(offset) - 1)
            blend = level - k if k < len(offset) - 1 else 0.0
            shrink = 0.5**k
            for tap in range(taps):
                along = ((tap + 0.5) / taps - 0.5) * stretch
                tap_x, tap_y = (x + along * axis_x) * shrink, (y + along * axis_y) * shrink
                add_bicubic(
                    picture.texels, offset[k], height[k], width[k], tap_x, tap_y, (1.0 - blend) / taps, read
                )
                if blend > 0.0:
                    j = k + 1
                    add_bicubic(
                        picture.texels,
                        offset[j],
                        height[j],
                        width[j],
                        0.5 * tap_x,
                        0.5 * tap_y,
                        blend / taps,
                        read,
                    )
            # Where surfaces touch, in creases and between closed lips, no depth step warns of a reading that
            # mixes them; but read in the same way, the depth is then not the texel's.
            ray = np.sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]) / p[2]
            apart = abs(read[3] - p[2]) * ray / buffer.apart
            t = min(max((APART_LOST - apart) / (APART_LOST - APART_SAFE), 0.0), 1.0)
            value *= t * t * (3.0 - 2.0 * t)
            if value <= LEAST_CONFIDENCE:
                continue
            confidence[row, column] = min(value, 1.0)
            density[row, column] = 1.0 / np.sqrt(max(area, 1e-12))
            for c in range(3):
                rgb[row, column, c] = max(read[c], 0.0)  # Catmull-Rom may undershoot


@compiled
def _seen(buffer: _ZBuffer, p: F64, n: F64, bx: float, by: float, x: float, y: float, focal: float) -> float:
    """How well (0…1) the z-buffer's four samples around (bx, by) show nothing before the plane through ``p``.

    ``p`` and the plane's normal ``n`` are in camera space; (x, y) is ``p`` in photo pixels.
    """
    height, width = buffer.depth.shape
    fx, fy = min(max(bx - 0.5, 0.0), width - 1.0), min(max(by - 0.5, 0.0), height - 1.0)
    c0, r0 = int(fx), int(fy)
    tx, ty = fx - c0, fy - r0
    across = n[0] * p[0] + n[1] * p[1] + n[2] * p[2]
    share = 0.0
    for k in range(4):
        column, row = c0 + (k & 1), r0 + (k >> 1)
        weight = (tx if k & 1 else 1.0 - tx) * (ty if k >> 1 else 1.0 - ty)
        if weight == 0.0:
            continue
        ray_x = p[0] / p[2] + ((column + 0.5) / buffer.scale - x) / focal
        ray_y = p[1] / p[2] + ((row + 0.5) / buffer.scale - y) / focal
        facing = n[0] * ray_x + n[1] * ray_y + n[2]
        plane = across / facing if abs(facing) > 1e-12 * abs(across) else p[2]
        # Seen almost edge on the plane runs off; the surface does not.
        plane = max(min(plane, p[2] + 8.0 * buffer.pixel), p[2] - 8.0 * buffer.pixel)
        if buffer.depth[row, column] >= plane - buffer.bias:
            share += weight
    return max(2.0 * share - 1.0, 0.0)  # mostly hidden is hidden
