"""Skin's lines from albedo: dark fine lines are furrows. And normals of a height field.

What runs in no line is pigment, more often than not, and is left alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps
from backend.texture.grid import WorkingChart, blur, dilate, enlarge
from backend.texture.trust import smoothstep
from backend.uvspace.kernels import compiled, in_bands

WIDEST_M = 0.0010  # Gaussian sigma above which a dark line is no furrow
FINEST_M = 0.0002
LINE_SLOPE = 0.40  # surface slope per unit of log-luminance contrast
_CONTRAST_LIMIT = 0.16  # log contrast beyond which dark is pigment or hair, not a furrow
_ENERGY, _NEAR_M = 0.08, 0.0025  # root-mean-square log contrast around at which half is read: hair has more
_FEATHER_M = 0.0025  # relief fades in over this from lips, lids, brows: their colour must leave no outline
_LINE_M = 0.0015
_MAX_SLOPE = 0.5


def furrows(log_brightness: F32, work: WorkingChart, work_brightness: F32, skin: F32, texel_m: float) -> F32:
    """Heights ``(S, S)``, metres along the smooth normal, from dilated log luminance ``(S, S)`` and the same
    on the working grid ``(W, W)``.

    ``skin`` ``(W, W)`` in [0, 1] is where relief may be read (not brows, lashes, lips). ``texel_m`` is the
    working texel's side.
    """
    size = log_brightness.shape[0]
    on_work = work.inside.astype(np.float32)
    hair = smoothstep((blur(work_brightness, 0.006 / texel_m, on_work) - work_brightness - 0.25) / 0.35)
    weight = on_work * skin * (1 - hair)
    # Weighted by skin alone: across a border of lips or lids every blur would draw an outline.
    middle = blur(work_brightness, WIDEST_M / texel_m, weight)
    contrast = np.where(weight > 0.1, work_brightness - middle, 0).astype(np.float32)
    readable = smoothstep(_depth_m(work.inside, skin > 0.9, texel_m) / _FEATHER_M)
    readable = readable * blur(1 - hair, 0.0015 / texel_m, on_work)
    readable = readable * _calm(contrast, _ENERGY, _NEAR_M / texel_m, weight)
    readable = readable * coherence(contrast, _LINE_M / texel_m)

    map_texel = texel_m / work.factor
    # The albedo is dilated, so its blur needs no mask.
    fine = blur(log_brightness, max(FINEST_M / map_texel, 0.4), np.ones_like(log_brightness))
    fine -= enlarge(dilate(middle, weight > 0.02), size)
    fine = _soft(fine)
    fine *= LINE_SLOPE * WIDEST_M
    fine *= enlarge(dilate(readable.astype(np.float32), work.inside), size)
    return fine


def _depth_m(inside: NDArray[np.bool_], skin: NDArray[np.bool_], texel_m: float) -> F32:
    """Metres ``(W, W)`` to the nearest texel of the chart that is not skin; 0 there."""
    import cv2

    feature = inside & ~skin
    if not feature.any():
        return np.full(inside.shape, 1.0, np.float32)
    distance = cv2.distanceTransform((~feature).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(distance * texel_m, np.float32)


def _calm(contrast: F32, limit: float, sigma: float, weight: F32) -> F32:
    """Near 1 ``(W, W)`` where the contrast around is skin's, falling smoothly to 0 where it is far more."""
    energy = blur(contrast * contrast, sigma, weight)
    out: F32 = (1 / (1 + (energy / limit**2) ** 2)).astype(np.float32)
    return out


def coherence(contrast: F32, sigma: float) -> F32:
    """How far ``contrast`` ``(W, W)`` runs in lines, in [0, 1]: the structure tensor's coherence."""
    import cv2

    dx, dy = (cv2.Sobel(contrast, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    xx, yy, xy = (cv2.GaussianBlur(p, (0, 0), max(sigma, 0.5)) for p in (dx * dx, dy * dy, dx * dy))
    out: F32 = (((xx - yy) ** 2 + 4 * xy**2) / np.maximum((xx + yy) ** 2, 1e-12)).astype(np.float32)
    return out


def _soft(contrast: F32) -> F32:
    out: F32 = (_CONTRAST_LIMIT * np.tanh(contrast / _CONTRAST_LIMIT)).astype(np.float32)
    return out


@compiled
def _normals(
    height: NDArray[np.float32],
    position: NDArray[np.float32],
    normal: NDArray[np.float32],
    tangent: NDArray[np.float32],
    face_id: NDArray[np.int32],
    reach: float,
    start: int,
    end: int,
    out: NDArray[np.float32],
) -> None:
    size = height.shape[0]
    pu = np.zeros(3)
    pv = np.zeros(3)
    for r in range(start, end):
        for c in range(size):
            out[r, c, 0], out[r, c, 1], out[r, c, 2] = 0.0, 0.0, 1.0
            if face_id[r, c] < 0:
                continue
            c0, c1, r0, r1 = c, c, r, r
            if c > 0 and face_id[r, c - 1] >= 0:
                c0 = c - 1
            if c + 1 < size and face_id[r, c + 1] >= 0:
                c1 = c + 1
            if r > 0 and face_id[r - 1, c] >= 0:
                r0 = r - 1
            if r + 1 < size and face_id[r + 1, c] >= 0:
                r1 = r + 1
            e, f, g = 0.0, 0.0, 0.0
            for k in range(3):
                pu[k] = position[r, c1, k] - position[r, c0, k]
                pv[k] = position[r0, c, k] - position[r1, c, k]  # v grows upwards
                e += pu[k] * pu[k]
                f += pu[k] * pv[k]
                g += pv[k] * pv[k]
            determinant = e * g - f * f
            # Neighbours of another chart island lie far off in space: no slope there.
            if determinant <= 1e-3 * e * g or e > reach * reach or g > reach * reach:
                continue
            hu, hv = height[r, c1] - height[r, c0], height[r0, c] - height[r1, c]
            a, b = (g * hu - f * hv) / determinant, (e * hv - f * hu) / determinant
            x, y = 0.0, 0.0
            for k in range(3):
                slope = a * pu[k] + b * pv[k]
                n1, n2 = normal[r, c, (k + 1) % 3], normal[r, c, (k + 2) % 3]
                t1, t2 = tangent[r, c, (k + 1) % 3], tangent[r, c, (k + 2) % 3]
                x -= slope * tangent[r, c, k]
                y -= slope * tangent[r, c, 3] * (n1 * t2 - n2 * t1)
            steep = np.sqrt(x * x + y * y)
            if steep > _MAX_SLOPE:
                x, y = x * _MAX_SLOPE / steep, y * _MAX_SLOPE / steep
            length = np.sqrt(x * x + y * y + 1)
            out[r, c, 0], out[r, c, 1], out[r, c, 2] = x / length, y / length, 1 / length


def tangent_normals(height: F32, chart: ChartMaps, texel_m: float) -> F32:
    """Unit tangent-space normals ``(S, S, 3)`` (OpenGL, MikkTSpace frame) of ``height`` ``(S, S)`` metres.

    (0, 0, 1) outside the chart.
    """
    out = np.empty((*height.shape, 3), np.float32)
    given = (
        np.ascontiguousarray(height),
        np.ascontiguousarray(chart.position_head),
        np.ascontiguousarray(chart.normal_head),
        np.ascontiguousarray(chart.tangent_head),
        np.ascontiguousarray(chart.face_id),
        16 * texel_m,
    )
    in_bands(lambda start, end: _normals(*given, start, end, out), len(out))
    return out
