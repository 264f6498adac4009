"""What the photo shows of the fitted head's skin: one sample per pixel of a small picture of the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Camera, Observation
from backend.colour import srgb_to_linear
from backend.geometry.normals import vertex_normals
from backend.geometry.state import FitState
from backend.geometry.surface import LinearPoints, gather
from backend.head.base import ParametricHead
from backend.uvspace.rasterise import cropped_camera, rasterise_camera

FACE_PX = 88  # side of the small picture: skin shading is smooth, and 5 mm per pixel shows it all
FACING = 0.25  # least cosine between normal and view of a sample


@dataclass(frozen=True)
class FaceCrop:
    """The face's part of the photo, reduced by area averaging."""

    rgb_linear: F32  # (FACE_PX, FACE_PX, 3)
    skin: F32  # (FACE_PX, FACE_PX) in [0, 1]
    x0: float  # photo pixels of the crop's corner
    y0: float
    scale: float  # crop pixels per photo pixel

    def to_crop(self, pixels: F64) -> F64:
        """Photo pixels ``(..., 2)`` in the crop's pixels."""
        return np.asarray((pixels - np.array([self.x0, self.y0])) * self.scale)


@dataclass(frozen=True)
class SkinSamples:
    """N visible skin points, with the geometry that moves them."""

    crop: FaceCrop
    triangle: NDArray[np.int32]  # (N,)
    barycentric: F64  # (N, 3)
    cell: NDArray[np.intp]  # (N, 2) row and column in the crop
    normals: F64  # (N, 3) smooth unit normals, head space
    colour: F64  # (N, 3) linear, of the photo
    weight: F64  # (N,) skin confidence × grazing falloff, in [0, 1]
    albedo_mean: F64  # (N, 3)
    albedo_basis: F64  # (K_tex, N, 3)


def crop_face(observation: Observation) -> FaceCrop:
    """The square around the landmarks, 1.1 times their extent; outside the photo skin is 0."""
    import cv2

    p = np.asarray(observation.landmarks_px, np.float64)
    low, high = p.min(0), p.max(0)
    side = 1.1 * float((high - low).max())
    x0, y0 = (low + high) / 2 - side / 2
    scale = FACE_PX / side
    # The whole crop is resampled on an integer multiple of its grid, then box-averaged to it.
    factor = max(1, int(np.ceil(1 / scale)))
    fine = FACE_PX * factor
    step = side / fine
    matrix = np.array([[step, 0, x0 + step / 2 - 0.5], [0, step, y0 + step / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    planes = []
    for source in (observation.photo.rgb_srgb, observation.skin_mask):
        fine_picture = cv2.warpAffine(
            np.ascontiguousarray(source, np.float32), matrix, (fine, fine), flags=flags, borderValue=0
        )
        if fine_picture.ndim == 3:
            fine_picture = srgb_to_linear(fine_picture)
        shape = (FACE_PX, factor, FACE_PX, factor, *fine_picture.shape[2:])
        planes.append(fine_picture.reshape(shape).mean((1, 3)).astype(np.float32))
    return FaceCrop(planes[0], planes[1], float(x0), float(y0), scale)


def sample_skin(
    observation: Observation, head: ParametricHead, state: FitState, crop: FaceCrop
) -> SkinSamples:
    """Visible skin of the fitted head at every crop pixel: z-buffered, turned to the camera, masked."""
    photo = observation.photo
    camera = state.camera(photo.width, photo.height)
    vertices = head.shape(state.identity, state.expression)
    small = cropped_camera(camera, crop.x0, crop.y0, FACE_PX, FACE_PX, crop.scale)
    seen = rasterise_camera(vertices, head.opaque_triangles, small)
    is_skin = head.triangle_part == 0
    drawn = (seen.triangle >= 0) & is_skin[np.maximum(seen.triangle, 0)] & (crop.skin > 0.5)
    row, column = np.nonzero(drawn)
    triangle = seen.triangle[row, column]
    barycentric = seen.barycentric[row, column].astype(np.float64)
    corners = head.triangles[triangle]
    smooth = vertex_normals(vertices, head.triangles)
    normals = np.einsum("nk,nkc->nc", barycentric, smooth[corners])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    position = np.einsum("nk,nkc->nc", barycentric, vertices[corners].astype(np.float64))
    cosine = facing_cosine(camera, position, normals)
    keep = cosine > FACING
    row, column, triangle, barycentric = row[keep], column[keep], triangle[keep], barycentric[keep]
    corners, normals, cosine = corners[keep], normals[keep], cosine[keep]
    return SkinSamples(
        crop=crop,
        triangle=triangle,
        barycentric=barycentric,
        cell=np.stack([row, column], axis=1),
        normals=normals,
        colour=crop.rgb_linear[row, column].astype(np.float64),
        weight=crop.skin[row, column] * np.clip((cosine - FACING) / 0.3, 0.0, 1.0),
        albedo_mean=np.einsum("nk,nkc->nc", barycentric, head.albedo_mean[corners].astype(np.float64)),
        albedo_basis=np.einsum("nk,bnkc->bnc", barycentric, head.albedo_basis[:, corners].astype(np.float64)),
    )


def facing_cosine(camera: Camera, position: F64, normals: F64) -> F64:
    """Cosine ``(N,)`` between normals and the direction to the camera."""
    view = camera.centre_head - position
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    return np.asarray((view * normals).sum(1))


def corner_points(head: ParametricHead, triangle: NDArray[np.int32]) -> tuple[LinearPoints, ...]:
    """The three corners of each sample's triangle as linear functions of the shape coefficients."""
    return tuple(gather(head, triangle, np.tile(np.eye(3)[k], (len(triangle), 1))) for k in range(3))
