"""MARCUS' head fit: one look of a regressor at the aligned portrait (method 1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from backend.artifacts import F32, F64, HeadFit, Observation, Run
from backend.errors import BadWeights
from backend.geometry.fit import iris_colour
from backend.head.base import ParametricHead
from backend.marcus.geometry import alignment as al
from backend.marcus.geometry.coefficients import split
from backend.marcus.geometry.face_model import rotations
from backend.marcus.geometry.light import light_of
from backend.marcus.geometry.mssf import load_mssf
from backend.marcus.geometry.resnet import ResNetConfig, load_resnet
from backend.marcus.release import Release
from backend.uvspace.normals import vertex_normals
from backend.uvspace.sampling import linear_light, sample_bilinear
from backend.weights.reading import read_pickled, read_safetensors

NAME = "head fit"
FACING = 0.4  # least n·v of a vertex whose colour speaks of the light


def load_regressor(release: Release, resnet: ResNetConfig | None = None) -> tuple[nn.Module, str]:
    """MSSF where its checkpoint was fetched, else the released ResNet; with the name for the records.

    Raises: Missing, BadWeights.
    """
    if release.mssf().is_file():
        state = _state(release.mssf())
        return load_mssf(_without_prefix(state), release.mssf(), release.dino), "MSSF encoder"
    path = release.resnet()
    return load_resnet(_state(path), path, resnet), "ResNet-50 regressor"


def fit_head(
    observation: Observation, head: ParametricHead, regressor: nn.Module, standard: F64, run: Run
) -> HeadFit:
    """HiFi3D++ on the photo: shape, pose and camera as the regressor gives them.

    ``standard`` ``(5, 3)`` are the release's alignment points. The camera is the release's, laid over the
    whole photo. Landmark errors are of the five points that the alignment knows. Raises: Cancelled.
    """
    photo = observation.photo
    five = al.five_of_face_mesh(observation.landmarks_px)
    frame = al.align(five, standard, photo.width, photo.height)
    portrait = torch.from_numpy(al.crop(photo.rgb_srgb, frame)).permute(2, 0, 1)[None]
    run.progress(NAME, 0.3)
    with torch.no_grad():
        found = split(regressor(portrait).double())
    identity, expression, texture = (
        part[0].numpy().astype(np.float32) for part in (found.identity, found.expression, found.texture)
    )
    camera = al.camera(frame, rotations(found.angles)[0].numpy(), found.translation[0].numpy())
    vertices, neutral = head.shape(identity, expression), head.shape(identity)
    run.progress(NAME, 0.8)

    px, _ = camera.project(vertices)
    normals = vertex_normals(vertices, head.triangles).astype(np.float64)
    to_camera = camera.centre_head - vertices
    to_camera /= np.linalg.norm(to_camera, axis=1, keepdims=True)
    skin = sample_bilinear(observation.skin_mask[..., None], px)[:, 0]
    inside = (px > 0).all(1) & (px < (photo.width, photo.height)).all(1)
    weight = skin * inside * (np.einsum("nc,nc->n", normals, to_camera) > FACING)
    lit = weight > 0.5
    light = light_of(
        sample_bilinear(linear_light(photo.rgb_srgb), px[lit]).astype(np.float64),
        normals[lit],
        head.albedo(texture)[lit].astype(np.float64),
        camera,
    )
    error = _five_error(head, vertices, camera.project(vertices)[0], five)
    return HeadFit(
        head=head,
        identity=identity,
        expression=expression,
        albedo_coefficients=texture,
        radiance_sh=light.radiance_sh,
        camera=camera,
        vertices_head=vertices,
        neutral_head=neutral,
        iris_srgb=iris_colour(observation, run),
        landmark_error_px=error,
        landmark_error_iod=error / max(float(np.linalg.norm(five[0] - five[1])), 1e-6),
        photometric_psnr_db=light.psnr_db,
        focal_source="estimated",
    )


def _five_error(head: ParametricHead, vertices: F32, px: F64, five: F64) -> float:
    """Mean distance of the head's own five points from the seen ones, pixels; NaN where it has none."""
    if head.ibug is None or (head.ibug.triangle < 0).any():
        return float("nan")
    corners = px[head.triangles[head.ibug.triangle]]
    points = np.einsum("nk,nkc->nc", head.ibug.barycentric.astype(np.float64), corners)
    return float(np.linalg.norm(al.five_of_ibug(points) - five, axis=1).mean())


def _state(path: Path) -> Mapping[str, Any]:
    """The network's tensors in a published checkpoint, which may hold an optimiser's beside them."""
    content: Any = read_safetensors(path) if path.suffix == ".safetensors" else read_pickled(path)
    for key in ("net_recon", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise BadWeights(f"'{path}' holds no regressor's weights; fetch it again")
    return content


def _without_prefix(state: Mapping[str, Any]) -> Mapping[str, Any]:
    for prefix in ("module.", "backbone."):
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state
