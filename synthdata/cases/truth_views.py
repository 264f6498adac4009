"""The truth's buffers of one view, drawn by the pipeline's rasteriser; no Blender."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import Camera
from backend.uvspace.chart import unit_or_zero
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera
from backend.uvspace.sampling import sample_chart
from synthdata.cases.subject import F32, Subject


def view_buffers(subject: Subject, camera: Camera, occluded: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """The arrays of ``buffers.npz`` (docs/case-format.md); ``occluded`` ``(H, W)`` is the occluder mask.

    Maps are those of the surface even where something hides it, 0 beside the skin; positions are NaN
    where there is no surface.
    """
    seen = rasterise_camera(subject.vertices_head, subject.triangles, camera)
    row = np.maximum(seen.triangle, 0)
    skin = seen.covered & subject.is_skin[row]
    uv = seen.interpolate(subject.uvs, subject.triangle_uvs)[skin]

    def on_skin(image: F32) -> F32:
        stacked = image[..., None] if image.ndim == 2 else image
        out = np.zeros((*skin.shape, stacked.shape[-1]), np.float32)
        out[skin] = sample_chart(stacked, uv)
        return out[..., 0] if image.ndim == 2 else out

    normals = vertex_normals(subject.vertices_head, subject.triangles)
    normal = unit_or_zero(seen.interpolate(normals, subject.triangles))
    if subject.normal_map_head is not None:
        normal[skin] = unit_or_zero(on_skin(subject.normal_map_head)[skin])
    face = seen.interpolate(subject.face[:, None], subject.triangles)[..., 0] > 0.5
    bare = skin if subject.bare is None else skin & (on_skin(subject.bare) > 0.5)
    buffers: dict[str, NDArray[Any]] = {
        "position_head": np.where(
            seen.covered[..., None], seen.interpolate(subject.vertices_head, subject.triangles), np.nan
        ).astype(np.float32),
        "normal_head": normal,
        "albedo_linear": on_skin(subject.albedo_linear).astype(np.float16),
        "skin_mask": (bare & (occluded == 0)).astype(np.uint8),
        "face_mask": face.astype(np.uint8),
        "occluder_mask": occluded.astype(np.uint8),
    }
    if subject.displacement_m is not None:
        buffers["displacement_m"] = on_skin(subject.displacement_m).astype(np.float16)
    for name, image in (("roughness", subject.roughness), ("specular", subject.specular)):
        if name in subject.maps:  # else it is assumed, and no truth
            buffers[name] = on_skin(image).astype(np.float16)
    return buffers
