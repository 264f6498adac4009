"""The contact sheet of a reconstruction: what was seen, what was found, what it looks like relit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, HeadFit, Observation, Reconstruction
from backend.colour import linear_to_srgb
from backend.export.portrait import (
    Portrait,
    frame_height_m,
    portrait_pivot,
    reduced,
    relit_views,
    studio_portraits,
)
from backend.export.sheet import PLATE, Tile, compose, tile_width
from backend.shading import sh
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import cropped_camera, rasterise_camera

__all__ = ["Portrait", "fit_picture", "preview", "relit_views"]

U8 = NDArray[np.uint8]

_ROW_WIDTH = 2200
_PORTRAIT_SHAPE = 1.25  # height over width
_WIRE = np.array([0.62, 0.90, 1.0], np.float32)
_SEEN_RAMP = np.array([[0.13, 0.14, 0.17], [0.16, 0.34, 0.42], [0.33, 0.62, 0.60], [0.93, 0.90, 0.72]])


def preview(reconstruction: Reconstruction) -> U8:
    """The sheet as sRGB ``(H, W, 3)``: photo, fit, three relit views; five maps and visibility."""
    fit, observation = reconstruction.fit, reconstruction.observation
    width = tile_width(_ROW_WIDTH, 5)
    size = (width, round(width * _PORTRAIT_SHAPE))
    window = _portrait_window(fit, size)
    crop = _cropped(observation.photo.rgb_srgb, window, size)
    faces = len(observation.faces)

    portraits = studio_portraits()
    with ThreadPoolExecutor(1) as pool:
        relighting = pool.submit(relit_views, reconstruction, size, portraits)
        fitted = _to_bytes(_fit_overlay(crop, observation, fit, window, size))
        maps = _map_tiles(reconstruction, tile_width(_ROW_WIDTH, 6))
        relit = relighting.result()
    top = [
        Tile(
            _to_bytes(crop),
            "Photograph",
            f"face {observation.face_index + 1} of {faces}" if faces > 1 else _dimensions(observation),
        ),
        Tile(fitted, "Fit", f"{fit.landmark_error_px:.2f} px on held-out landmarks"),
        *(
            Tile(picture, p.light.name.capitalize(), p.label)
            for picture, p in zip(relit, portraits, strict=True)
        ),
    ]
    caption = (
        f"engine {reconstruction.engine}   |   head {fit.head.name}   |   "
        f"landmark error {fit.landmark_error_px:.2f} px, {100 * fit.landmark_error_iod:.1f} % of the eye "
        f"distance   |   photometric {fit.photometric_psnr_db:.1f} dB   |   "
        f"focal length {fit.focal_source}   |   seed {reconstruction.seed}"
    )
    return compose(
        observation.photo.name,
        caption,
        "Likeness",
        [top, maps],
    )


def fit_picture(observation: Observation, fit: HeadFit, size: tuple[int, int]) -> U8:
    """The fit alone as the sheet shows it, sRGB ``(height, width, 3)``: mesh and landmarks on the photo."""
    window = _portrait_window(fit, size)
    crop = _cropped(observation.photo.rgb_srgb, window, size)
    return _to_bytes(_fit_overlay(crop, observation, fit, window, size))


def _dimensions(observation: Observation) -> str:
    width, height = observation.photo.source_size
    return f"{width} x {height}"


def _portrait_window(fit: HeadFit, size: tuple[int, int]) -> tuple[float, float, float]:
    """Left, top and scale (tile pixels per photo pixel) of the window that frames the head in the photo
    as the portraits frame it, moved a little where that keeps it inside the photo."""
    pixel, depth = fit.camera.project(portrait_pivot(fit.head))
    height = max(fit.camera.focal_px * frame_height_m(*size) / max(float(depth), 1e-3), 4.0)
    scale = size[1] / height
    width = size[0] / scale
    left = _inside(float(pixel[0]) - 0.5 * width, width, fit.camera.width_px)
    top = _inside(float(pixel[1]) - 0.5 * height, height, fit.camera.height_px)
    return left, top, scale


def _inside(start: float, length: float, available: int) -> float:
    """``start`` of a window moved by at most an eighth of its length towards [0, available]."""
    if length >= available:
        return start
    reach = length / 8
    return (
        start + min(max(-start, -reach), reach)
        if start < 0
        else (start + max(min(available - length - start, 0.0), -reach))
    )


def _cropped(rgb_srgb: F32, window: tuple[float, float, float], size: tuple[int, int]) -> F32:
    """The window of the photo as a tile; beside the photo lies the sheet's plate."""
    import cv2

    left, top, scale = window
    # Averaging first where the photo is finer than the tile keeps hair and cloth from shimmering.
    shrink = max(1, int(1 / scale))
    x0, y0 = int(np.floor(left)), int(np.floor(top))
    x1, y1 = int(np.ceil(left + size[0] / scale)) + 1, int(np.ceil(top + size[1] / scale)) + 1
    height, width = rgb_srgb.shape[:2]
    part = rgb_srgb[max(y0, 0) : max(min(y1, height), 0), max(x0, 0) : max(min(x1, width), 0)]
    plate = np.array(PLATE, np.float32) / 255
    if part.size == 0:
        return np.broadcast_to(plate, (size[1], size[0], 3)).copy()
    small = (max(1, part.shape[1] // shrink), max(1, part.shape[0] // shrink))
    reduced_part = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
    sx, sy = scale * part.shape[1] / small[0], scale * part.shape[0] / small[1]
    # Continuous: tile = (photo − window) · scale; pixel indices are half a pixel less on either side.
    shift_x = (max(x0, 0) - left) * scale + 0.5 * sx - 0.5
    shift_y = (max(y0, 0) - top) * scale + 0.5 * sy - 0.5
    matrix = np.array([[sx, 0, shift_x], [0, sy, shift_y]])
    tile = cv2.warpAffine(
        reduced_part,
        matrix,
        size,
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[float(c) for c in plate],
    )
    return np.asarray(np.clip(tile, 0, 1), np.float32)


def _fit_overlay(
    crop: F32,
    observation: Observation,
    fit: HeadFit,
    window: tuple[float, float, float],
    size: tuple[int, int],
) -> F32:
    """The fitted mesh over the photo: shaded lightly by the estimated light, wires, and landmarks."""
    import cv2

    left, top, scale = window
    sharper = 2
    camera = cropped_camera(fit.camera, left, top, size[0] * sharper, size[1] * sharper, scale * sharper)
    head = fit.head
    skin = head.triangles[head.triangle_part == 0]
    drawn = rasterise_camera(fit.vertices_head, skin, camera)
    normals = vertex_normals(fit.vertices_head, head.triangles)
    light = np.maximum(sh.irradiance(fit.radiance_sh, normals).mean(-1, keepdims=True), 0)
    light *= 0.62 / max(float(np.quantile(light, 0.95)), 1e-6)
    clay = drawn.interpolate(light, skin)[..., 0]
    cover = cv2.resize(drawn.covered.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    shade = cv2.resize(linear_to_srgb(clay), size, interpolation=cv2.INTER_AREA)
    picture = crop * (1 - 0.42 * cover[..., None]) + 0.42 * shade[..., None]
    wires = _wires(fit, normals, drawn.depth, camera.project(fit.vertices_head), size, sharper)
    picture = picture + (0.42 * wires)[..., None] * (_WIRE - picture)
    return _with_landmarks(picture.astype(np.float32), observation, window)


def _wires(
    fit: HeadFit,
    normals: F32,
    depth: F32,
    projected: tuple[F64, F64],
    size: tuple[int, int],
    sharper: int,
) -> F32:
    """Antialiased edges of the skin's quads that the camera sees, ``(h, w)`` in [0, 1]."""
    import cv2

    head = fit.head
    pixels, z = projected
    away = fit.camera.centre_head - fit.vertices_head
    facing = np.einsum("vc,vc->v", normals, away) > 0.08 * np.linalg.norm(away, axis=1)
    column = np.clip(np.nan_to_num(pixels[:, 0]), 0, depth.shape[1] - 1).astype(np.int64)
    row = np.clip(np.nan_to_num(pixels[:, 1]), 0, depth.shape[0] - 1).astype(np.int64)
    inside = (pixels >= 0).all(1) & (pixels[:, 0] < depth.shape[1]) & (pixels[:, 1] < depth.shape[0])
    seen = facing & inside & (z > 0.01) & (z < depth[row, column] + 0.006)
    quads = head.quads[head.quad_part == 0]
    following = np.where(quads[:, 3:] >= 0, np.roll(quads, -1, 1), quads[:, [1, 2, 0, 0]])
    edges = np.sort(np.stack([quads, following], -1).reshape(-1, 2), 1).astype(np.int64)
    edges = edges[(edges[:, 0] >= 0) & (edges[:, 0] != edges[:, 1]) & seen[edges].all(1)]
    both = np.unique(edges[:, 0] * len(pixels) + edges[:, 1])
    edges = np.stack(np.divmod(both, len(pixels)), 1)
    canvas = np.zeros((size[1] * sharper, size[0] * sharper), np.uint8)
    lines = np.round((pixels[edges] - 0.5) * 16).astype(np.int32)
    cv2.polylines(canvas, list(lines), False, 255, 1, cv2.LINE_AA, 4)
    return np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.float32) / 255


def _with_landmarks(picture: F32, observation: Observation, window: tuple[float, float, float]) -> F32:
    """Detected landmarks as small dots."""
    import cv2

    left, top, scale = window
    at = (observation.landmarks_px.astype(np.float64) - [left, top]) * scale - 0.5
    out = np.ascontiguousarray(_to_bytes(picture))
    for point, visible in zip(np.round(at * 16).astype(int), observation.landmarks_visible, strict=True):
        if visible > 0.5:
            cv2.circle(out, (int(point[0]), int(point[1])), 20, (255, 186, 92), -1, cv2.LINE_AA, 4)
    return out.astype(np.float32) / 255


def _map_tiles(reconstruction: Reconstruction, side: int) -> list[Tile]:
    """Albedo, normal, roughness, specular, displacement and visibility as squares of ``side`` pixels."""
    import cv2

    full = reconstruction.materials
    small = reduced(full, side)
    chart = reconstruction.partial.chart.inside.astype(np.float32)
    inside = cv2.resize(chart, (side, side), interpolation=cv2.INTER_AREA)
    core = reconstruction.partial.chart.inside
    confidence = reconstruction.partial.confidence
    seen = float((confidence[core] > 0.05).mean()) if core.any() else 0.0
    every = max(1, full.size // 512)  # texel, for figures that only sum the map up
    few = (slice(None, None, every), slice(None, None, every))
    reach = max(float(np.quantile(np.abs(full.displacement_m[few]), 0.995)), 1e-6)

    def tile(picture: NDArray[np.floating[Any]], name: str, note: str) -> Tile:
        if picture.ndim == 2:
            picture = np.repeat(picture[..., None], 3, -1)
        if picture.shape[0] != side:
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR)
        plate = np.array(PLATE, np.float32) / 255
        blended = picture * inside[..., None] + plate * (1 - inside[..., None])
        return Tile(_to_bytes(blended), name, note)

    def extent(values: F32) -> str:
        low, high = np.quantile(values[few], (0.02, 0.98))
        return f"{low:.2f} to {high:.2f}"

    visible = cv2.resize(confidence, (side, side), interpolation=cv2.INTER_AREA)
    ramp = np.stack([np.interp(visible, np.linspace(0, 1, 4), _SEEN_RAMP[:, c]) for c in range(3)], -1)
    return [
        tile(linear_to_srgb(small.albedo_linear), "Albedo", f"{full.size} x {full.size}, sRGB"),
        tile(0.5 + 0.5 * small.normal_tangent, "Normal", "tangent, OpenGL"),
        tile(small.roughness, "Roughness", extent(full.roughness)),
        tile(small.specular, "Specular", extent(full.specular)),
        tile(0.5 + 0.5 * small.displacement_m / reach, "Displacement", f"\u00b1{1000 * reach:.2f} mm"),
        tile(ramp, "Visibility", f"{100 * seen:.0f} % from the photograph"),
    ]


def _to_bytes(picture: NDArray[np.floating[Any]]) -> U8:
    return np.asarray(np.round(np.clip(picture, 0, 1) * 255), np.uint8)
