"""Pictures to files: PNG side by side, animated WebP, MP4; whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput, LikenessError

U8 = NDArray[np.uint8]
MOVING = (".webp", ".mp4")


def check_output(output: Path, suffixes: tuple[str, ...]) -> None:
    """Raises: BadInput where ``output`` has another suffix or no folder to lie in."""
    if output.suffix.lower() not in suffixes:
        raise BadInput(f"'{output}' must end in {' or '.join(suffixes)}; name the file so")
    if not output.parent.is_dir():
        raise BadInput(f"the folder of '{output}' does not exist; make it first")


def write_pictures(pictures: Iterator[U8], output: Path, frames_per_second: float) -> None:
    """``pictures`` ``(H, W, 3)`` sRGB by the suffix of ``output``; moved to its place when whole.

    Raises: LikenessError (no encoder), whatever ``pictures`` raises; nothing half-written stays.
    """
    writers: dict[str, Callable[[Iterator[U8], Path, float], None]] = {
        ".png": _save_png,
        ".webp": _save_webp,
        ".mp4": _save_mp4,
    }
    suffix = output.suffix.lower()
    with tempfile.TemporaryDirectory(prefix=".likeness-", dir=output.parent) as folder:
        fresh = Path(folder) / f"new{suffix}"
        writers[suffix](pictures, fresh, frames_per_second)
        fresh.replace(output)


def _save_png(pictures: Iterator[U8], path: Path, _rate: float) -> None:
    from PIL import Image

    Image.fromarray(np.concatenate(list(pictures), 1)).save(path)


def _save_webp(pictures: Iterator[U8], path: Path, rate: float) -> None:
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=round(1000 / rate), loop=0, quality=85
    )


def _save_mp4(pictures: Iterator[U8], path: Path, rate: float) -> None:
    import cv2

    writer = None
    try:
        for picture in pictures:
            height, width = picture.shape[:2]
            if writer is None:
                code = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(path), code, float(rate), (width, height))
                if not writer.isOpened():
                    raise LikenessError("this OpenCV cannot write MP4; choose a .webp file")
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
    finally:
        if writer is not None:
            writer.release()
