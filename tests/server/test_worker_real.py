"""The worker as a process with the real engine: a whole job, cancel and SIGKILL at every stage."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from portraits import DATA

from backend.artifacts import Run
from backend.export.avatar import write_avatar
from backend.pipeline import reconstruct
from backend.server.worker_protocol import (
    CancelJob,
    FromWorker,
    Heartbeat,
    JobDone,
    JobFailed,
    PartialReady,
    Ready,
    RefineDone,
    RequestFailed,
    RunJob,
    RunRefine,
    StageFinished,
    StageStarted,
    Stop,
    ToWorker,
    Writer,
    partial_directory,
    reader_from_worker,
)
from blender_addon import bundle
from blender_addon.landmarks import read_landmarks
from blender_addon.protocol import Options, Pin

pytestmark = pytest.mark.slow

PHOTO = DATA / "portrait_front.jpg"
STAGES = (
    "photo",
    "observation",
    "head fit",
    "partial UV",
    "complete UV",
    "even-lit UV",
    "materials",
    "maps",
    "preview",
)


class Process:
    """A worker process and its pipes."""

    def __init__(self, data: Path) -> None:
        self.jobs = data / "jobs"
        self.jobs.mkdir(parents=True, exist_ok=True)
        self.log = data / "worker.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backend.server.worker", "--device", "cpu", "--data", str(data)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._writer = Writer(self.process.stdin)
        self._reader = reader_from_worker(self.process.stdout)
        self.until(Ready)

    def send(self, message: ToWorker) -> None:
        self._writer.send(message)

    def until(self, *kinds: type, stage: str | None = None) -> list[FromWorker]:
        """Messages up to one of ``kinds`` (of ``stage``), without heartbeats."""
        got: list[FromWorker] = []
        while (message := self._reader.receive()) is not None:
            if isinstance(message, Heartbeat):
                continue
            got.append(message)
            if isinstance(message, kinds) and (stage is None or getattr(message, "stage", None) == stage):
                return got
        raise AssertionError(f"the worker ended: {self.log.read_text()[-2000:]}")

    def order(self, job: str, **options: object) -> RunJob:
        return RunJob(
            job=job,
            photo_path=str(PHOTO),
            photo_name=PHOTO.stem,
            options=Options(maps=512, **options),  # type: ignore[arg-type]
            directory=str(self.jobs / job),
        )

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "data")
    yield process
    process.end()


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def without_measures(manifest: bytes) -> dict[str, object]:
    fields: dict[str, object] = json.loads(manifest)
    fields.pop("peak_rss_mb")
    for stage in fields["stages"]:  # type: ignore[attr-defined]
        stage.pop("seconds")
    return fields


def same_picture(mine: bytes, plain: bytes) -> None:
    """Equal but for rounding: no value off by more than one of 255, hardly any at all."""
    one, other = (np.asarray(Image.open(io.BytesIO(data)), np.int16) for data in (mine, plain))
    assert one.shape == other.shape
    assert np.abs(one - other).max() <= 1
    assert (one != other).mean() < 1e-4


def test_a_job_gives_the_command_lines_bytes_and_a_rerun_the_same(worker: Process, tmp_path: Path) -> None:
    run = Run()
    write_avatar(
        reconstruct(PHOTO, maps=512, run=run), tmp_path / "plain", blender=None, overwrite=False, run=run
    )
    plain = files(tmp_path / "plain")
    for job in ("first", "again"):
        worker.send(worker.order(job))
        told = worker.until(JobDone, JobFailed)
        assert isinstance(told[-1], JobDone), told[-1]
        cached = [m.stage for m in told if isinstance(m, StageFinished) and m.cached]
        assert cached == ([] if job == "first" else list(STAGES[1:7]))
        mine = files(worker.jobs / job)
        assert mine.keys() == plain.keys()
        manifests = mine.pop("avatar.json"), plain["avatar.json"]
        assert without_measures(manifests[0]) == without_measures(manifests[1])
        # The preview's shading sums in another order on another number of threads.
        same_picture(mine.pop("preview.png"), plain["preview.png"])
        for name, data in mine.items():
            assert data == plain[name], name
        assert bundle.read_bundle(worker.jobs / job).maps() == bundle.MAP_NAMES


def test_a_drag_answers_and_moves_its_landmark(worker: Process) -> None:
    worker.send(worker.order("job"))
    assert isinstance(worker.until(JobDone, JobFailed)[-1], JobDone)
    folder = worker.jobs / "job"
    x, y = read_landmarks(folder).solved_px[61]
    for step in range(3):
        pin = Pin(landmark=61, x_px=float(x) - 3 * step, y_px=float(y) + step)
        worker.send(RunRefine(request=step, directory=str(folder), pins=(pin,)))
        answer = worker.until(RefineDone, RequestFailed)[-1]
        assert isinstance(answer, RefineDone), answer
        solved = np.frombuffer(answer.landmarks, "<f4").reshape(478, 2)[61]
        assert np.hypot(*(solved - (pin.x_px, pin.y_px))) < 1.5
        moved = np.frombuffer(answer.expressed, "<f4").reshape(-1, 3)
        assert moved.shape == bundle.read_mesh(folder).vertices_neutral_head.shape


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_at_any_stage_leaves_nothing_that_reads_as_whole(worker: Process, stage: str) -> None:
    worker.send(worker.order("job"))
    worker.until(StageStarted, stage=stage)
    worker.process.send_signal(signal.SIGKILL)
    worker.process.wait()
    assert [p.name for p in worker.jobs.iterdir()] == ["job.partial"]
    partial = partial_directory(worker.jobs / "job")
    with pytest.raises(bundle.BundleError):
        bundle.read_bundle(partial)
    if stage in STAGES[3:]:  # announced after the fit, and still sound
        assert bundle.read_partial(partial).manifest.partial
    cache = worker.jobs.parent / "cache"

    other = Process(worker.jobs.parent)  # takes up where the dead one was
    try:
        other.send(other.order("job"))
        told = other.until(JobDone, JobFailed)
        assert isinstance(told[-1], JobDone)
        cached = [m.stage for m in told if isinstance(m, StageFinished) and m.cached]
        assert cached == [s for s in STAGES[1:7] if STAGES.index(s) < STAGES.index(stage)]
        assert [p.name for p in other.jobs.iterdir()] == ["job"]
        bundle.read_bundle(other.jobs / "job")
        assert not [p for p in cache.rglob("*") if "partial" in p.name]
    finally:
        other.end()


def test_cancel_at_every_stage_of_a_warm_worker(worker: Process) -> None:
    """With another seed and no cache to help; the worker stays alive and takes the next job."""
    for seed, stage in enumerate(STAGES):
        worker.send(worker.order(f"job{seed}", seed=seed))
        worker.until(StageStarted, stage=stage)
        worker.send(CancelJob(job=f"job{seed}"))
        told = worker.until(JobDone, JobFailed)
        assert isinstance(told[-1], JobFailed), stage
        assert told[-1].problem.code == "cancelled"
        assert not [
            m for m in told if isinstance(m, PartialReady) and m.final and stage not in ("maps", "preview")
        ]
        assert list(worker.jobs.iterdir()) == []
    worker.send(Stop())
    deadline = time.monotonic() + 60
    while worker.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert worker.process.poll() == 0
