"""One case from a subject in the studio: photo, truth views, relit pictures, written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import Camera
from backend.colour import linear_to_srgb, luminance
from backend.evaluation.case_schema import (
    CASE_NAME,
    MAPS,
    SCHEMA,
    CaseRecord,
    LightRecord,
    PhotoFile,
    Provenance,
    RelitPicture,
)
from backend.evaluation.cases import read_case
from backend.evaluation.keypoints import IBUG_OF_FACE_MESH
from backend.export.bundle_writer import camera_record
from blender_addon.bundle import CameraRecord
from synthdata.cases.scene import Light, Studio, light_up, occluder_mask, take_picture
from synthdata.cases.subject import F32, Subject
from synthdata.cases.truth_views import view_buffers

BRIGHT_QUANTILE = 0.95


@dataclass(frozen=True)
class Photograph:
    """How a case is photographed and what is said of it."""

    id: str
    subject: str
    condition: str
    camera: Camera
    side_cameras: dict[str, Camera]  # left45, right45
    light: Light
    relit: tuple[tuple[Light, str], ...]  # and from which view
    bright_skin: float  # linear luminance that the brightest twentieth of the skin gets
    jpeg_quality: int | None  # None: PNG
    ita_degrees: float | None
    provenance: Provenance
    samples: int
    seed: int


def make_case(
    studio: Studio, subject: Subject, plan: Photograph, folder: Path, told: Callable[[float], object]
) -> None:
    """Render and write the case to ``folder``, which must not exist; ``told`` hears the share done."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _fill(studio, subject, plan, part, told)
        case = read_case(part)  # what is written is what the reader takes
        for name in ("photo", "left45", "right45"):
            case.view(name)
        case.relit()
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(
    studio: Studio, subject: Subject, plan: Photograph, folder: Path, told: Callable[[float], object]
) -> None:
    truth = folder / "truth"
    truth.mkdir(parents=True)
    cameras = {"photo": plan.camera, **plan.side_cameras}
    records = {name: camera_record(camera) for name, camera in cameras.items()}
    views = {}
    for name, camera in cameras.items():
        views[name] = view_buffers(subject, camera, occluder_mask(studio, records[name]))
        _write_view(truth / "views" / name, records[name], views[name])
    steps = 1 + len(plan.relit)
    light_up(studio, plan.light)
    linear = take_picture(studio, records["photo"], plan.samples, plan.seed)
    exposure = exposure_for(linear, _measured(views["photo"]), plan.bright_skin)
    photo = _write_photo(folder, exposure * linear, plan.jpeg_quality)
    told(1 / steps)
    listed = []
    for number, (light, view) in enumerate(plan.relit):
        (truth / "relit").mkdir(exist_ok=True)
        light_up(studio, light)
        linear = take_picture(studio, records[view], plan.samples, plan.seed + 1 + number)
        strength = exposure_for(linear, _measured(views[view]), plan.bright_skin)
        name = f"{light.path.stem}_{view}.png"
        _save(encoded(strength * linear), truth / "relit" / name)
        if not (truth / "relit" / light.path.name).exists():
            shutil.copyfile(light.path, truth / "relit" / light.path.name)
        listed.append(
            RelitPicture(
                file=name,
                view=view,
                hdri=light.path.name,
                rotation_degrees=light.rotation_degrees,
                strength=strength,
            )
        )
        told((2 + number) / steps)
    if listed:
        (truth / "relit" / "relit.json").write_bytes(_json(tuple(listed)))
    _write_surface(truth, subject)
    _write_landmarks(truth / "landmarks.npz", subject, plan.camera)
    record = CaseRecord(
        schema=SCHEMA,
        id=plan.id,
        group=plan.condition,
        subject=plan.subject,
        photo=PhotoFile(file=photo, width_px=plan.camera.width_px, height_px=plan.camera.height_px),
        camera=records["photo"],
        light=LightRecord(
            kind="hdri",
            name=plan.light.path.name,
            rotation_degrees=plan.light.rotation_degrees,
            strength=exposure,
        ),
        skin_tone_ita_degrees=plan.ita_degrees,
        parts=_parts(subject, bool(listed)),
        provenance=plan.provenance,
    )
    (folder / CASE_NAME).write_bytes(_json(record))


def exposure_for(linear: F32, skin: NDArray[np.bool_], bright_skin: float) -> float:
    """The factor that brings the brightest twentieth of the ``skin`` to luminance ``bright_skin``."""
    values = luminance(linear[skin]) if skin.any() else luminance(linear.reshape(-1, 3))
    return bright_skin / max(float(np.quantile(values, BRIGHT_QUANTILE)), 1e-9)


def encoded(linear: F32) -> NDArray[np.uint8]:
    """Linear light as 8-bit sRGB, clipped: Blender's Standard view transform."""
    return np.asarray(np.rint(255 * np.clip(linear_to_srgb(np.maximum(linear, 0)), 0, 1)), np.uint8)


def _measured(view: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    return np.asarray((view["skin_mask"] > 0) & (view["face_mask"] > 0))


def _write_view(folder: Path, record: CameraRecord, buffers: dict[str, NDArray[Any]]) -> None:
    folder.mkdir(parents=True)
    (folder / "camera.json").write_bytes(_json(record))
    np.savez_compressed(folder / "buffers.npz", **buffers)


def _write_photo(folder: Path, linear: F32, jpeg_quality: int | None) -> str:
    from PIL import Image

    picture = Image.fromarray(encoded(linear))
    if jpeg_quality is None:
        picture.save(folder / "photo.png")
        return "photo.png"
    picture.save(folder / "photo.jpg", quality=jpeg_quality)
    return "photo.jpg"


def _save(rgb: NDArray[np.uint8], path: Path) -> None:
    from PIL import Image

    Image.fromarray(rgb).save(path)


def _write_surface(truth: Path, subject: Subject) -> None:
    import cv2

    arrays: dict[str, NDArray[Any]] = {
        "vertices_head": subject.vertices_head.astype(np.float32),
        "triangles": subject.triangles.astype(np.int32),
        "triangle_is_skin": subject.is_skin,
        "uvs": subject.uvs.astype(np.float32),
        "triangle_uvs": subject.triangle_uvs.astype(np.int32),
    }
    if subject.neutral_head is not None:
        arrays["vertices_neutral_head"] = subject.neutral_head.astype(np.float32)
    np.savez_compressed(truth / "mesh.npz", **arrays)
    for name, image in subject.maps.items():
        (truth / "maps").mkdir(exist_ok=True)
        if not cv2.imwrite(
            str(truth / "maps" / f"{name}.png"), image[..., ::-1] if image.ndim == 3 else image
        ):
            raise OSError(f"cannot write {name}.png")


def _write_landmarks(path: Path, subject: Subject, camera: Camera) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    if subject.points478_head is not None:
        points = subject.points478_head.astype(np.float64)
        arrays["points478_head"] = points
        arrays["points68_head"] = points[list(IBUG_OF_FACE_MESH)]
        arrays["landmarks_px"] = camera.project(points)[0]
    if subject.points478_neutral_head is not None:
        neutral = subject.points478_neutral_head.astype(np.float64)
        arrays["points68_neutral_head"] = neutral[list(IBUG_OF_FACE_MESH)]
    if arrays:
        np.savez_compressed(path, **arrays)


def _parts(subject: Subject, is_relit: bool) -> tuple[str, ...]:
    has: Sequence[tuple[str, bool]] = (
        ("camera", True),
        ("light", True),
        ("mesh", True),
        ("neutral mesh", subject.neutral_head is not None),
        ("landmarks", subject.points478_head is not None),
        *((f"map {name}", name in subject.maps) for name in MAPS),
        *((f"view {name}", True) for name in ("photo", "left45", "right45")),
        ("relit pictures", is_relit),
    )
    return tuple(name for name, there in has if there)


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
