"""A reconstruction's maps as one of the truth's cameras sees them, pixel by pixel beside the truth's.

Charts differ between heads, so maps are compared in pictures. Drawn by ``backend.uvspace.render``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera
from backend.colour import srgb_to_linear
from backend.errors import BadInput
from backend.evaluation.prediction import Prediction
from backend.head.base import ParametricHead
from backend.texture.grid import fill_unknown
from backend.texture.reflectance import regional
from backend.texture.regions import to_chart
from backend.uvspace.chart import chart_raster
from backend.uvspace.render import GBuffer, TexturedHead
from blender_addon.bundle import Avatar

_SKIN = 0
_SUPERSAMPLE = 2
_PRIOR_TEXELS = 256  # the priors are smooth


@dataclass(frozen=True)
class OwnView:
    """Means over each pixel's skin samples; 0 where ``covered`` is 0."""

    covered: F32  # (H, W) share of the pixel that shows the reconstruction's skin
    albedo_linear: F32  # (H, W, 3)
    normal_camera: F32  # (H, W, 3) unit, OpenCV camera space, with normal map and displacement
    smooth_normal_camera: F32  # (H, W, 3) the mesh's alone: what there is without maps
    roughness: F32  # (H, W)
    specular: F32  # (H, W)
    displacement_m: F32  # (H, W)
    believed: F32  # (H, W) the unwrap's confidence in [0, 1]
    roughness_prior: F32  # (H, W) of the region, as in every face
    specular_prior: F32  # (H, W)


def read_map(avatar: Avatar, name: str) -> F32:
    """The avatar's map ``name`` in its own units, ``(S, S[, 3])``: albedo linear, normals unit,
    displacement in metres, others in [0, 1]. Raises: BadInput when it cannot be decoded.
    """
    values = _decoded(avatar.map_path(name), f"'{avatar.directory}'")
    if name == "albedo":
        return srgb_to_linear(values)
    if name == "normal":
        vectors = values * 2 - 1
        unit: F32 = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
        return unit
    if name == "displacement":
        manifest = avatar.manifest
        metres: F32 = (values - np.float32(manifest.displacement_midlevel)) * np.float32(
            manifest.displacement_scale_m
        )
        return metres
    return values


def draw(prediction: Prediction, camera: Camera) -> OwnView:
    """The reconstruction's photographed face as ``camera`` (of its own head space) sees it."""
    head, avatar = prediction.head, prediction.avatar
    vertices = avatar.mesh.expressed()
    displacement = read_map(avatar, "displacement")
    looked = TexturedHead(
        head,
        vertices,
        {
            "albedo_linear": read_map(avatar, "albedo"),
            "normal_tangent": read_map(avatar, "normal"),
            "roughness": read_map(avatar, "roughness"),
            "specular": read_map(avatar, "specular"),
            "displacement_m": displacement,
        },
    ).view(camera, _SUPERSAMPLE)
    believed = read_map(avatar, "visibility")
    priors = _priors(head)
    # The renderer's three colour channels carry what it has no channels for.
    plain = {"albedo_linear": _stacked(displacement, believed), "roughness": priors[0], "specular": priors[1]}
    extra = TexturedHead(head, vertices, plain).view(camera, _SUPERSAMPLE)

    skin = (looked.part == _SKIN).astype(np.float32)
    turn = camera.world_to_camera[:, :3].astype(np.float32)
    other = _mean(extra, extra.albedo_linear, skin)
    return OwnView(
        covered=_mean(looked, np.ones_like(skin), np.ones_like(skin), skin),
        albedo_linear=_mean(looked, looked.albedo_linear, skin),
        normal_camera=_unit(_mean(looked, looked.normal_head, skin) @ turn.T),
        smooth_normal_camera=_unit(_mean(looked, looked.smooth_normal_head, skin) @ turn.T),
        roughness=_mean(looked, looked.roughness, skin),
        specular=_mean(looked, looked.specular, skin),
        displacement_m=other[..., 0],
        believed=other[..., 1],
        roughness_prior=_mean(extra, extra.roughness, skin),
        specular_prior=_mean(extra, extra.specular, skin),
    )


def _mean(buffer: GBuffer, values: F32, weight: F32, times: F32 | None = None) -> F32:
    """``values · times`` averaged over each pixel's samples by ``weight``."""
    s = buffer.supersample
    flat = values[..., None] if values.ndim == 2 else values
    scaled = flat if times is None else flat * times[..., None]
    height, width, channels = flat.shape

    def summed(samples: F32, count: int) -> NDArray[Any]:
        return np.asarray(samples.reshape(height // s, s, width // s, s, count).sum((1, 3)))

    total = summed(scaled * weight[..., None], channels)
    mean: F32 = (total / np.maximum(summed(weight[..., None], 1), 1e-6)).astype(np.float32)
    return mean[..., 0] if values.ndim == 2 else mean


def _unit(vectors: NDArray[Any]) -> F32:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: F32 = (vectors / np.maximum(length, 1e-6)).astype(np.float32)
    return unit


def _stacked(displacement_m: F32, believed: F32) -> F32:
    import cv2

    side = len(displacement_m)
    if len(believed) != side:
        believed = np.asarray(cv2.resize(believed, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.stack([displacement_m, believed, np.zeros_like(believed)], -1)


def _priors(head: ParametricHead) -> tuple[F32, F32]:
    """Roughness and specular of the regions as charts ``(S, S)``."""
    raster = chart_raster(head, _PRIOR_TEXELS)
    laid = to_chart(regional(head)[:, :2], head.triangles, raster.triangle, raster.barycentric)
    fill_unknown(laid, raster.covered)
    return np.ascontiguousarray(laid[..., 0]), np.ascontiguousarray(laid[..., 1])


def _decoded(path: Path, whose: str) -> F32:
    return _decode_file(path, path.stat().st_mtime_ns, whose)


@lru_cache(maxsize=8)  # the metrics of one avatar read its maps several times
def _decode_file(path: Path, changed_ns: int, whose: str) -> F32:
    import cv2

    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise BadInput(f"{whose}: {path.name} cannot be decoded; reconstruct the avatar again")
    if image.ndim == 3:
        image = image[..., 2::-1]
    values: F32 = image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    values.setflags(write=False)
    return values
