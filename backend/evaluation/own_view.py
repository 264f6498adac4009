"""A reconstruction's maps as one of the truth's cameras sees them, pixel by pixel beside the truth's.

Charts differ between heads, so maps are compared in pictures. Drawn by ``backend.uvspace.render``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

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
from backend.uvspace.rasterise import cropped_camera
from backend.uvspace.render import TexturedHead
from blender_addon.bundle import MANIFEST_NAME, Avatar

_SKIN = 0


@dataclass(frozen=True)
class OwnView:
    """Sampled at pixel centres, as truths are; 0 where ``covered`` is not. Read-only: views are shared."""

    covered: NDArray[np.bool_]  # (H, W) pixels that show the reconstruction's skin
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
    """The reconstruction's photographed face as ``camera`` (of its own head space) sees it.

    The last two views are kept, as several metrics look through the same camera.
    """
    lens = (camera.focal_px, *camera.principal_px, camera.width_px, camera.height_px)
    stamp = (prediction.directory / MANIFEST_NAME).stat().st_mtime_ns
    place = camera.world_to_camera.tobytes()
    return _drawn(_ViewKey(prediction.directory, stamp, lens, place, prediction, camera))


@dataclass(frozen=True)
class _ViewKey:
    """What a view depends on, carrying what draws it."""

    directory: Path
    changed_ns: int
    lens: tuple[float, ...]
    place: bytes
    prediction: Prediction = field(compare=False, repr=False)
    camera: Camera = field(compare=False, repr=False)


@lru_cache(maxsize=2)
def _drawn(key: _ViewKey) -> OwnView:
    prediction, camera = key.prediction, key.camera
    head, avatar = prediction.head, prediction.avatar
    vertices = avatar.mesh.expressed()
    displacement, believed = read_map(avatar, "displacement"), read_map(avatar, "visibility")
    window, x0, y0 = _window(camera, vertices)
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
    ).view(window, supersample=1)
    priors = _priors(head, len(displacement))
    # The renderer's three colour channels carry what it has no channels for.
    plain = {"albedo_linear": _stacked(displacement, believed), "roughness": priors[0], "specular": priors[1]}
    extra = TexturedHead(head, vertices, plain).view(window, supersample=1)
    skin = looked.part == _SKIN
    turn = camera.world_to_camera[:, :3].astype(np.float32)

    def placed(values: F32) -> F32:
        """The window's skin in the whole picture."""
        whole = np.zeros((camera.height_px, camera.width_px, *values.shape[2:]), np.float32)
        inner = whole[y0 : y0 + window.height_px, x0 : x0 + window.width_px]
        inner[skin] = values[skin]
        whole.setflags(write=False)
        return whole

    return OwnView(
        covered=placed(np.ones(skin.shape, np.float32)) > 0,
        albedo_linear=placed(looked.albedo_linear),
        normal_camera=placed(looked.normal_head @ turn.T),
        smooth_normal_camera=placed(looked.smooth_normal_head @ turn.T),
        roughness=placed(looked.roughness),
        specular=placed(looked.specular),
        displacement_m=placed(extra.albedo_linear[..., 0]),
        believed=placed(extra.albedo_linear[..., 1]),
        roughness_prior=placed(extra.roughness),
        specular_prior=placed(extra.specular),
    )


def _window(camera: Camera, vertices: F32) -> tuple[Camera, int, int]:
    """The part of the picture that can show the head, and its first column and row."""
    pixels, _ = camera.project(vertices)
    size = np.array([camera.width_px, camera.height_px])
    low = np.clip(np.floor(pixels.min(0)), 0, size - 1).astype(int)
    high = np.clip(np.ceil(pixels.max(0)), low + 1, size).astype(int)
    x0, y0, width, height = int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])
    return cropped_camera(camera, x0, y0, width, height), x0, y0


def _stacked(displacement_m: F32, believed: F32) -> F32:
    import cv2

    side = len(displacement_m)
    if len(believed) != side:
        believed = np.asarray(cv2.resize(believed, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.stack([displacement_m, believed, np.zeros_like(believed)], -1)


def _priors(head: ParametricHead, size: int) -> tuple[F32, F32]:
    """Roughness and specular of the regions as charts ``(size, size)``."""
    raster = chart_raster(head, size)
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
