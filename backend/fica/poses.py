"""Pose and expression of a portrait, for refinement and driving: from the project's own fit, or in FLAME's
form as EMOCA and SMIRK write it.

FLAME's expression basis is not ours to ship and its modes are not ARKit's: a linear map from its coefficients
to ARKit weights is handed in by whoever has one; jaw and lids are carried over without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.artifacts import F32, Camera, HeadFit
from backend.errors import BadInput
from backend.fica.atlas import Atlas
from backend.fica.maps import channels_first
from backend.fica.unwrap import DenseMaps
from backend.head.base import ParametricHead
from backend.head.gaze import gaze_degrees
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import cropped_camera, rasterise_camera

JAW_OPEN_RAD = 0.35  # FLAME's jaw angle at which the mouth is as open as ARKit's jawOpen at 1, about
LEAST_FACING = 0.3  # cosine from which a fitted surface is believed
_MARGIN = 1.15  # of the head's extent in a portrait
_DISTANCE_M = 4.0  # of the pinhole that stands for a weak perspective


@dataclass(frozen=True)
class PosedPortrait:
    """A square portrait with what poses a mesh onto it."""

    picture: Tensor  # (1, 3, P, P) display sRGB
    camera: Camera  # of the picture
    motion: Tensor  # (1, 3, S, S) metres by which the expression moves the neutral surface
    drive: Tensor  # (1, 56) ARKit weights, then both eyes' gaze in radians
    fitted: DenseMaps  # (1, ·, P, P) what the fit says of every pixel


def posed_portrait(photo_srgb: F32, fit: HeadFit, atlas: Atlas, pixels: int) -> PosedPortrait:
    """The head of a photograph ``(H, W, 3)`` in [0, 1] as the project's own fit sees it.

    Raises: BadInput where the fit is of another head than the atlas.
    """
    if fit.head.name != atlas.head.name or len(fit.vertices_head) != len(atlas.head.mean_vertices):
        raise BadInput(f"the fit is of the head '{fit.head.name}', FiCA's maps are of '{atlas.head.name}'")
    camera = _window(fit, pixels)
    return PosedPortrait(
        picture=channels_first(_cut(photo_srgb, fit.camera, camera))[None],
        camera=camera,
        motion=channels_first(atlas.on_texels(fit.vertices_head - fit.neutral_head))[None],
        drive=drive_of(fit.head, fit.expression, fit.neutral_head, fit.vertices_head)[None],
        fitted=facing(dense_maps(atlas, fit.vertices_head, camera), camera),
    )


def dense_maps(atlas: Atlas, vertices: F32, camera: Camera) -> DenseMaps:
    """What ``camera`` sees of posed ``vertices`` ``(V, 3)``, one row; 0 off the atlas."""
    head = atlas.head
    drawn = rasterise_camera(vertices, head.opaque_triangles, camera)
    uv = atlas.in_picture(drawn)
    known = (uv[..., :1] >= 0).astype(np.float32)
    normals = drawn.interpolate(vertex_normals(vertices, head.triangles), head.triangles)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    shown = (uv, drawn.interpolate(vertices, head.triangles), normals)
    uv_map, vertex, normal = (channels_first(image * known)[None] for image in shown)
    return DenseMaps(uv_map, vertex, normal, channels_first(known)[None])


def drive_of(head: ParametricHead, expression: F32, neutral_head: F32, posed_head: F32) -> Tensor:
    """Weights ``(K_exp,)`` in the head's order, then gaze in radians: ``(K_exp + 4,)``."""
    gaze = np.radians(np.array(gaze_degrees(head, neutral_head, posed_head)).reshape(-1))
    return torch.from_numpy(np.concatenate([expression, gaze]).astype(np.float32))


def facing(dense: DenseMaps, camera: Camera) -> DenseMaps:
    """``dense`` known only where the surface faces ``camera``: a fit is not exact enough for outlines."""
    centre = torch.as_tensor(camera.centre_head, dtype=torch.float32)[:, None, None]
    towards = torch.nn.functional.normalize(centre - dense.vertex, dim=1)
    faces = (towards * dense.normal).sum(1, keepdim=True) > LEAST_FACING
    return replace(dense, known=dense.known * faces)


@dataclass(frozen=True)
class FlameCodes:
    """What EMOCA and SMIRK say of one picture."""

    rotation: F32  # (3,) axis times angle, radians, of the head
    jaw: F32  # (3,) axis times angle, radians
    camera: F32  # (3,) scale, x, y of a weak perspective; the picture spans −1 to 1
    expression: F32  # (≤ 100,) FLAME's expression coefficients
    eyelids: F32 | None  # (2,) left, right in [0, 1]; EMOCA has none


def smirk_codes(output: Mapping[str, Any]) -> FlameCodes:
    """Of SMIRK's dictionary: pose_params, cam, expression_params, eyelid_params, jaw_params.

    Raises: BadInput when one is missing or of another length.
    """
    return FlameCodes(
        rotation=_numbers(output, "pose_params", 3),
        jaw=_numbers(output, "jaw_params", 3),
        camera=_numbers(output, "cam", 3),
        expression=_numbers(output, "expression_params"),
        eyelids=_numbers(output, "eyelid_params", 2),
    )


def emoca_codes(output: Mapping[str, Any]) -> FlameCodes:
    """Of EMOCA's dictionary: posecode (head, then jaw), cam, expcode. Raises: BadInput."""
    pose = _numbers(output, "posecode", 6)
    return FlameCodes(pose[:3], pose[3:], _numbers(output, "cam", 3), _numbers(output, "expcode"), None)


def flame_drive(codes: FlameCodes, head: ParametricHead, to_arkit: F32 | None = None) -> Tensor:
    """``(K_exp + 4,)`` weights and gaze: jaw, lids, and what ``to_arkit`` ``(K_exp, E)`` makes of the rest.

    FLAME's codes say nothing of gaze, so the eyes look ahead. Raises: BadInput for a map of another shape.
    """
    weights = np.zeros(len(head.expression_names), np.float32)
    if to_arkit is not None:
        if to_arkit.shape != (len(weights), len(codes.expression)):
            raise BadInput(
                f"the map from FLAME to ARKit is {to_arkit.shape}, "
                f"wanted is {(len(weights), len(codes.expression))}"
            )
        weights += to_arkit @ codes.expression
    said = {"jawOpen": float(codes.jaw[0]) / JAW_OPEN_RAD}
    if codes.eyelids is not None:
        said |= {"eyeBlinkLeft": float(codes.eyelids[0]), "eyeBlinkRight": float(codes.eyelids[1])}
    for name, value in said.items():
        if name in head.expression_names:
            weights[head.expression_names.index(name)] = value
    return torch.from_numpy(np.concatenate([weights.clip(0, 1), np.zeros(4, np.float32)]))


def flame_camera(codes: FlameCodes, pixels: int, origin_m: tuple[float, float, float] = (0, 0, 0)) -> Camera:
    """A distant pinhole that sees as the weak perspective does, for a picture of ``pixels`` a side.

    ``origin_m`` is FLAME's origin in this project's head space.
    """
    from scipy.spatial.transform import Rotation

    scale, x, y = (float(c) for c in codes.camera)
    if scale <= 0:
        raise BadInput(f"a weak perspective has a scale above zero, not {scale:g}")
    flip = np.diag([1.0, -1.0, -1.0])  # FLAME's axes are y up and z towards the camera
    turn = flip @ Rotation.from_rotvec(codes.rotation).as_matrix()
    shift = np.array([x, -y, _DISTANCE_M]) - turn @ np.asarray(origin_m, np.float64)
    focal = scale * pixels / 2 * _DISTANCE_M
    return Camera(focal, (pixels / 2, pixels / 2), pixels, pixels, np.column_stack([turn, shift]))


def _window(fit: HeadFit, pixels: int) -> Camera:
    px, _ = fit.camera.project(fit.vertices_head)
    low, high = px.min(0), px.max(0)
    side = float((high - low).max()) * _MARGIN
    x0, y0 = (low + high) / 2 - side / 2
    return cropped_camera(fit.camera, float(x0), float(y0), pixels, pixels, pixels / side)


def _cut(photo: F32, whole: Camera, part: Camera) -> F32:
    """The picture that ``part`` sees, beyond the photograph its edge drawn on."""
    import cv2

    scale = part.focal_px / whole.focal_px
    x0, y0 = (whole.principal_px[k] - part.principal_px[k] / scale for k in (0, 1))
    # Pixel centres lie at .5 on our side and at 0 on OpenCV's.
    shift = 0.5 * scale - 0.5
    matrix = np.array([[scale, 0, -x0 * scale + shift], [0, scale, -y0 * scale + shift]])
    size = (part.width_px, part.height_px)
    sigma = max(0.0, 0.5 / scale - 0.5)
    soft = cv2.GaussianBlur(photo, (0, 0), sigma) if sigma > 0.1 else photo
    cut = cv2.warpAffine(soft, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.float32)


def _numbers(output: Mapping[str, Any], name: str, count: int | None = None) -> F32:
    try:
        found: NDArray[np.float32] = np.asarray(output[name], np.float32).reshape(-1)
    except KeyError as error:
        raise BadInput(f"the regressor's output has no {name}") from error
    if count is not None and len(found) != count:
        raise BadInput(f"{name} has {len(found)} numbers, wanted are {count}")
    return found
