"""A bake of decoded frames: poses out, pictures in, each on disk before it counts. No Blender.

The main thread asks for poses one by one (``next_frame``, ``pose``); writing happens in threads. A folder
that has some of the frames is gone on with: frames whose pose has not changed are not asked for again.
"""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from . import protocol
from .client import Answer, RequestError
from .disk import disk_sentence
from .environment_control import in_thread
from .splat_frames import FramesRecord, frame_name, pose_digest, read_record, write_record, write_whole

AHEAD = 2  # frames at the backend or on their way to the disk
ANSWER_SECONDS = 120.0  # the first frame may have to wait for libraries


class AskBackend(Protocol):
    """``Runtime.ask``."""

    def __call__(
        self,
        message: protocol.Request,
        then: Callable[[Answer], None],
        bulk: list[bytes],
        failed: Callable[[Exception], None],
        timeout_s: float,
    ) -> None: ...


@dataclass
class SplatBake:
    """Frames ``first`` to ``last`` of a head. Raises: OSError when ``folder`` cannot be used."""

    head: str  # UUID
    avatar: str  # a job, or a folder of the server's machine
    splats_sha256: str
    folder: Path
    first: int
    last: int
    parts: dict[str, NDArray[np.int64]]  # rows of the mesh's vertices that a part has
    neutral: NDArray[np.float32]  # (V, 3) head space, metres
    frame_before: int = 1  # where the timeline stood
    problem: str | None = None
    cancelled: bool = False
    _left: deque[int] = field(default_factory=deque)
    _asked: set[int] = field(default_factory=set)
    _writing: dict[int, Future[None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._left.extend(range(self.first, self.last + 1))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._record: FramesRecord = read_record(self.folder, self.splats_sha256)

    @property
    def total(self) -> int:
        return self.last - self.first + 1

    @property
    def done(self) -> int:
        """Frames that lie on the disk."""
        return self.total - len(self._left) - len(self._asked) - len(self._writing)

    @property
    def is_over(self) -> bool:
        return self.cancelled or self.problem is not None or self.done == self.total

    def next_frame(self) -> int | None:
        """The frame that is to be posed now; None while enough are on their way."""
        if self.is_over or not self._left or len(self._asked) + len(self._writing) >= AHEAD:
            return None
        return self._left[0]

    def pose(self, frame: int, vertices: NDArray[np.float32], ask: AskBackend) -> None:
        """``next_frame``'s vertices ``(V, 3)``, head space, metres."""
        self._left.popleft()
        digest = pose_digest(vertices)
        if self._record.poses.get(frame) == digest:
            return
        self._asked.add(frame)
        ask(
            protocol.Decode(id=0, avatar=self.avatar),
            lambda answer: self._arrived(frame, digest, answer),
            [np.ascontiguousarray(vertices, "<f4").tobytes()],
            self._failed,
            ANSWER_SECONDS,
        )

    def settle(self) -> bool:
        """Take in what threads have written; whether anything ended."""
        ended = [frame for frame, future in self._writing.items() if future.done()]
        for frame in ended:
            error = self._writing.pop(frame).exception()
            if isinstance(error, OSError):
                self._end(disk_sentence(error))
            elif error is not None:
                raise error
        return bool(ended)

    def fail(self, reason: str) -> None:
        """End the bake; what is on the disk stays."""
        self._end(reason)

    def _arrived(self, frame: int, digest: str, answer: Answer) -> None:
        if self.is_over or not isinstance(answer.reply, protocol.Decoded):
            return
        data = bytes(answer.bulk[0])
        needed = len(data) * (self.total - self.done)
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            self._end(disk_sentence(error))
            return
        if needed > free:
            self._end(
                f"The frames need {needed / 1e9:.1f} GB, '{self.folder}' has {free / 1e9:.1f} GB; "
                "choose another folder"
            )
            return
        self._asked.discard(frame)
        self._writing[frame] = in_thread(lambda: self._write(frame, digest, data))

    def _write(self, frame: int, digest: str, data: bytes) -> None:
        if frame in self._record.poses:  # of another pose: nothing may say so once the picture is new
            self._note(frame, None)
        write_whole(self.folder / frame_name(frame), data)
        self._note(frame, digest)

    def _note(self, frame: int, digest: str | None) -> None:
        with self._lock:
            poses = {f: pose for f, pose in self._record.poses.items() if f != frame}
            if digest is not None:
                poses[frame] = digest
            self._record = msgspec.structs.replace(self._record, poses=poses)
            write_record(self.folder, self._record)

    def _failed(self, error: Exception) -> None:
        self._end(error.problem.message if isinstance(error, RequestError) else str(error))

    def _end(self, reason: str) -> None:
        if self.problem is None and not self.cancelled:
            kept = f"; {self.done} of {self.total} frames are kept, bake again to go on" if self.done else ""
            self.problem = reason.rstrip(".") + kept
