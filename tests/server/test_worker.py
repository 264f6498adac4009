"""The worker over its pipes, with made-up stages: events, growing folder, cancel, failures, its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_up_engine import MadeUp, picture

from backend.errors import BadInput, Missing
from backend.head.registry import load_head
from backend.server import drive
from backend.server import worker as worker_module
from backend.server.inbox import Inbox
from backend.server.worker import Worker
from backend.server.worker_protocol import (
    CancelJob,
    ForgetPhotos,
    Freed,
    FreeMemory,
    FromWorker,
    Heartbeat,
    JobDone,
    JobFailed,
    PartialReady,
    Ready,
    RequestFailed,
    RunDrive,
    RunJob,
    RunRefine,
    StageFinished,
    StageProgress,
    StageStarted,
    Stop,
    Writer,
    pack,
    partial_directory,
    reader_from_worker,
    reader_to_worker,
)
from blender_addon import bundle
from blender_addon.protocol import Options, Pin

STAGES = [
    "photo",
    "observation",
    "head fit",
    "partial UV",
    "complete UV",
    "even-lit UV",
    "materials",
    "maps",
    "preview",
]


class Bench:
    """A worker on a thread, its pipes, its data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.jobs = data / "jobs"
        self.jobs.mkdir(parents=True)
        self.photo = picture(data / "photo")
        self.at_partial: dict[str, dict[str, bytes]] = {}
        there, here = os.pipe()
        back, out = os.pipe()
        self._to = os.fdopen(here, "wb")
        self._writer = Writer(self._to)
        self._reader = reader_from_worker(os.fdopen(back, "rb", buffering=0))
        inbox = Inbox(reader_to_worker(os.fdopen(there, "rb", buffering=0)))
        self._worker = Worker(inbox, Writer(os.fdopen(out, "wb")), data)
        self.thread = threading.Thread(target=self._worker.serve, args=("cpu",), daemon=True)
        self.thread.start()

    def send(self, message) -> None:
        self._writer.send(message)

    def order(self, job: str = "job", **changes) -> RunJob:
        fields = {
            "job": job,
            "photo_path": str(self.photo),
            "photo_name": "Ann v1.2",
            "options": Options(maps=512),
            "directory": str(self.jobs / job),
        }
        return RunJob(**{**fields, **changes})

    def until(self, *kinds: type) -> list[FromWorker]:
        """All messages up to the first of ``kinds``, heartbeats left out unless asked for."""
        got: list[FromWorker] = []
        while True:
            message = self._reader.receive()
            assert message is not None, got
            if isinstance(message, Heartbeat) and Heartbeat not in kinds:
                continue
            got.append(message)
            if isinstance(message, kinds):
                return got

    def run(self, job: str = "job", **changes) -> list[FromWorker]:
        self.send(self.order(job, **changes))
        return self.until(JobDone, JobFailed)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    made_up = MadeUp()
    made_up.install(monkeypatch)
    monkeypatch.setattr(worker_module, "load_models", lambda: None)
    return made_up


@pytest.fixture
def bench(engine: MadeUp, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "data")
    bench.until(Ready)
    yield bench
    bench.send(Stop())
    bench.thread.join(20)
    assert not bench.thread.is_alive()


def of(kind: type, messages: list[FromWorker]) -> list:
    return [m for m in messages if isinstance(m, kind)]


def test_a_job_tells_every_stage_and_leaves_a_whole_bundle(bench: Bench) -> None:
    told = bench.run()
    assert [m.stage for m in of(StageStarted, told)] == STAGES
    assert [m.stage for m in of(StageFinished, told)] == STAGES
    assert [m.index for m in of(StageStarted, told)] == list(range(len(STAGES)))
    assert {m.count for m in of(StageStarted, told)} == {len(STAGES)}
    assert not any(m.cached for m in of(StageFinished, told))
    fractions = [m.job_fraction for m in of(StageProgress, told)]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] <= 1
    done = told[-1]
    assert isinstance(done, JobDone)
    avatar = bundle.read_bundle(bench.jobs / "job")
    assert avatar.manifest.photo.name == "Ann v1.2"
    assert [s.name for s in avatar.manifest.stages] == STAGES
    assert done.warnings == avatar.manifest.warnings == ("made up from nothing",)
    on_disk = {
        p.relative_to(avatar.directory).as_posix(): p.stat().st_size
        for p in avatar.directory.rglob("*")
        if p.is_file()
    }
    assert dict(done.files) == on_disk
    assert {"avatar.json", "mesh.npz", "photo.jpg", "landmarks.npz", "preview.png", "maps/albedo.png"} <= set(
        on_disk
    )
    assert not partial_directory(avatar.directory).exists()


def test_previews_are_small_pictures(bench: Bench) -> None:
    with_preview = {m.stage: m.preview for m in of(StageFinished, bench.run()) if m.preview}
    assert set(with_preview) == set(STAGES[:7])
    for stage, data in with_preview.items():
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None, stage
        assert max(image.shape) <= 512, stage


def test_the_folder_grows_and_says_so(bench: Bench, engine: MadeUp) -> None:
    """What an announcement names lies there, whole, when the next stage begins."""
    partial = partial_directory(bench.jobs / "job")
    seen: dict[str, bundle.Avatar] = {}
    maps_then: dict[str, tuple[str, ...]] = {}

    def look(stage: str) -> None:
        seen[stage] = bundle.read_partial(partial)
        maps_then[stage] = seen[stage].maps()
        with pytest.raises(bundle.BundleError, match="unfinished"):
            bundle.read_bundle(partial)

    for stage in ("partial UV", "complete UV", "even-lit UV", "materials", "preview"):
        engine.during[stage] = lambda stage=stage: look(stage)
    told = of(PartialReady, bench.run())
    assert maps_then["partial UV"] == ()
    assert seen["partial UV"].manifest.displacement_scale_m == 0
    assert maps_then["complete UV"] == maps_then["materials"] == ("albedo",)
    assert maps_then["preview"] == bundle.MAP_NAMES
    assert told[0].kind == "mesh"
    assert {"avatar.json", "mesh.npz"} <= set(told[0].files)
    maps = [(m.map_name, m.final) for m in told[1:]]
    assert maps[:3] == [("albedo", False)] * 3
    assert maps[3:] == [(name, True) for name in bundle.MAP_NAMES]
    assert all(m.files[0] == f"maps/{m.map_name}.png" for m in told[1:])
    whole = bundle.read_bundle(bench.jobs / "job")
    assert whole.manifest.displacement_scale_m > 0
    early, late = seen["partial UV"].mesh, whole.mesh
    assert early.vertices_neutral_head.tobytes() == late.vertices_neutral_head.tobytes()


def test_a_second_job_takes_its_stages_from_the_cache(bench: Bench, engine: MadeUp) -> None:
    bench.run("first")
    engine.calls.clear()
    told = bench.run("second")
    assert engine.calls == ["preview"]
    assert [m.stage for m in of(StageFinished, told) if m.cached] == STAGES[1:7]
    first, second = bench.jobs / "first", bench.jobs / "second"
    for path in sorted(p for p in first.rglob("*") if p.suffix in {".png", ".npz", ".jpg"}):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes(), path.name
    a, b = (json.loads((d / "avatar.json").read_text()) for d in (first, second))
    for manifest in (a, b):
        manifest.pop("peak_rss_mb")
        for stage in manifest["stages"]:
            stage.pop("seconds")
    assert a == b


def test_corrections_are_stages_of_their_own(bench: Bench, engine: MadeUp) -> None:
    bench.run("first")
    engine.calls.clear()
    mask = bench.data / "mask.png"
    cv2.imwrite(str(mask), np.full((240, 320), 255, np.uint8)[:, :])
    pins = (Pin(landmark=4, x_px=10.0, y_px=20.0),)
    told = bench.run("second", pins=pins, exclude_path=str(mask))
    assert isinstance(told[-1], JobDone), told[-1]
    expected = [*STAGES[:3], "pins", "mask", *STAGES[3:]]
    assert [m.stage for m in of(StageStarted, told)] == expected
    assert "head fit" not in engine.calls
    assert len([m for m in of(PartialReady, told) if m.kind == "mesh"]) == 1


@pytest.mark.parametrize("stage", [*STAGES[1:7], "preview"])
def test_cancel_at_every_stage_leaves_nothing(bench: Bench, engine: MadeUp, stage: str) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert go_on.wait(20)

    engine.during[stage] = wait
    bench.send(bench.order())
    assert reached.wait(20)
    bench.send(CancelJob(job="another"))
    bench.send(CancelJob(job="job"))
    deadline = time.monotonic() + 20
    while not bench._worker._inbox.is_cancelled("job"):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    go_on.set()
    told = bench.until(JobDone, JobFailed)
    assert isinstance(told[-1], JobFailed)
    assert told[-1].problem.code == "cancelled"
    assert of(StageStarted, told)[-1].stage == stage
    assert list(bench.jobs.iterdir()) == []
    engine.during.clear()
    assert isinstance(bench.run()[-1], JobDone)  # the same name again, not cancelled any more


def test_a_waiting_job_can_be_cancelled(bench: Bench, engine: MadeUp) -> None:
    go_on = threading.Event()
    engine.during["head fit"] = lambda: go_on.wait(20)
    bench.send(bench.order("first"))
    bench.send(bench.order("second"))
    bench.send(CancelJob(job="second"))
    while not bench._worker._inbox.is_cancelled("second"):
        time.sleep(0.005)
    go_on.set()
    assert isinstance(bench.until(JobDone, JobFailed)[-1], JobDone)
    failed = bench.until(JobDone, JobFailed)[-1]
    assert isinstance(failed, JobFailed)
    assert (failed.job, failed.problem.code) == ("second", "cancelled")
    assert [p.name for p in bench.jobs.iterdir()] == ["first"]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), "out_of_resources", "memory"),
        (OSError(28, "No space left on device", "/x"), "out_of_resources", "disk is full"),
        (BadInput("no face; give another"), "bad_input", "no face"),
        (Missing("weights are gone; reinstall"), "missing", "reinstall"),
        (ZeroDivisionError("oh"), "bug", "ZeroDivisionError"),
    ],
)
@pytest.mark.parametrize("stage", ["observation", "materials"])
def test_a_failure_is_the_jobs_alone(
    bench: Bench, engine: MadeUp, stage: str, error: Exception, code: str, says: str
) -> None:
    def fail() -> None:
        raise error

    engine.during[stage] = fail
    failed = bench.run()[-1]
    assert isinstance(failed, JobFailed)
    assert failed.problem.code == code
    assert says in failed.problem.message
    assert "\n" not in failed.problem.message
    assert list(bench.jobs.iterdir()) == []
    if code == "bug":
        report = Path(failed.problem.report or "")
        assert "ZeroDivisionError: oh" in report.read_text()
        report.unlink()
    engine.during.clear()
    assert isinstance(bench.run()[-1], JobDone)


@pytest.mark.parametrize(
    "changes",
    [
        {"photo_path": "/nowhere/photo"},
        {"options": Options(maps=77)},
        {"exclude_path": "/nowhere/mask.png"},
    ],
)
def test_what_cannot_be_done_is_told(bench: Bench, changes: dict[str, object]) -> None:
    failed = bench.run(**changes)[-1]
    assert isinstance(failed, JobFailed)
    assert failed.problem.code == "bad_input"
    assert list(bench.jobs.iterdir()) == []


def test_a_mask_of_another_size_is_refused(bench: Bench) -> None:
    mask = bench.data / "mask.png"
    cv2.imwrite(str(mask), np.zeros((24, 32), np.uint8))
    failed = bench.run(exclude_path=str(mask))[-1]
    assert "32×24" in failed.problem.message
    assert failed.problem.code == "bad_input"


def test_leftovers_of_a_killed_worker_do_not_mix_in(bench: Bench) -> None:
    leftover = partial_directory(bench.jobs / "job") / "maps"
    leftover.mkdir(parents=True)
    (leftover / "old.png").write_bytes(b"half")
    done = bench.run()[-1]
    assert isinstance(done, JobDone)
    assert not any("old" in name for name, _ in done.files)


def test_a_finished_folder_is_replaced_only_by_a_whole_one(bench: Bench, engine: MadeUp) -> None:
    bench.run()
    before = (bench.jobs / "job" / "avatar.json").read_bytes()

    def fail() -> None:
        raise BadInput("no")

    engine.during["preview"] = fail
    bench.run(options=Options(maps=512, seed=9))
    assert (bench.jobs / "job" / "avatar.json").read_bytes() == before
    engine.during.clear()
    assert isinstance(bench.run(options=Options(maps=512, seed=9))[-1], JobDone)
    assert bundle.read_bundle(bench.jobs / "job").manifest.seed == 9


def test_requests_are_answered_while_a_job_runs(bench: Bench, engine: MadeUp) -> None:
    bench.run("done")
    go_on = threading.Event()
    engine.during["preview"] = lambda: go_on.wait(20)
    bench.send(bench.order("busy"))
    weights = np.zeros((2, 3), "<f4")
    bench.send(RunDrive(request=3, directory=str(bench.jobs / "done"), frames=2, weights=weights.tobytes()))
    answer = bench.until(worker_module.DriveDone, RequestFailed)[-1]
    assert not isinstance(answer, RequestFailed), answer
    neutral = bundle.read_mesh(bench.jobs / "done").vertices_neutral_head
    assert np.frombuffer(answer.data, "<f4").reshape(2, -1, 3)[1].tobytes() == neutral.tobytes()
    go_on.set()
    assert isinstance(bench.until(JobDone, JobFailed)[-1], JobDone)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (RunDrive(request=1, directory="/nowhere", frames=1, weights=b"\0" * 12), "incomplete"),
        (RunRefine(request=2, directory="/nowhere", pins=()), "not an avatar"),
        (RunDrive(request=3, directory="DONE", frames=1, weights=b"\0" * 8), "3 expressions"),
        (RunDrive(request=4, directory="DONE", frames=0, weights=b""), "0 frames"),
        (RunDrive(request=5, directory="DONE", frames=1, weights=np.float32([0, 2, 0]).tobytes()), "between"),
    ],
)
def test_requests_that_cannot_be_answered_fail_alone(bench: Bench, request_, says: str) -> None:
    import msgspec

    bench.run("done")
    if request_.directory == "DONE":
        request_ = msgspec.structs.replace(request_, directory=str(bench.jobs / "done"))
    bench.send(request_)
    answer = bench.until(RequestFailed)[-1]
    assert answer.request == request_.request
    assert answer.problem.code == "bad_input"
    assert says in answer.problem.message


def test_memory_is_given_back_on_request(bench: Bench) -> None:
    bench.send(FreeMemory())
    freed = bench.until(Freed)[-1]
    assert freed.bytes >= 0
    assert isinstance(bench.run()[-1], JobDone)


def test_forgotten_photos_leave_memory_at_once_and_after_the_job(bench: Bench, engine: MadeUp) -> None:
    """What drags keep goes while a job runs; what jobs keep goes when it is over."""
    bench.run("done")
    weights = np.zeros((1, 3), "<f4").tobytes()
    bench.send(RunDrive(request=1, directory=str(bench.jobs / "done"), frames=1, weights=weights))
    bench.until(worker_module.DriveDone)
    assert drive._posed.cache_info().currsize == 1
    go_on = threading.Event()
    engine.during["preview"] = lambda: go_on.wait(20)
    bench.send(bench.order("busy"))
    bench.send(ForgetPhotos())
    bench.send(RunDrive(request=2, directory="/nowhere", frames=1, weights=weights))  # answered after it
    bench.until(RequestFailed)
    assert drive._posed.cache_info().currsize == 0
    load_head("open")
    go_on.set()
    assert isinstance(bench.until(JobDone, JobFailed)[-1], JobDone)
    bench.send(bench.order("/nowhere/job"))  # in turn, so it ends after what was to be forgotten
    bench.until(JobFailed)
    assert load_head.cache_info().currsize == 0


def test_the_heart_beats_while_a_job_is_stuck(bench: Bench, engine: MadeUp) -> None:
    go_on = threading.Event()
    engine.during["head fit"] = lambda: go_on.wait(20)
    bench.send(bench.order())
    while (beat := bench.until(Heartbeat)[-1]).job != "job":
        pass
    assert beat.rss_bytes is None or beat.rss_bytes > 1 << 20
    go_on.set()
    bench.until(JobDone)


def start(data: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "backend.server.worker", "--device", "cpu", "--data", str(data)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("end", ["stop", "end of pipe", "noise"])
def test_a_real_worker_ends_with_its_server(tmp_path: Path, end: str) -> None:
    process = start(tmp_path)
    assert process.stdin is not None
    assert process.stdout is not None
    ready = reader_from_worker(process.stdout).receive()
    assert isinstance(ready, Ready)
    assert ready.pid == process.pid
    process.stdin.write({"stop": pack(Stop()), "end of pipe": b"", "noise": b"\xff" * 64}[end])
    process.stdin.flush()
    if end == "end of pipe":
        process.stdin.close()
    process.stdout.close()  # nobody listens any more
    assert process.wait(60) == 0
