"""What the trainers' samples share: portraits of a split, smooth errors, tensors of cameras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from backend.artifacts import F32, Camera
from backend.errors import BadInput
from backend.fica.maps import NORMAL, VERTEX, Frame
from backend.fica.recipes import Evidence
from backend.fica.training.people import People, Sight, has_moments, open_people
from backend.fica.unwrap import DenseMaps, unwrap
from backend.head.base import ParametricHead
from backend.training.task import Sample

_COARSE = 4  # cells a side of smooth errors


@dataclass(frozen=True)
class Split:
    """People to train with and, where the set has them, people held out."""

    train: People
    held_out: People | None

    def shown(self, count: int) -> list[tuple[People, int]]:
        """Persons' neutral rows for pictures: half of them held out, where there are."""
        pools = [p for p in (self.train, self.held_out) if p is not None]
        share = -(-count // len(pools))
        picked = [
            (people, rows[int(k)])
            for people in pools
            for rows in [people.persons()]
            for k in np.linspace(0, len(rows) - 1, min(share, len(rows)))
        ]
        return picked[:count]


def open_split(folder: Path, head: ParametricHead, texels: int, pixels: int) -> Split:
    """Raises: BadInput."""
    train = open_people(folder, "train", head, texels, pixels)
    held = open_people(folder, "val", head, texels, pixels) if has_moments(folder, "val") else None
    return Split(train, held)


def portraits(people: People, most_yaw_degrees: float) -> list[tuple[int, int]]:
    """(moment, view) of every view that is no profile. Raises: BadInput when there is none."""
    found = [
        (row, number)
        for row in range(len(people))
        for number, view in enumerate(people.meta(row).views)
        if abs(view.yaw_degrees) <= most_yaw_degrees
    ]
    if not found:
        raise BadInput(f"no view of the set lies within {most_yaw_degrees:g}° of the front")
    return found


def smooth_noise(generator: torch.Generator, channels: int, size: int) -> Tensor:
    """``(channels, size, size)`` of about unit deviation that varies over a quarter of the picture."""
    coarse = torch.randn(1, channels, _COARSE, _COARSE, generator=generator)
    wide = interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)[0]
    return wide / wide.std().clamp_min(1e-6)


def sight_sample(sight: Sight, evidence: Evidence, generator: torch.Generator) -> Sample:
    """Picture and dense truth; UV and vertices with smooth errors, as a predictor has them."""
    pixels = sight.picture.shape[-1]
    uv = sight.uv + evidence.uv_error * smooth_noise(generator, 2, pixels)
    vertex = sight.vertex + evidence.vertex_error_m * smooth_noise(generator, 3, pixels)
    return {
        "portrait": sight.picture,
        "uv": uv,
        "vertex": vertex,
        "normal": sight.normal,
        "known": sight.known,
    }


def dense_of(batch: Sample) -> DenseMaps:
    """The dense maps of a batch of ``sight_sample``."""
    return DenseMaps(batch["uv"], batch["vertex"], batch["normal"], batch["known"])


def partial_of(portrait: Tensor, dense: DenseMaps, frame: Frame, evidence: Evidence) -> Tensor:
    """UV_partial, without what the ablation leaves out."""
    partial = unwrap(portrait, dense, frame)
    if not evidence.normal_and_vertex:
        partial[:, NORMAL] = 0
        partial[:, VERTEX] = 0
    return partial


def camera_tensor(camera: Camera) -> Tensor:
    """Focal length, principal point and the 3×4 pose: ``(15,)`` float64."""
    numbers = [camera.focal_px, *camera.principal_px, *np.asarray(camera.world_to_camera).reshape(-1)]
    return torch.tensor(numbers, dtype=torch.float64)


def camera_of(numbers: Tensor, pixels: int) -> Camera:
    """The inverse for square pictures of ``pixels`` a side."""
    values = numbers.detach().cpu().double().numpy()
    return Camera(
        float(values[0]), (float(values[1]), float(values[2])), pixels, pixels, values[3:].reshape(3, 4)
    )


def view_direction(camera: Camera) -> Tensor:
    """Unit direction ``(3,)`` from the head's origin to the camera, head space."""
    centre = camera.centre_head
    return torch.from_numpy((centre / np.linalg.norm(centre)).astype(np.float32))


def hwc(picture: Tensor) -> F32:
    """``(3, H, W)`` as an image ``(H, W, 3)`` in [0, 1]."""
    image: F32 = picture.detach().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return image


def normals_shown(normals: Tensor) -> F32:
    """``(3, H, W)`` unit normals as colours."""
    return hwc(0.5 + 0.5 * normals)
