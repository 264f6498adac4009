"""What the network learns from: drawn portraits beside what the shipped regressions say of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.geometry.face_sight import FaceSight, view_shares
from backend.head.base import ParametricHead
from blender_addon.arrays import write_arrays
from synthdata.shape_portraits.across import across_mm2
from synthdata.shape_portraits.crops import CROP_PX
from synthdata.shape_portraits.learn import LOST, MIRROR


@dataclass(frozen=True)
class Lesson:
    """N portraits of people who look ahead or to their left; the others were mirrored."""

    crop: NDArray[np.uint8]  # (N, CROP_PX, CROP_PX)
    box: F32  # (N, 3) ``crops.LevelCrop``
    points: F32  # (N, 478·3) level
    error: F32  # (N, 478·2) of the points, level
    told_error: F32  # (N, 478·2) by the regressions
    shape: F32  # (N, C) coefficients
    told_shape: F32  # (N, C)
    yaw: F32  # (N,) radians, by the points; ≥ 0
    mirror: NDArray[np.int64]  # (478,) each point's mirror image
    shape_mirror: F32  # (C, C)
    strength_mm: F32  # (C,) root mean square over the face's vertices per unit
    across_mm2: F32  # (C, C) what of it shows, ``across.across_mm2``

    def __len__(self) -> int:
        return len(self.yaw)

    def mirrored(self) -> Lesson:
        """The mirror images of all."""
        flip = np.array([-1, 1, 1], np.float32)

        def error(of: F32) -> F32:
            return (of.reshape(-1, 478, 2)[:, self.mirror] * MIRROR).reshape(len(self), -1)

        return Lesson(
            crop=self.crop[:, :, ::-1],
            box=self.box * flip,
            points=(self.points.reshape(-1, 478, 3)[:, self.mirror] * flip).reshape(len(self), -1),
            error=error(self.error),
            told_error=error(self.told_error),
            shape=self.shape @ self.shape_mirror.T,
            told_shape=self.told_shape @ self.shape_mirror.T,
            yaw=-self.yaw,
            mirror=self.mirror,
            shape_mirror=self.shape_mirror,
            strength_mm=self.strength_mm,
            across_mm2=self.across_mm2,
        )


def prepare(head: ParametricHead, folder: Path, sight: FaceSight) -> Lesson:
    """The portraits of ``folder``, drawn of ``head``, from which ``sight`` has not learned.

    Raises: ValueError where there is none.
    """
    files = sorted(folder.glob("portraits_*.npz"))
    if not files:
        raise ValueError(f"'{folder}' holds no portraits; draw them with synthdata.shape_portraits.make")
    found: dict[str, list[NDArray[Any]]] = {}
    for file in files:
        with np.load(file, allow_pickle=False) as stored:
            for name, values in _shard(stored, head, sight).items():
                found.setdefault(name, []).append(values)
    fields = sight.fields.fields_m
    return Lesson(
        **{name: np.concatenate(parts) for name, parts in found.items()},
        mirror=sight.mirror.astype(np.int64),
        shape_mirror=sight.shape_mirror.astype(np.float32),
        strength_mm=np.asarray(1e3 * np.sqrt((fields**2).sum((1, 2)) / fields.shape[1]), np.float32),
        across_mm2=np.asarray(
            across_mm2(head.mean_vertices, head.triangles, sight.fields.rows, fields), np.float32
        ),
    )


def _shard(stored: np.lib.npyio.NpzFile, head: ParametricHead, sight: FaceSight) -> dict[str, NDArray[Any]]:
    """A shard's rows of the lesson, each face turned to its left."""
    points, true = (stored[name].astype(np.float32) for name in ("points", "true"))
    seen = np.flatnonzero(np.linalg.norm(points[:, :, :2] - true, axis=2).mean(1) < LOST)
    points, true, patch = points[seen], true[seen], stored["patch"][seen]
    crop, box = stored["crop"][seen], stored["box"][seen]
    mean = head.mean_vertices[sight.fields.rows].astype(np.float64)
    shape = sight.fields.of_faces(stored["offset_m"][seen].astype(np.float64) + mean)
    yaw = np.array([sight.seen_yaw(one) for one in points], np.float32)
    flip = yaw < 0
    points[flip] = points[flip][:, sight.mirror] * np.array([-1, 1, 1], np.float32)
    true[flip] = true[flip][:, sight.mirror] * MIRROR
    crop[flip] = crop[flip][:, :, ::-1]
    box[flip] *= np.array([-1, 1, 1], np.float32)
    shape[flip] = shape[flip] @ sight.shape_mirror.T
    told = [
        sight.regressed(one, its_points, view_shares(float(its_yaw)), bool(is_flipped))
        for one, its_points, its_yaw, is_flipped in zip(patch, points, yaw, flip, strict=True)
    ]
    count = len(seen)
    return {
        "crop": crop,
        "box": box,
        "points": points.reshape(count, -1),
        "error": (points[:, :, :2] - true).reshape(count, -1),
        "told_error": np.array([errors for errors, _ in told], np.float32),
        "shape": shape.astype(np.float32),
        "told_shape": np.array([its for _, its in told], np.float32),
        "yaw": np.abs(yaw),
    }


def save(lesson: Lesson, file: Path) -> None:
    """Keep it, so that training that is stopped goes on at once."""
    fresh = file.with_suffix(".part")
    write_arrays(fresh, **vars(lesson))
    fresh.replace(file)


def load(file: Path) -> Lesson:
    """What ``save`` kept. Raises: ValueError where it is not that."""
    with np.load(file, allow_pickle=False) as stored:
        if "crop" not in stored or stored["crop"].shape[1:] != (CROP_PX, CROP_PX):
            raise ValueError(f"'{file}' holds pictures of another size; delete it")
        if "across_mm2" not in stored:
            raise ValueError(f"'{file}' is of an earlier version; delete it")
        return Lesson(**{name: stored[name] for name in stored.files})
