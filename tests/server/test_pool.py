"""The pool on a clock of the test's own, with real (fake) worker processes."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
from harness import PATIENCE_S

from backend.server import pool as pools
from backend.server import worker_protocol as wp
from backend.server.pool import Died, Pool
from blender_addon.protocol import Options

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")


@pytest.fixture
def make(tmp_path):
    made: list[Pool] = []

    def run(*extra: str, devices=("cpu",)) -> Pool:
        def command(device):
            return [sys.executable, str(FAKE_WORKER), "--device", device, "--data", str(tmp_path), *extra]

        made.append(Pool(devices, command, tmp_path, threading.Event().set))
        return made[-1]

    yield run
    for pool in made:
        pool.kill_all()


def wait_for(pool: Pool, now: float, kind):
    """The first message of ``kind``, the pool's clock standing at ``now``."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for worker, message in pool.messages(now):
            if isinstance(message, kind):
                return worker, message
        time.sleep(0.01)
    raise AssertionError(f"no {kind}")


def job(tmp_path: Path, engine: str) -> wp.RunJob:
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "photo").write_bytes(b"photo")
    return wp.RunJob(
        job="j",
        photo_path=str(tmp_path / "photo"),
        photo_name="p",
        options=Options(engine=engine),
        directory=str(tmp_path / "j"),
    )


def test_a_worker_that_gives_no_sign_of_life_is_ended(make, tmp_path):
    pool = make()
    pool.start_one(0.0)
    worker, _ = wait_for(pool, 0.0, wp.Ready)
    pool.hand(worker, "j", job(tmp_path, "hang@0"), 0.0)
    wait_for(pool, 10.0, wp.StageProgress)
    assert pool.next_deadline(10.0, work_waits=False) == 10.0 + pools.SILENCE_SECONDS
    pool.tick(10.0 + pools.SILENCE_SECONDS - 1)
    assert worker.killed_for is None
    pool.tick(10.0 + pools.SILENCE_SECONDS + 1)
    _, died = wait_for(pool, 140.0, Died)
    assert not died.asked
    assert died.task == "j"
    assert "no sign of life" in died.reason
    assert pool.infos(lambda _: True)[0].last_exit == died.reason


def test_an_idle_worker_is_ended_and_comes_back_when_needed(make):
    pool = make()
    pool.start_one(0.0)
    worker, _ = wait_for(pool, 0.0, wp.Ready)
    pool.tick(pools.IDLE_SECONDS - 1)
    assert pool.idle_worker() is worker
    pool.tick(pools.IDLE_SECONDS + 1)
    assert pool.idle_worker() is None
    _, died = wait_for(pool, pools.IDLE_SECONDS + 1, Died)
    assert died.asked
    (info,) = pool.infos(lambda _: True)
    assert (info.state, info.pid, info.last_exit) == ("stopped", None, None)
    pool.start_one(pools.IDLE_SECONDS + 2)
    wait_for(pool, pools.IDLE_SECONDS + 2, wp.Ready)


def test_crashes_are_followed_by_longer_and_longer_waits(make):
    pool = make("--fail-start")
    now, waits = 0.0, []
    for _ in range(4):
        pool.start_one(now)
        wait_for(pool, now, Died)
        start = pool.next_deadline(now, work_waits=True)
        waits.append(start - now)
        pool.start_one(start - 0.01)
        assert pool.empty or start == now
        now = start
    assert waits == list(pools.BACKOFF_SECONDS[:4])
    assert "no module named torch" in pool.failing()


def test_a_program_that_is_not_there_is_told(tmp_path):
    pool = Pool(["cpu"], lambda device: [str(tmp_path / "nothing")], tmp_path, threading.Event().set)
    for now in (0.0, 100.0, 200.0):
        assert pool.failing() is None
        pool.start_one(now)
    assert "could not be started" in pool.failing()


def test_a_short_request_that_is_never_answered_ends_the_worker(make):
    pool = make()
    pool.start_one(0.0)
    worker, _ = wait_for(pool, 0.0, wp.Ready)
    pool.hand_aside(worker, wp.CancelJob(job="nothing"), 0.0)  # no answer comes to this
    assert pool.worker_for_aside() is None
    pool.tick(pools.ASIDE_SECONDS + 1)
    _, died = wait_for(pool, 61.0, Died)
    assert "not answered" in died.reason
