"""Frames of a video file, in order, as OpenCV's FFmpeg decodes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput
from backend.photo.mediapipe_graphs import quiet_stderr

U8 = NDArray[np.uint8]
MOST_SIDE = 1920  # pixels: larger frames are made smaller, a face gains nothing from more
_LEAST_RATE, _MOST_RATE = 1.0, 1000.0  # frames a second that a file may claim
_DEFAULT_RATE = 30.0
_REMEDY = "convert it to MP4 with H.264 (ffmpeg -i VIDEO -c:v libx264 new.mp4)"


@dataclass(frozen=True)
class VideoFrame:
    """One decoded frame, upright."""

    index: int
    time_s: float  # from the first frame's on
    rgb: U8  # (H, W, 3) sRGB


class Video:
    """A video that is open. Raises: BadInput for what is not a video that can be decoded."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        import cv2

        self.path, self.name = path, name or path.name
        if not path.is_file():
            raise BadInput(f"'{path}' is not a file; give a video")
        with quiet_stderr():
            self._capture: Any = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            self._capture.release()
            raise BadInput(f"'{self.name}' is no video, or of a codec that cannot be read here; {_REMEDY}")
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.frames_per_second = rate if _LEAST_RATE <= rate <= _MOST_RATE else _DEFAULT_RATE
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.frame_count = count if 0 < count < 1 << 31 else None  # None: the file does not say

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._capture.release()

    def sha256(self) -> str:
        """Of the file's bytes. Raises: OSError."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def frames(self) -> Iterator[VideoFrame]:
        """Every frame from the first on, once. Times grow; a file that tells none has even ones.

        Raises: BadInput where not a single frame can be decoded.
        """
        import cv2

        index, first, last = 0, 0.0, -1.0
        while True:
            with quiet_stderr():
                good, bgr = self._capture.read()
            if not good or bgr is None:
                break
            told = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            even = index / self.frames_per_second
            if index == 0:
                first = told
            time = told - first if index == 0 or last < told - first < last + 60 else max(even, last)
            if index and time <= last:
                time = last + 1 / self.frames_per_second
            last = time
            yield VideoFrame(index, time, _rgb(bgr))
            index += 1
        if index == 0:
            raise BadInput(f"no frame of '{self.name}' can be decoded; {_REMEDY}")


def _rgb(bgr: U8) -> U8:
    import cv2

    height, width = bgr.shape[:2]
    factor = MOST_SIDE / max(height, width)
    if factor < 1:
        size = round(width * factor), round(height * factor)
        bgr = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(bgr[..., ::-1])
