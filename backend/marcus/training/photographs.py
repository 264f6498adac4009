"""Portraits from folders of photographs (FFHQ and the like): found, cropped and marked once, read many times.

A folder of portraits holds ``portraits.jsonl``, a line of JSON for each photograph: what became of it, or
why it was left out; and for each portrait a PNG of 224² whose alpha is the skin attention. Lines are only
ever added, so a preparation that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.artifacts import F32, F64, Observation, Run
from backend.errors import BadInput, LikenessError
from backend.geometry import face_mesh
from backend.head.correspondences import LIPS_OF_FACE_MESH, MOUTH_OF_IBUG, points68
from backend.head.registry import load_head
from backend.head.surface import closest_on
from backend.marcus.geometry.alignment import align, crop, five_of_face_mesh
from backend.marcus.geometry.face_model import FRAME
from backend.marcus.training.portraits import Portrait, in_pixels, photo_to_crop
from backend.training.session import PORTRAITS as LIST

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")
_SHOWN_HELD_OUT = 20  # one photograph in so many is kept for pictures on the way

Told = Callable[[int, int], None]  # photographs looked at, of all


@dataclass(frozen=True)
class Prepared:
    """How a folder of portraits stands."""

    portraits: int
    left_out: int


@cache
def still_points() -> F64:
    """``(48, 468)``: iBUG's points off the mouth as means of Face Mesh's, off the open head's surface."""
    from backend.photo.mesh_topology import triangles

    head, corners = load_head("open"), triangles()
    mesh = head.mediapipe.positions(head.mean_vertices, head.triangles)[:468]
    still = points68(head).positions(head.mean_vertices, head.triangles)[:MOUTH_OF_IBUG]
    triangle, weight = closest_on(still, mesh, corners)
    share = np.zeros((MOUTH_OF_IBUG, 468))
    np.put_along_axis(share, corners[triangle].astype(np.int64), weight, axis=1)
    return share


def hybrid_points(landmarks: F64, visible: F32) -> tuple[F64, F32]:
    """The 88 points ``(88, C)`` and weights ``(88,)`` of Face Mesh's ``(478, C)`` and their visibility."""
    share = still_points()
    lips = list(LIPS_OF_FACE_MESH)
    places = np.concatenate([share @ landmarks[:468], landmarks[lips]])
    return places, np.concatenate([share @ visible[:468], visible[lips]]).astype(np.float32)


def portrait_of(observation: Observation, standard: F64) -> Portrait:
    """The aligned crop of an observed face at 224 pixels. ``standard`` ``(5, 3)`` decimetres."""
    photo = observation.photo
    frame = align(five_of_face_mesh(observation.landmarks_px), standard, photo.width, photo.height)
    places, weight = hybrid_points(observation.landmarks_px.astype(np.float64), observation.landmarks_visible)
    attention = observation.skin_mask * _face(observation)
    return Portrait(
        rgb_srgb=in_pixels(crop(photo.rgb_srgb, frame), FRAME),
        attention=in_pixels(crop(np.repeat(attention[..., None], 3, 2), frame), FRAME)[:1],
        landmarks=torch.from_numpy(photo_to_crop(places, frame)).float(),
        weight=torch.from_numpy(weight),
    )


def prepare(
    photos: Path, out: Path, standard: F64, workers: int = 1, told: Told = lambda done, of: None
) -> Prepared:
    """Make or go on with the portraits in ``out`` of all photographs under ``photos``, the main face of each.

    A photograph that cannot be used is left out, with the reason on its line. Raises: BadInput (no
    photographs; ``out`` is aligned to other points), OSError (disk), what ``told`` raises.
    """
    names = sorted(
        p.relative_to(photos).as_posix() for p in photos.rglob("*") if p.suffix.lower() in SUFFIXES
    )
    if not names:
        raise BadInput(f"'{photos}' holds no photographs ({', '.join(SUFFIXES)}); give a folder of portraits")
    out.mkdir(exist_ok=True)
    path = out / LIST
    if not path.is_file():
        path.write_text(json.dumps({"aligned_to": _digest(standard)}) + "\n", encoding="utf-8")
    lines = _lines(out)
    _same_alignment(lines[0], standard, out)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")  # whole lines only
    known = {line["photo"] for line in lines[1:]}
    wanted = [name for name in names if name not in known]
    pool = ProcessPoolExecutor(workers) if workers > 1 else nullcontext()
    with pool as several, path.open("a", encoding="utf-8") as file:
        make = partial(_made, photos, out, standard)
        found: Iterator[dict[str, Any]] = (several.map if several is not None else map)(make, wanted)
        for line in found:
            lines.append(line)
            file.write(json.dumps(line) + "\n")
            file.flush()
            told(len(lines) - 1, len(names))
    usable = sum("points" in line for line in lines[1:])
    return Prepared(usable, len(lines) - 1 - usable)


class PhotoPortraits:
    """A prepared folder."""

    def __init__(self, folder: Path, pixels: int, standard: F64, shown: int) -> None:
        """Raises: BadInput (no such folder, nothing in it, aligned to another head)."""
        lines = _lines(folder)
        _same_alignment(lines[0], standard, folder)
        rows = [line for line in lines[1:] if "points" in line]
        if not rows:
            raise BadInput(f"'{folder}' holds no portraits; prepare other photographs")
        held_out = rows[_SHOWN_HELD_OUT::_SHOWN_HELD_OUT]
        self._rows = [row for k, row in enumerate(rows) if k == 0 or k % _SHOWN_HELD_OUT]
        half = shown if not held_out else -(-shown // 2)
        picked = np.linspace(0, len(self._rows) - 1, min(half, len(self._rows))).astype(int)
        self._shown = [*(self._rows[k] for k in picked), *held_out[: shown - half]]
        self._folder, self._pixels = folder, pixels

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, row: int) -> Portrait:
        """Raises: BadInput."""
        return self._portrait(self._rows[row])

    def read_shown(self) -> list[Portrait]:
        """Raises: BadInput."""
        return [self._portrait(row) for row in self._shown]

    def _portrait(self, row: dict[str, Any]) -> Portrait:
        from PIL import Image

        path = self._folder / row["picture"]
        try:
            with Image.open(path) as picture:
                rgba = np.asarray(picture.convert("RGBA"), np.float32) / 255
        except OSError as error:
            raise BadInput(f"the portrait '{path}' cannot be read ({error}); prepare it again") from error
        points = np.asarray(row["points"], np.float32)
        return Portrait(
            rgb_srgb=in_pixels(rgba[..., :3], self._pixels),
            attention=in_pixels(np.repeat(rgba[..., 3:], 3, 2), self._pixels)[:1],
            landmarks=torch.from_numpy(points[:, :2] * (self._pixels / FRAME)),
            weight=torch.from_numpy(points[:, 2]),
        )


def is_prepared(folder: Path) -> bool:
    """Whether ``folder`` is one of portraits, and no set."""
    return (folder / LIST).is_file()


def _made(photos: Path, out: Path, standard: F64, name: str) -> dict[str, Any]:
    from PIL import Image

    from backend.photo.decode import load_photo
    from backend.photo.observe import observe

    try:
        portrait = portrait_of(observe(load_photo(photos / name), Run()), standard)
    except LikenessError as error:
        return {"photo": name, "left_out": str(error)}
    picture = hashlib.blake2b(name.encode(), digest_size=8).hexdigest() + ".png"
    rgba = torch.cat([portrait.rgb_srgb, portrait.attention]).permute(1, 2, 0).numpy()
    Image.fromarray(np.rint(rgba.clip(0, 1) * 255).astype(np.uint8), "RGBA").save(out / picture)
    points = torch.cat([portrait.landmarks, portrait.weight[:, None]], 1).double().numpy()
    return {"photo": name, "picture": picture, "points": points.round(3).tolist()}


def _face(observation: Observation) -> F32:
    """1 within Face Mesh's outline of the face: its skin, not the neck's."""
    import cv2

    photo = observation.photo
    mask = np.zeros((photo.height, photo.width), np.uint8)
    outline = np.rint(observation.landmarks_px[list(face_mesh.FACE_OVAL)] - 0.5).astype(np.int32)
    cv2.fillPoly(mask, [outline], 1)
    return mask.astype(np.float32)


def _lines(folder: Path) -> list[dict[str, Any]]:
    """The header and a line for each photograph; one cut short by a kill is left out. Raises: BadInput."""
    lines: list[dict[str, Any]] = []
    try:
        for text in (folder / LIST).read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"'{folder / LIST}' cannot be read ({error})") from error
    if not lines or "aligned_to" not in lines[0]:
        raise BadInput(f"'{folder / LIST}' is no list of portraits; delete it and prepare them again")
    return lines


def _same_alignment(header: dict[str, Any], standard: F64, folder: Path) -> None:
    if header["aligned_to"] != _digest(standard):
        raise BadInput(
            f"the portraits in '{folder}' are aligned for another head; give it as --head, or prepare anew"
        )


def _digest(standard: F64) -> str:
    return hashlib.blake2b(np.round(standard, 4).tobytes(), digest_size=8).hexdigest()
