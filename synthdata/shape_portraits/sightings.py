"""One example: a picture, what Face Mesh sees on it, and the face's true neutral shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.geometry.face_patch import (
    PatchLayout,
    flat_places,
    flatten,
    level_frame,
    level_points,
    patch_layout,
)
from backend.head.base import ParametricHead
from backend.photo.crops import square_crop
from backend.photo.landmarks import CROP_MARGIN
from backend.photo.mediapipe_graphs import MESH_SIDE, FaceNetworks
from synthdata.shape_portraits.crops import LevelCrop, level_crop
from synthdata.shape_portraits.drawing import DRAWN_PX, Artist, spoiled
from synthdata.shape_portraits.people import Crowd

SEED = 5531
PASSES = 2  # whose mean stands for the five of ``backend.photo.landmarks``
MOST_ERROR = 0.12  # mean error over the face's size above which the network saw another face
FACE_ROWS = 1500  # about so many vertices tell a face's shape


@dataclass(frozen=True)
class Sighting:
    """What is learned from."""

    patch: NDArray[np.uint8]  # (PATCH_PX, PATCH_PX) ``face_patch.flatten``
    crop: LevelCrop
    points: F32  # (478, 3) ``face_patch.level_points``
    true: F32  # (478, 2) where the points are, in the frame of ``points``
    offset_m: F32  # (F, 3) the neutral face less the mean head's, at ``face_rows``
    yaw: float  # of the camera, radians


def face_rows(head: ParametricHead) -> NDArray[np.int32]:
    """Vertices ``(F,)`` spread over the face, each with its mirror image."""
    half = np.flatnonzero((head.regions["face"] > 0.5) & (head.mean_vertices[:, 0] >= 0))
    on_skin = np.zeros(len(head.mean_vertices), bool)
    on_skin[np.unique(head.triangles[head.triangle_part == 0])] = True
    half = half[on_skin[half]]
    half = half[:: max(1, 2 * len(half) // FACE_ROWS)]
    return np.asarray(np.unique(np.concatenate([half, head.mirror_vertex[half]])), np.int32)


def layout_of(head: ParametricHead) -> PatchLayout:
    """The flat picture's layout: the mean head's points unrolled, alike on both sides."""
    points = head.mediapipe.positions(head.mean_vertices, head.triangles).astype(np.float64)
    return patch_layout(flat_places(points))


def sightings(
    head: ParametricHead, data: Path, material: Path, firsts: Sequence[int], count: int
) -> Iterator[list[Sighting]]:
    """For each of ``firsts`` the next ``count`` examples; faces that are not seen are left out."""
    crowd, artist = Crowd(head, data, material), Artist(head, data)
    layout, rows = layout_of(head), face_rows(head)
    with FaceNetworks() as networks:
        for first in firsts:
            found = [
                _look(head, crowd, artist, layout, rows, networks, np.random.default_rng([SEED, index]))
                for index in range(first, first + count)
            ]
            yield [one for one in found if one is not None]


def _look(
    head: ParametricHead,
    crowd: Crowd,
    artist: Artist,
    layout: PatchLayout,
    rows: NDArray[np.int32],
    networks: FaceNetworks,
    rng: np.random.Generator,
) -> Sighting | None:
    person, camera = crowd.draw(rng), artist.camera(rng)
    picture = spoiled(artist.draw(person, camera, rng), rng)
    true = camera.project(head.mediapipe.positions(person.vertices, head.triangles))[0]
    true *= len(picture) / DRAWN_PX
    seen = face_mesh_points(picture, true, networks, rng)
    if seen is None or float(np.linalg.norm(seen[:, :2] - true, axis=1).mean()) > MOST_ERROR * np.ptp(true):
        return None
    forward, frame = camera.world_to_camera[:, 2], level_frame(seen[:, :2])
    level = frame.level(true)
    return Sighting(
        patch=flatten(picture, seen[:, :2].astype(np.float32), layout),
        crop=level_crop(picture, frame, (frame.level(seen[:, :2]), level)),
        points=level_points(seen[:, :2], seen[:, 2]),
        true=level.astype(np.float32),
        offset_m=(person.neutral - head.mean_vertices)[rows],
        yaw=float(np.arctan2(forward[0], -forward[2])),
    )


def face_mesh_points(
    picture: F32, around: NDArray[np.floating[Any]], networks: FaceNetworks, rng: np.random.Generator
) -> NDArray[np.float64] | None:
    """Face Mesh's ``(478, 3)`` pixels on level crops near ``around``; None where it sees no face."""
    found = []
    for number in range(PASSES + 1):
        right, left = around[[33, 133], :2].mean(0), around[[263, 362], :2].mean(0)
        roll = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
        axes = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        level = around[:468, :2] @ axes
        low, high = level.min(0), level.max(0)
        side = CROP_MARGIN * float((high - low).max()) * float(rng.uniform(0.96, 1.05))
        middle = axes @ ((low + high) / 2 + side * rng.normal(0, 0.013, 2))
        centre = (float(middle[0]), float(middle[1]))
        crop = square_crop(picture, centre, side, roll + float(rng.normal(0, 0.05)), MESH_SIDE)
        points, score = networks.mesh(crop.rgb)
        around = crop.points_to_photo(points)
        if score < 0.5:
            return None
        if number:
            found.append(around)
    return np.asarray(np.mean(found, 0))
