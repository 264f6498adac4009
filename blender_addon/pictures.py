"""Icons of pictures: photo thumbnails, stage previews, environments."""

from __future__ import annotations

import contextlib
import logging
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews

from .paths import session_folder
from .scene.relight import bundled_hdris, hdris_in
from .view import JobView

log = logging.getLogger(__name__)

STAGES = "stage"  # folder of the stages' pictures, and how their names begin
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".heif", ".avif")


@dataclass
class Pictures:
    """Previews by name, and the items of the environment list, which Blender wants kept alive."""

    previews: Any  # bpy.utils.previews.ImagePreviewCollection
    folder_time: dict[Path, float] = field(default_factory=dict)
    items: list[tuple[str, str, str, int, int]] = field(default_factory=list)


_pictures: Pictures | None = None


def register() -> None:
    """Make the collection."""
    global _pictures
    _pictures = Pictures(bpy.utils.previews.new())


def unregister() -> None:
    """Free every picture and delete the files of stage previews."""
    global _pictures
    if _pictures is not None:
        bpy.utils.previews.remove(_pictures.previews)
        _pictures = None
    with contextlib.suppress(OSError):  # Blender deletes what is left when it quits
        for file in session_folder(STAGES).glob("*"):
            file.unlink(missing_ok=True)


def icon_of_file(path: Path) -> int:
    """Icon number of a picture file, 0 when there is none to show."""
    if _pictures is None:
        return 0
    try:
        key = f"{path}|{path.stat().st_mtime_ns}"
    except OSError:
        return 0
    if key not in _pictures.previews:
        _pictures.previews.load(key, str(path), "IMAGE")
    return int(_pictures.previews[key].icon_id)


def icon_of_job(job: JobView) -> int:
    """Icon number of the job's latest stage preview, 0 when no stage has shown one."""
    if _pictures is None or job.preview is None:
        return 0
    key = _stage_key(job)
    if key not in _pictures.previews:
        try:
            file = session_folder(STAGES) / key
            file.write_bytes(job.preview)
        except OSError as error:  # a full disk costs the picture, not the panel
            log.warning("a stage's picture cannot be shown (%s)", error)
            return 0
        picture = _pictures.previews.load(key, str(file), "IMAGE")
        _ = picture.image_size[0]  # loads it now: small, and a place left empty meanwhile would flicker
    return int(_pictures.previews[key].icon_id)


def drop_stages(jobs: Iterable[JobView]) -> None:
    """Delete the stage pictures that none of ``jobs`` shows: of stages before, of forgotten photos."""
    if _pictures is None:
        return
    shown = {_stage_key(job) for job in jobs}
    for key in [key for key in _pictures.previews if key.startswith(STAGES) and key not in shown]:
        del _pictures.previews[key]
        (session_folder(STAGES) / key).unlink(missing_ok=True)


def _stage_key(job: JobView) -> str:
    """Name of preview and file."""
    suffix = ".png" if job.preview is not None and job.preview.startswith(b"\x89PNG") else ".jpg"
    return f"{STAGES}-{job.job}-{job.preview_number}{suffix}"


def environments() -> Iterator[tuple[str, Path, int]]:
    """Name, file and number (which scenes keep) of every environment: Blender's, then the artist's."""
    for number, file in enumerate(bundled_hdris()):
        yield file.stem.capitalize(), file, number
    folder = _user_folder()
    for file in hdris_in(folder) if folder is not None else ():
        yield file.stem.replace("_", " "), file, 1000 + zlib.crc32(file.name.encode()) % 2**30


def hdri_items(_owner: Any, _context: Any) -> list[tuple[str, str, str, int, int]]:
    """Items of the environment list with previews; the identifier is the file's path."""
    if _pictures is None:
        return []
    items = [
        (str(file), name, f"Light the head with {file.name}", icon_of_file(file), number)
        for name, file, number in environments()
    ]
    if items != _pictures.items:
        _pictures.items = items
    return _pictures.items


def _user_folder() -> Path | None:
    from .preferences import preferences

    chosen = preferences().hdri_folder
    folder = Path(bpy.path.abspath(chosen)) if chosen else None
    return folder if folder is not None and folder.is_dir() else None
