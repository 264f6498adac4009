"""A posed head ready to be lit: its transfer, its chart and its pictures under any light. No Blender."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Camera
from backend.head.base import ParametricHead
from backend.shading import latlong, parts, transferred
from backend.shading.environment import Environment
from backend.shading.transfer import Transfer
from backend.uvspace.buffers import RasterBuffers
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera
from backend.uvspace.render import GBuffer, TexturedHead
from backend.uvspace.seams import dilate
from synthdata.run.people import Person

_IRIS_TEXELS = 128
_PAD_TEXELS = 8
_BACKDROP_LEVEL = 2  # of the prefiltered panorama: surroundings out of focus


class LitHead:
    """What all pictures of a posed person share.

    ``person`` has maps of the chart's size, ``shown`` the same maps as fine as pictures need them.
    """

    def __init__(self, head: ParametricHead, person: Person, transfer: Transfer, shown: Person) -> None:
        self.head, self.person = head, person
        skin = np.array(person.meta.mean_albedo_linear)
        normals = vertex_normals(person.vertices_head, head.triangles)
        self.degree = transfer.degree
        self._light = transferred.head_light(transfer, person.vertices_head, normals, skin)
        bent = replace(person.materials, normal_tangent=person.relief_tangent)
        self._texels = transferred.chart_surface(person.chart, head.triangles, bent)
        looks = parts.looks(head, np.array(person.iris_srgb), _IRIS_TEXELS)
        maps = {
            "albedo_linear": shown.materials.albedo_linear,
            "normal_tangent": shown.relief_tangent,
            "roughness": shown.materials.roughness,
            "specular": shown.materials.specular,
        }
        self._drawn = TexturedHead(head, person.vertices_head, maps, looks)
        self.centre = face_centre(head, person.vertices_head)

    def on_chart(self, light: transferred.SkyLight, eye: F64 | None, turn_degrees: float) -> F32:
        """Radiance of the chart ``(S, S, 3)`` towards ``eye`` ``(3,)``, or straight up from each texel.

        It goes on beyond the chart's border.
        """
        inside = self.person.chart.inside
        out = np.zeros((*inside.shape, 3), np.float32)
        place = None if eye is None else torch.as_tensor(eye, dtype=torch.float32)
        with torch.inference_mode():
            out[inside] = transferred.shade(self._texels, self._light, light, place, turn_degrees).numpy()
        return dilate(out, inside, _PAD_TEXELS)

    def even(self) -> F32:
        """Radiance of the chart ``(S, S, 3)`` in white light of radiance 1 from everywhere."""
        return self.on_chart(transferred.white_light(self.degree), None, 0.0)

    def seen_by(
        self, camera: Camera, light: transferred.SkyLight, turn_degrees: float
    ) -> tuple[GBuffer, F32]:
        """The view of ``camera`` and its samples' radiance ``(h, w, 3)``, 0 beside the head."""
        buffer = self._drawn.view(camera)
        raster = rasterise_camera(self.person.vertices_head, self.head.opaque_triangles, buffer.camera)
        surface, at = _pixels(buffer, raster, self.head.triangles)
        eye = torch.as_tensor(camera.centre_head, dtype=torch.float32)
        out = np.zeros((buffer.part.size, 3), np.float32)
        with torch.inference_mode():
            out[at] = transferred.shade(surface, self._light, light, eye, turn_degrees).numpy()
        return buffer, out.reshape(*buffer.part.shape, 3)


def face_centre(head: ParametricHead, vertices_head: F32) -> F64:
    """The point ``(3,)`` that cameras look at: a little below and behind the middle of the face."""
    face = (head.regions["face"] > 0.5) & (head.mean_vertices[:, 2] > 0)
    centre: F64 = vertices_head[face].astype(np.float64).mean(0) - (0, 0.01, 0.02)
    return centre


def backdrop(surroundings: Environment, camera: Camera, turn_degrees: float) -> F32:
    """What the camera sees around the head ``(H, W, 3)``, out of focus."""
    x, y = np.meshgrid(np.arange(camera.width_px) + 0.5, np.arange(camera.height_px) + 0.5)
    cx, cy = camera.principal_px
    rays = np.stack([(x - cx) / camera.focal_px, (y - cy) / camera.focal_px, np.ones_like(x)], -1)
    along = rays @ camera.world_to_camera[:, :3]
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    blurred = latlong.rotate(surroundings.prefiltered.specular[_BACKDROP_LEVEL], turn_degrees)
    return latlong.sample(blurred, along)


def _pixels(
    buffer: GBuffer, raster: RasterBuffers, triangles: NDArray[np.int32]
) -> tuple[transferred.Surface, NDArray[np.intp]]:
    at = np.flatnonzero(raster.covered.ravel())
    corners = triangles[raster.triangle.ravel()[at]].astype(np.int64)
    values = (
        raster.barycentric.reshape(-1, 3),
        buffer.position_head.reshape(-1, 3),
        buffer.normal_head.reshape(-1, 3),
        buffer.smooth_normal_head.reshape(-1, 3),
        buffer.albedo_linear.reshape(-1, 3),
        buffer.roughness.ravel(),
        buffer.specular.ravel(),
    )
    return transferred.Surface(torch.as_tensor(corners), *(torch.as_tensor(v[at]) for v in values)), at
