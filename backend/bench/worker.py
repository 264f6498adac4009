"""The server's worker: seconds from submit to mesh, first albedo, maps and done; pins, poses, cancelling.

Jobs: the first of a process (models load meanwhile), another photo warm (the same, mirrored; nothing of it
is cached), and what the cache of stages makes of the same photo again, another seed, a painted mask, a pin.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageOps

from backend.bench.scenes import photo_of
from backend.bench.sheet import YARDSTICK, Setting, Sheet, main, yardstick
from backend.server.worker_protocol import (
    CancelJob,
    DriveDone,
    Freed,
    FreeMemory,
    FromWorker,
    Heartbeat,
    JobDone,
    JobFailed,
    PartialReady,
    Ready,
    RefineDone,
    RequestFailed,
    RunDrive,
    RunJob,
    RunRefine,
    StageStarted,
    Stop,
    Writer,
    reader_from_worker,
)
from blender_addon.landmarks import read_landmarks
from blender_addon.protocol import Options, Pin

FIRST, UNCACHED = "first job", "another photo, no cache"
CANCELLED_IN = ("observation", "head fit", "complete UV", "even-lit UV")
PINNED = 61  # a corner of the mouth
COLUMNS = ("mesh", "albedo", "maps", "done")


class WorkerProcess:
    """One worker process."""

    def __init__(self, data: Path) -> None:
        self.start = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "backend.server.worker", "--data", str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(data / "worker.log").open("wb"),
        )
        self._writer = Writer(cast(BinaryIO, self._process.stdin))
        self._reader = reader_from_worker(cast(BinaryIO, self._process.stdout))

    def ask(self, message: Any, *kinds: type) -> list[tuple[float, FromWorker]]:
        """Everything told up to one of ``kinds``, with the seconds since ``message`` was sent."""
        start = time.perf_counter()
        if message is not None:
            self._writer.send(message)
        told: list[tuple[float, FromWorker]] = []
        while (got := self._reader.receive()) is not None:
            told.append((time.perf_counter() - start, got))
            if isinstance(got, kinds):
                return told
        raise RuntimeError("the worker ended")

    def end(self) -> None:
        """Stop the process; one that has ended by itself is left be."""
        if self._process.poll() is None:
            self._writer.send(Stop())
        self._process.wait()


def measure(setting: Setting, sheet: Sheet) -> None:
    """Every round has a new process and an empty data folder."""
    maps = 512 if setting.quick else 1024
    with Image.open(photo_of(setting)) as image:
        picture = ImageOps.exif_transpose(image).convert("RGB")
    name = "a photo" if setting.photo else "the astronaut"
    sheet.workload(f"{name}, {picture.width}×{picture.height}, maps {maps}; seconds from submit")
    for number in range(setting.repeat):
        data = setting.folder / str(number)
        (data / "jobs").mkdir(parents=True)
        worker = WorkerProcess(data)
        try:
            worker.ask(None, Ready)
            sheet.value("worker ready", time.perf_counter() - worker.start, "s", YARDSTICK)
            _round(sheet, worker, data, picture, maps)
        finally:
            worker.end()
        sheet.value(YARDSTICK, yardstick(), "s")


def _round(sheet: Sheet, worker: WorkerProcess, data: Path, picture: Image.Image, maps: int) -> None:
    first, mirrored, mask = data / "first.png", data / "mirrored.png", data / "mask.png"
    picture.save(first)
    ImageOps.mirror(picture).save(mirrored)
    painted = np.zeros((picture.height, picture.width), np.uint8)
    painted[: picture.height // 4] = 255
    Image.fromarray(painted).save(mask)

    def job(label: str, path: Path, seed: int = 0, **changes: Any) -> Path:
        directory = data / "jobs" / label.replace(" ", "-").replace(",", "")
        order = RunJob(
            job=label,
            photo_path=str(path),
            photo_name=label,
            options=Options(maps=maps, seed=seed),
            directory=str(directory),
            **changes,
        )
        told = worker.ask(order, JobDone, JobFailed)
        end = told[-1][1]
        if isinstance(end, JobFailed):
            raise RuntimeError(end.problem.message)
        partial = [(t, m) for t, m in told if isinstance(m, PartialReady)]
        row = (
            next(t for t, m in partial if m.kind == "mesh"),
            next(t for t, m in partial if m.kind == "map"),
            partial[-1][0],
            told[-1][0],
        )
        for column, seconds in zip(COLUMNS, row, strict=True):
            base = YARDSTICK if label in (FIRST, UNCACHED) else f"{UNCACHED}: {column}"
            sheet.value(f"{label}: {column}", seconds, "s", base)
        return directory

    directory = job(FIRST, first)
    job(UNCACHED, mirrored)
    job("same photo again", first)
    job("another seed", first, seed=1)
    job("painted mask", first, exclude_path=str(mask))
    x, y = (float(v) for v in read_landmarks(directory).solved_px[PINNED])
    job("pinned", first, pins=(Pin(landmark=PINNED, x_px=x - 3, y_px=y),))
    _short_requests(sheet, worker, directory, (x, y))
    _cancelled(sheet, worker, data, picture, maps)
    _memory(sheet, worker)
    kept = sum(path.stat().st_size for path in (data / "cache").rglob("*") if path.is_file())
    sheet.value("stage cache of all photos", kept / 2**20, "MiB")


def _short_requests(sheet: Sheet, worker: WorkerProcess, directory: Path, at_px: tuple[float, float]) -> None:
    """A pin that is dragged, and 24 frames of expressions."""
    for step in range(10):
        pin = Pin(landmark=PINNED, x_px=at_px[0] - step, y_px=at_px[1])
        order = RunRefine(request=step, directory=str(directory), pins=(pin,))
        seconds = _answered(worker, order, RefineDone)
        sheet.value("pin dragged, first" if step == 0 else "pin dragged, later", seconds, "s", YARDSTICK)
    weights = np.random.default_rng(0).random((24, 52)).astype("<f4")
    for step in range(3):
        drive = RunDrive(request=99, directory=str(directory), frames=24, weights=weights.tobytes())
        seconds = _answered(worker, drive, DriveDone)
        sheet.value("24 frames, first" if step == 0 else "24 frames, later", seconds, "s", YARDSTICK)


def _cancelled(sheet: Sheet, worker: WorkerProcess, data: Path, picture: Image.Image, maps: int) -> None:
    """From cancelling in a stage to the job's end; the server ends a worker that takes longer than 0.6 s."""
    for number, stage in enumerate(CANCELLED_IN, start=1):
        path = data / f"cancelled-{number}.png"
        picture.crop((0, 0, picture.width - number, picture.height)).save(path)  # nothing of it is cached
        order: RunJob | None = RunJob(
            job=stage,
            photo_path=str(path),
            photo_name=stage,
            options=Options(maps=maps),
            directory=str(data / "jobs" / f"cancelled-{number}"),
        )
        while True:
            told = worker.ask(order, StageStarted, JobDone, JobFailed)[-1][1]
            if not isinstance(told, StageStarted):
                raise RuntimeError(f"the job ended before '{stage}' began")
            if told.stage == stage:
                break
            order = None
        seconds = worker.ask(CancelJob(job=stage), JobDone, JobFailed)[-1][0]
        sheet.value(f"cancel in {stage}", seconds, "s", YARDSTICK)


def _answered(worker: WorkerProcess, order: RunRefine | RunDrive, done: type) -> float:
    seconds, end = worker.ask(order, done, RequestFailed)[-1]
    if isinstance(end, RequestFailed):
        raise RuntimeError(end.problem.message)
    return seconds


def _memory(sheet: Sheet, worker: WorkerProcess) -> None:
    """Resident memory before and after the worker is asked to free what it can."""
    for name in ("resident after ten jobs", "resident after free memory"):
        told = worker.ask(None, Heartbeat)[-1][1]
        if isinstance(told, Heartbeat) and told.rss_bytes is not None:
            sheet.value(name, told.rss_bytes / 2**20, "MiB")
        worker.ask(FreeMemory(), Freed)


if __name__ == "__main__":
    sys.exit(main(measure))
