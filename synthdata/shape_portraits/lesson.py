"""What the network learns from: drawn portraits beside what regressions say that did not learn from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.geometry.face_patch import PATCH_PX
from backend.geometry.face_sight import FRONTAL_TO_TURNED
from backend.head.base import ParametricHead
from blender_addon.arrays import write_arrays
from synthdata.headmodel.landmarks import mirror_landmarks
from synthdata.shape_portraits.learn import (
    FRONTAL_YAW,
    MIRROR,
    OTHER_SHARE,
    TURNED_YAW,
    Learner,
    read_examples,
    read_patches,
)
from synthdata.shape_portraits.sightings import face_rows


@dataclass(frozen=True)
class Lesson:
    """N portraits of people who look ahead or to their left; the others were mirrored."""

    patch: NDArray[np.uint8]  # (N, PATCH_PX, PATCH_PX)
    points: F32  # (N, 478·3) level
    error: F32  # (N, 478·2) of the points, level
    told_error: F32  # (N, 478·2) by the regressions of other folds
    shape: F32  # (N, C) coefficients
    told_shape: F32  # (N, C)
    yaw: F32  # (N,) radians, by the points; ≥ 0
    fold: NDArray[np.int64]  # (N,)
    mirror: NDArray[np.int64]  # (478,) each point's mirror image
    shape_mirror: F32  # (C, C)
    strength_mm: F32  # (C,) root mean square over the face's vertices per unit

    def __len__(self) -> int:
        return len(self.yaw)

    def mirrored(self) -> Lesson:
        """The mirror images of all."""
        flip = np.array([-1, 1, 1], np.float32)

        def error(of: F32) -> F32:
            return (of.reshape(-1, 478, 2)[:, self.mirror] * MIRROR).reshape(len(self), -1)

        return Lesson(
            patch=self.patch[:, :, ::-1],
            points=(self.points.reshape(-1, 478, 3)[:, self.mirror] * flip).reshape(len(self), -1),
            error=error(self.error),
            told_error=error(self.told_error),
            shape=self.shape @ self.shape_mirror.T,
            told_shape=self.told_shape @ self.shape_mirror.T,
            yaw=-self.yaw,
            fold=self.fold,
            mirror=self.mirror,
            shape_mirror=self.shape_mirror,
            strength_mm=self.strength_mm,
        )


def prepare(head: ParametricHead, folder: Path) -> Lesson:
    """The portraits of ``folder``, drawn of ``head``. Raises: ValueError where there is none."""
    rows = face_rows(head)
    place = np.full(len(head.mean_vertices), -1)
    place[rows] = np.arange(len(rows))
    mirror_face = place[head.mirror_vertex[rows]]
    mirror = mirror_landmarks(head.mediapipe.positions(head.mean_vertices, head.triangles).astype(np.float64))
    examples = read_examples(folder, mirror, mirror_face)
    learner = Learner(head, examples, rows)
    linear = learner.yaw()
    seen_yaw = examples.points @ linear[:-1].astype(np.float32) + np.float32(linear[-1])
    error, shape = _told(learner, seen_yaw)
    count = len(examples) // 2
    turned_right = seen_yaw[:count] < 0
    chosen = np.arange(count) + count * turned_right
    patch = read_patches(folder)
    patch[turned_right] = patch[turned_right][:, :, ::-1]
    fields = learner.fields.fields_m
    flat = fields.reshape(len(fields), -1)
    seen_back = (fields[:, mirror_face] * [-1, 1, 1]).reshape(len(fields), -1)
    return Lesson(
        patch=patch,
        points=examples.points[chosen],
        error=examples.error[chosen],
        told_error=error[chosen],
        shape=learner.coefficients[chosen].astype(np.float32),
        told_shape=shape[chosen].astype(np.float32),
        yaw=np.abs(seen_yaw[:count]),
        fold=examples.fold[:count].astype(np.int64),
        mirror=mirror.astype(np.int64),
        shape_mirror=np.asarray((flat / (flat**2).sum(1, keepdims=True)) @ seen_back.T, np.float32),
        strength_mm=np.asarray(1e3 * np.sqrt((fields**2).sum((1, 2)) / fields.shape[1]), np.float32),
    )


def _told(learner: Learner, seen_yaw: F32) -> tuple[F32, F64]:
    """Errors and coefficients of all by the other folds' regressions, faded as ``FaceSight`` does."""
    yaw = learner.examples.yaw.astype(np.float64)
    low, high = FRONTAL_TO_TURNED
    turned = np.clip((np.abs(seen_yaw) - low) / (high - low), 0, 1)[:, None]
    error, shape = np.zeros_like(learner.examples.error), np.zeros_like(learner.coefficients)
    for share, own in ((1 - turned, np.abs(yaw) < FRONTAL_YAW), (turned, yaw > TURNED_YAW)):
        its_error, its_shape = learner.by_others(np.where(own, 1.0, OTHER_SHARE), own)
        error += share * its_error
        shape += share * its_shape
    return error, shape


def save(lesson: Lesson, file: Path) -> None:
    """Keep it, so that training that is stopped goes on at once."""
    fresh = file.with_suffix(".part")
    write_arrays(fresh, **vars(lesson))
    fresh.replace(file)


def load(file: Path) -> Lesson:
    """What ``save`` kept. Raises: ValueError where it is not that."""
    with np.load(file, allow_pickle=False) as stored:
        if stored["patch"].shape[1:] != (PATCH_PX, PATCH_PX):
            raise ValueError(f"'{file}' holds flat pictures of another size; delete it")
        return Lesson(**{name: stored[name] for name in stored.files})
