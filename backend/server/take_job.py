"""One video in the worker: frames in, keyframes for an avatar out, told as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from backend.artifacts import Run
from backend.drive.calibrate import STAGE as CALIBRATION
from backend.drive.take import SEE, SOLVE, drive_video, write_take
from backend.server.partial import PartialFolder
from backend.server.worker_protocol import (
    FromWorker,
    JobDone,
    RunJob,
    StageFinished,
    StageProgress,
    StageStarted,
)
from blender_addon.drive_file import TAKE_NAME

_SHARES = {SEE: 0.55, CALIBRATION: 0.1, SOLVE: 0.35}  # of the time, usually; only the bar depends on it
_IMPLEMENTATION = "Face Mesh, landmark fit"
_PROGRESS_SECONDS = 0.1  # least time between two reports


def run_take(
    order: RunJob, avatar: Path, send: Callable[[FromWorker], None], is_cancelled: Callable[[], bool]
) -> None:
    """Drive ``avatar`` by the video of ``order``; sends all its messages up to JobDone.

    Raises: LikenessError, OSError, MemoryError, whatever a bug raises; the partial folder is gone then.
    """
    folder = PartialFolder(order.job, Path(order.directory), send)
    told = _Telling(order.job, send)
    run = Run(seed=order.options.seed, on_progress=told.progress, is_cancelled=is_cancelled)
    folder.make()
    try:
        head = order.options.head if ":" in order.options.head else None
        made = drive_video(
            Path(order.photo_path), avatar, run, head=head, face=order.options.face, name=order.photo_name
        )
        write_take(made, folder.path / TAKE_NAME)
        told.end()
        files = folder.take_place()
    except BaseException:
        folder.discard()
        raise
    send(JobDone(job=order.job, warnings=tuple(run.warnings), files=files))


class _Telling:
    """Turns progress into the messages of stages."""

    def __init__(self, job: str, send: Callable[[FromWorker], None]) -> None:
        self._job, self._send = job, send
        self._stage: str | None = None
        self._began = self._told_at = 0.0

    def progress(self, stage: str, fraction: float) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self.end()
            self._stage, self._began = stage, now
            index = list(_SHARES).index(stage)
            self._send(
                StageStarted(
                    job=self._job,
                    stage=stage,
                    implementation=_IMPLEMENTATION,
                    index=index,
                    count=len(_SHARES),
                )
            )
        if now - self._told_at < _PROGRESS_SECONDS:
            return
        self._told_at = now
        names = list(_SHARES)
        before = sum(_SHARES[name] for name in names[: names.index(stage)])
        fraction = min(max(fraction, 0.0), 1.0)
        whole = before + fraction * _SHARES[stage]
        self._send(StageProgress(job=self._job, stage=stage, fraction=fraction, job_fraction=whole))

    def end(self) -> None:
        """The stage at work, if any, has ended."""
        if self._stage is not None:
            seconds = time.monotonic() - self._began
            self._send(StageFinished(job=self._job, stage=self._stage, seconds=seconds, cached=False))
            self._stage = None
