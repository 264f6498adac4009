"""The head in the photo's own light from other sides, and with another expression: truth for what is shown
as captured (splats), hair and glasses included.

Added to a case that is whole; one that has them already is left alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.artifacts import Camera
from backend.evaluation.case_schema import CASE_NAME, CaseRecord, NovelPicture
from backend.evaluation.cases import read_case
from backend.export.bundle_writer import camera_record
from synthdata.cases.photograph import encoded
from synthdata.cases.scene import Light, Studio, light_up, occluder_mask, take_cut_out
from synthdata.cases.subject import Subject
from synthdata.cases.truth_views import view_buffers

NOVEL_NAME = "novel.json"
TURNS_DEGREES = (-45.0, -30.0, 30.0, 45.0)


@dataclass(frozen=True)
class Pose:
    """The subject in the studio, and the pictures wanted of it."""

    studio: Studio
    subject: Subject
    expression: dict[str, float] | None  # None: as photographed
    cameras: dict[float, Camera]  # by their turn from the photo's, degrees


def has_novel(case: Path) -> bool:
    """Whether the case in the folder ``case`` has its novel pictures."""
    return (case / "truth" / "novel" / NOVEL_NAME).is_file()


def add_novel(
    case: Path,
    poses: Iterator[Pose],
    light: Light,
    samples: int,
    seed: int,
    told: Callable[[int], object],
) -> None:
    """Render ``poses`` in ``light`` at the photo's exposure into the ``case``; ``told`` hears each picture.

    Raises: BadInput (a damaged case), RuntimeError (Blender).
    """
    record = read_case(case).record
    assert record.light is not None  # made by ``photograph.make_case``
    part, target = case / "truth" / ".novel.part", case / "truth" / "novel"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    listed: list[NovelPicture] = []
    try:
        for pose in poses:
            light_up(pose.studio, light)
            for turn, camera in pose.cameras.items():
                name = f"turn{turn:+.0f}" if pose.expression is None else "expression"
                taken = camera_record(camera)
                linear, cover = take_cut_out(pose.studio, taken, samples, seed + 101 + len(listed))
                face = view_buffers(pose.subject, camera, occluder_mask(pose.studio, taken))
                _save(record.light.strength * linear, cover, part / f"{name}.png")
                seen = (face["face_mask"] > 0) & (face["occluder_mask"] == 0)
                Image.fromarray(np.asarray(255 * seen, np.uint8)).save(part / f"{name}_face.png")
                listed.append(
                    NovelPicture(
                        file=f"{name}.png",
                        face_file=f"{name}_face.png",
                        turn_degrees=turn,
                        camera=taken,
                        expression=pose.expression,
                    )
                )
                told(len(listed))
        (part / NOVEL_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(listed), indent=2) + b"\n")
        part.replace(target)
        _list_part(case, record)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _save(linear: NDArray[np.float32], cover: NDArray[np.float32], path: Path) -> None:
    straight = linear / np.maximum(cover, 1e-3)[..., None]
    alpha = np.rint(255 * np.clip(cover, 0, 1)).astype(np.uint8)
    Image.fromarray(np.dstack([encoded(straight), alpha])).save(path)


def _list_part(case: Path, record: CaseRecord) -> None:
    parts = (*(name for name in record.parts if name != "novel pictures"), "novel pictures")
    text = msgspec.json.encode(msgspec.structs.replace(record, parts=parts))
    fresh = case / f".{CASE_NAME}.new"
    fresh.write_bytes(msgspec.json.format(text, indent=2) + b"\n")
    fresh.replace(case / CASE_NAME)
