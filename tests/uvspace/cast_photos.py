"""Photographs of test heads made by ray casting: a renderer that shares no code with the rasteriser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import Camera, FaceBox, HeadFit, Observation, Photo
from backend.colour import linear_to_srgb
from backend.head.base import ParametricHead


def cast(
    vertices: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    camera: Camera,
    offset: tuple[float, float] = (0.5, 0.5),
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Embree's first hit through every pixel: triangle ``(H, W)`` or −1, weights ``(H, W, 3)``.

    ``offset`` is the sample position inside the pixel, (0.5, 0.5) its centre.
    """
    import trimesh

    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    x, y = np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px))
    direction = (
        np.stack(
            [
                (x + offset[0] - camera.principal_px[0]) / camera.focal_px,
                (y + offset[1] - camera.principal_px[1]) / camera.focal_px,
                np.ones(x.shape),
            ],
            -1,
        ).reshape(-1, 3)
        @ camera.world_to_camera[:, :3]
    )
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    origin = np.broadcast_to(camera.centre_head, direction.shape)
    hit = RayMeshIntersector(mesh, scale_to_box=True).intersects_first(origin, direction)
    # Weights from the ray and the triangle's plane in doubles; embree's own are single precision.
    p = np.asarray(vertices, np.float64)[triangles[np.maximum(hit, 0)]]
    e1, e2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    normal = np.cross(e1, e2)
    along = np.einsum("nc,nc->n", normal, p[:, 0] - origin) / np.einsum("nc,nc->n", normal, direction)
    q = origin + along[:, None] * direction - p[:, 0]
    area = np.einsum("nc,nc->n", normal, normal)
    b1 = np.einsum("nc,nc->n", np.cross(q, e2), normal) / area
    b2 = np.einsum("nc,nc->n", np.cross(e1, q), normal) / area
    weights = np.stack([1 - b1 - b2, b1, b2], -1)
    shape = (camera.height_px, camera.width_px)
    return np.asarray(hit, np.int64).reshape(shape), weights.reshape(*shape, 3)


def photograph(
    head: ParametricHead,
    camera: Camera,
    texture: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    background: float = 0.0,
) -> tuple[Observation, HeadFit, NDArray[np.int64]]:
    """A picture whose colour is ``texture(uv)`` in linear light, the fit that made it, triangle ids seen.

    The skin mask is where skin was hit.
    """
    ids, weights = cast(head.mean_vertices, head.opaque_triangles, camera)
    uv = np.einsum(
        "hwk,hwkc->hwc", weights, head.uvs[head.triangle_uvs[np.maximum(ids, 0)]].astype(np.float64)
    )
    hit = ids >= 0
    linear = np.where(hit[..., None], texture(uv), background)
    skin = (hit & (head.triangle_part[np.maximum(ids, 0)] == 0)).astype(np.float32)
    photo = Photo("cast", "0" * 64, linear_to_srgb(linear), None, (camera.width_px, camera.height_px))
    observation = Observation(
        photo=photo,
        faces=(FaceBox(0, 0, camera.width_px, camera.height_px, 1.0),),
        face_index=0,
        landmarks_px=np.zeros((478, 2), np.float32),
        landmarks_depth=np.zeros(478, np.float32),
        landmarks_visible=np.zeros(478, np.float32),
        skin_mask=skin,
        person_mask=hit.astype(np.float32),
        focal_px=camera.focal_px,
        focal_source="exif",
    )
    return observation, fit_of(head, camera), ids


def fit_of(head: ParametricHead, camera: Camera) -> HeadFit:
    """The exact fit of ``head`` as it is."""
    nothing = np.zeros(0, np.float32)
    return HeadFit(
        head=head,
        identity=nothing,
        expression=nothing,
        albedo_coefficients=nothing,
        radiance_sh=np.zeros((9, 3), np.float32),
        camera=camera,
        vertices_head=head.mean_vertices,
        neutral_head=head.mean_vertices,
        iris_srgb=np.zeros(3, np.float32),
        landmark_error_px=0.0,
        landmark_error_iod=0.0,
        photometric_psnr_db=0.0,
        focal_source="exif",
    )
