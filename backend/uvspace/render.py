"""G-buffers of a textured head: what our own previews are lit from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Camera
from backend.head.base import ParametricHead
from backend.uvspace.buffers import Rasteriser, interpolate_at
from backend.uvspace.chart import chart_raster, tangent_to_head, unit_or_zero
from backend.uvspace.cornea import with_corneal_normals
from backend.uvspace.kernels import compiled, in_bands
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import cropped_camera, rasterise_camera, uv_to_px
from backend.uvspace.sampling import ImagePyramid
from backend.uvspace.tangents import corner_tangents

# A part's look: chart arrays (S, S, C) or (S, S), or constants, under these names. Absent ones are the
# head's vertex albedo, the smooth normal, and these constants.
Look = Mapping[str, "NDArray[np.floating[Any]] | float | tuple[float, float, float]"]
DEFAULTS = {"roughness": 0.45, "specular": 0.5}
CHANNELS = {"albedo_linear": 3, "slope": 2, "roughness": 1, "specular": 1}


@dataclass(frozen=True)
class GBuffer:
    """Surface properties at every sample of a picture, ``supersample`` samples a side per pixel.

    Shade the samples, then ``resolve``. Where ``part`` is −1 everything else is 0.
    """

    camera: Camera  # of the samples: its size and focal length are the picture's times supersample
    supersample: int
    part: NDArray[np.int16]  # (h, w) index into head.part_names, −1 beside the head
    mask: F32  # (h, w) 1 on the head, else 0
    position_head: F32  # (h, w, 3) metres
    view_head: F32  # (h, w, 3) unit, towards the camera
    normal_head: F32  # (h, w, 3) unit, normal map and displacement applied
    smooth_normal_head: F32  # (h, w, 3) unit, interpolated
    albedo_linear: F32  # (h, w, 3)
    roughness: F32  # (h, w)
    specular: F32  # (h, w)

    def resolve(self, shaded_linear: F32, background_linear: float | F32 = 0.0) -> F32:
        """The picture ``(H, W, 3)``: shaded samples ``(h, w, 3)`` averaged in linear light over a background.

        ``background_linear`` is a constant, a colour ``(3,)`` or a picture ``(H, W, 3)``.
        """
        head = self._average(np.where(self.mask[..., None] > 0, shaded_linear, 0))
        picture: F32 = (head + (1 - self.coverage()[..., None]) * background_linear).astype(np.float32)
        return picture

    def coverage(self) -> F32:
        """(H, W) share of each pixel that the head covers, in [0, 1]."""
        return self._average(self.mask[..., None])[..., 0]

    def _average(self, samples: NDArray[np.floating[Any]]) -> F32:
        s = self.supersample
        height, width, channels = samples.shape
        blocks = samples.reshape(height // s, s, width // s, s, channels)
        mean: F32 = blocks.mean((1, 3)).astype(np.float32)
        return mean


class TexturedHead:
    """A posed head with its maps prepared once, to be drawn from several cameras.

    ``maps`` is the skin's look: ``albedo_linear``, ``normal_tangent`` (OpenGL, MikkTSpace), ``roughness``,
    ``specular``, ``displacement_m`` — the names of ``Materials``, dilated beyond the chart. ``looks`` gives
    other parts theirs by part name, in charts of their own.
    """

    def __init__(
        self,
        head: ParametricHead,
        vertices_head: NDArray[np.floating[Any]],
        maps: Look,
        looks: Mapping[str, Look] | None = None,
        vertex_albedo: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        self._head = head
        self._vertices = np.asarray(vertices_head, np.float32)
        self._normals = with_corneal_normals(head, vertex_normals(self._vertices, head.triangles))
        self._albedo = head.albedo_mean if vertex_albedo is None else np.asarray(vertex_albedo, np.float32)
        self._uv_area = np.maximum(_doubled_area(head.uvs.astype(np.float64)[head.triangle_uvs]), 1e-15)
        by_part = {head.part_names[0]: maps, **(looks or {})}
        self._looks = {
            head.part_names.index(name): self._prepare(look, name == head.part_names[0])
            for name, look in by_part.items()
        }
        # Only where a look has slopes do tangents matter.
        sloped = [index for index, (names, _, _) in self._looks.items() if "slope" in names]
        rows = np.flatnonzero(np.isin(head.triangle_part, sloped))
        self._tangents = np.zeros((3 * len(head.triangles), 4), np.float32)
        if len(rows):
            self._tangents.reshape(-1, 3, 4)[rows] = corner_tangents(
                self._vertices, self._normals, head.triangles[rows], head.uvs, head.triangle_uvs[rows]
            )

    def view(self, camera: Camera, supersample: int = 2, rasteriser: Rasteriser | None = None) -> GBuffer:
        """The G-buffer of ``camera``'s picture; see-through parts are not drawn."""
        head = self._head
        s = supersample
        fine = cropped_camera(camera, 0, 0, camera.width_px * s, camera.height_px * s, s)
        drawn = rasterise_camera(self._vertices, head.opaque_triangles, fine, rasteriser)
        # Everything per covered sample, ``(N, …)``; laid out as pictures at the end.
        at = np.flatnonzero(drawn.covered.ravel())
        ids, weights = drawn.triangle.ravel()[at], drawn.barycentric.reshape(-1, 3)[at]
        values = np.concatenate([self._vertices, self._normals, self._albedo], 1)
        surface = interpolate_at(ids, weights, values, head.triangles)
        corner_rows = np.arange(len(self._tangents), dtype=np.int32).reshape(-1, 3)
        tangent = interpolate_at(ids, weights, self._tangents, corner_rows)
        uv = interpolate_at(ids, weights, head.uvs, head.triangle_uvs)

        position, normal, albedo = surface[:, :3], surface[:, 3:6], surface[:, 6:9].copy()
        part = head.triangle_part[ids].astype(np.int16)
        normal_tangent = np.zeros((len(at), 3), np.float32)
        normal_tangent[:, 2] = 1
        scalars = {name: np.full(len(at), value, np.float32) for name, value in DEFAULTS.items()}
        level_of_one_texel = self._levels(fine)
        for index, (names, pyramid, size) in self._looks.items():
            here = np.flatnonzero(part == index)
            if len(here) == 0:
                continue
            level = level_of_one_texel[ids[here]] + np.log2(size)
            sampled = pyramid.sample(uv_to_px(uv[here], size), level)
            for name, channels in names.items():
                value = sampled[:, channels]
                if name == "albedo_linear":
                    albedo[here] = value
                elif name == "slope":
                    normal_tangent[here, :2] = value
                else:
                    scalars[name][here] = value[:, 0]

        shape = drawn.triangle.shape

        def picture(samples: NDArray[np.generic], empty: int = 0) -> NDArray[Any]:
            laid = np.full((shape[0] * shape[1], *samples.shape[1:]), empty, samples.dtype)
            laid[at] = samples
            return laid.reshape(*shape, *samples.shape[1:])

        return GBuffer(
            camera=fine,
            supersample=s,
            part=picture(part, -1),
            mask=drawn.covered.astype(np.float32),
            position_head=picture(position),
            view_head=picture(unit_or_zero(camera.centre_head.astype(np.float32) - position)),
            normal_head=picture(tangent_to_head(normal, tangent, normal_tangent)),
            smooth_normal_head=picture(unit_or_zero(normal)),
            albedo_linear=picture(albedo),
            roughness=picture(scalars["roughness"]),
            specular=picture(scalars["specular"]),
        )

    def _prepare(self, look: Look, is_skin: bool) -> tuple[dict[str, slice], ImagePyramid, int]:
        """Which channels hold which map, all maps of the part in one pyramid, and its side in texels."""
        arrays = {name: np.asarray(value, np.float32) for name, value in look.items()}
        size = max((len(a) for a in arrays.values() if a.ndim >= 2), default=1)
        layers = {
            name: _filled(arrays[name], size, CHANNELS[name])
            for name in CHANNELS
            if name in arrays and name != "slope"
        }
        slopes: list[F32] = []
        if "normal_tangent" in arrays:
            n = _filled(arrays["normal_tangent"], size, 3)
            slopes.append(n[..., :2] / np.maximum(n[..., 2:], np.float32(0.05)))
        if is_skin and "displacement_m" in arrays:
            slopes.append(self._displacement_slope(_filled(arrays["displacement_m"], size, 1)[..., 0]))
        if slopes:
            layers["slope"] = slopes[0] if len(slopes) == 1 else slopes[0] + slopes[1]
        if not layers:
            layers = {name: np.full((1, 1, 1), value, np.float32) for name, value in DEFAULTS.items()}
        names, at = {}, 0
        for name, layer in layers.items():
            names[name] = slice(at, at + layer.shape[2])
            at += layer.shape[2]
        return names, ImagePyramid.build(np.concatenate(list(layers.values()), -1)), size

    def _displacement_slope(self, displacement_m: F32) -> F32:
        """Tangent-space slopes (x, y of a normal over its z) of a height map on the skin chart."""
        head, size = self._head, len(displacement_m)
        t = uv_to_px(head.uvs, size)[head.triangle_uvs]
        p = self._vertices.astype(np.float64)[head.triangles]
        t1, t2, d1, d2 = t[:, 1] - t[:, 0], t[:, 2] - t[:, 0], p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
        area = t1[:, 0] * t2[:, 1] - t1[:, 1] * t2[:, 0]
        area = np.where(np.abs(area) > 1e-12, area, np.inf)
        # Metres per texel to the right and down.
        right = np.linalg.norm((t2[:, 1, None] * d1 - t1[:, 1, None] * d2) / area[:, None], axis=1)
        down = np.linalg.norm((t1[:, 0, None] * d2 - t2[:, 0, None] * d1) / area[:, None], axis=1)
        face = chart_raster(head, size).triangle
        slope = np.empty((size, size, 2), np.float32)
        height = np.ascontiguousarray(displacement_m)
        in_bands(lambda start, end: _slope_rows(height, face, right, down, start, end, slope), size)
        return slope

    def _levels(self, camera: Camera) -> NDArray[np.float64]:
        """Per triangle, the power of two of UV units per sample along a side; plus log2 of a chart's size
        it is the pyramid level."""
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels, _ = camera.project(self._vertices)
        pixel = _doubled_area(np.nan_to_num(pixels)[self._head.triangles])
        level: NDArray[np.float64] = 0.5 * np.log2(self._uv_area / np.maximum(pixel, 1e-3))
        return level


@compiled
def _slope_rows(
    displacement_m: F32, face: NDArray[np.int32], right: F64, down: F64, start: int, end: int, out: F32
) -> None:
    """Rows ``[start, end)`` of the slopes; ``right`` and ``down`` ``(T,)`` are metres per texel."""
    last = len(face) - 1
    for y in range(start, end):
        above, below = max(y - 1, 0), min(y + 1, last)
        for x in range(len(face)):
            t = face[y, x]
            if t < 0:
                out[y, x, 0] = 0.0
                out[y, x, 1] = 0.0
                continue
            before, after = max(x - 1, 0), min(x + 1, last)
            rise = (displacement_m[y, after] - displacement_m[y, before]) / (after - before)
            fall = (displacement_m[below, x] - displacement_m[above, x]) / (below - above)
            out[y, x, 0] = min(max(-rise / max(right[t], 1e-9), -2.0), 2.0)
            out[y, x, 1] = min(max(fall / max(down[t], 1e-9), -2.0), 2.0)  # v grows upwards


def render_view(
    head: ParametricHead,
    vertices_head: NDArray[np.floating[Any]],
    maps: Look,
    camera: Camera,
    supersample: int = 2,
    looks: Mapping[str, Look] | None = None,
    rasteriser: Rasteriser | None = None,
) -> GBuffer:
    """The G-buffer of one view; for several views of one head prepare a ``TexturedHead`` once."""
    return TexturedHead(head, vertices_head, maps, looks).view(camera, supersample, rasteriser)


def _filled(value: F32, size: int, channels: int) -> F32:
    """A map or constant as ``(size, size, channels)``."""
    array = value if value.ndim >= 2 else value.reshape(1, 1, -1)
    array = array[..., None] if array.ndim == 2 else array
    filled: F32 = np.broadcast_to(array, (size, size, channels))
    return filled


def _doubled_area(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Twice the areas of ``(T, 3, 2)`` triangles."""
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    doubled: NDArray[np.float64] = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    return doubled
