"""``likeness serve`` as users start it, with its real workers: a job, the cache, kills, forgetting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from harness import ROOT, Client, bytes_below
from portraits import DATA

from blender_addon import protocol as p
from blender_addon.bundle import read_bundle
from blender_addon.connection import read_connection

pytestmark = pytest.mark.slow

PHOTO = (DATA / "portrait_front.jpg").read_bytes()
SLOWLY_S = 300.0


@pytest.fixture
def real(data):
    code = "import sys; from backend.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--data", str(data)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "serves" in process.stdout.readline()
    client = Client(read_connection(data / "connection.json"))
    client.hello()
    yield client
    client.close()
    process.terminate()
    assert process.wait(timeout=30) == 0


def submit(client: Client, **options) -> str:
    options = p.Options(maps=512, **options)
    return client.ask(p.Submit, [PHOTO], name="front", photo_frame=0, options=options).job


def test_a_job_its_worker_killed_and_run_again(real, data):
    job = submit(real)
    real.wait(job, p.Partial, timeout_s=SLOWLY_S)
    (worker,) = real.state().workers
    os.kill(worker.pid, signal.SIGKILL)
    failed = real.wait(job, p.Failed, timeout_s=SLOWLY_S)
    assert failed.info.problem.code == "worker_died"
    assert "memory" in failed.info.problem.message  # what a kill by the system mostly means
    assert list((data / "jobs").iterdir()) == []

    real.kept.clear()
    real.ask(p.Rerun, job=job)
    done = real.wait(job, p.Done, timeout_s=SLOWLY_S)
    cached = {e.stage: e.cached for e, _ in real.kept if isinstance(e, p.StageFinished)}
    assert cached["observation"]  # what the killed worker had finished was not done again
    kinds = [e.map_name for e, _ in real.kept if isinstance(e, p.Partial) and e.kind == "map"]
    assert {"albedo", "normal", "roughness", "specular", "displacement"} <= set(kinds)
    avatar = read_bundle(data / "jobs" / job)
    assert avatar.manifest.photo.sha256 == done.info.photo_sha256

    again = submit(real)
    real.ask(p.Cancel, job=again)
    real.wait(again, p.Cancelled, timeout_s=SLOWLY_S)

    reply, bulk = real.ask_bulk(p.Refine, job=job, pins=(), timeout_s=SLOWLY_S)
    assert isinstance(reply, p.Refined), reply
    assert [len(frame) for frame in bulk] == [reply.vertices * 12] * 2 + [478 * 8]
    weights = np.zeros((2, len(avatar.mesh.expression_names)), np.float32)
    reply, bulk = real.ask_bulk(p.Drive, [weights.tobytes()], job=job, frames=2, timeout_s=SLOWLY_S)
    assert isinstance(reply, p.Driven), reply
    assert len(bulk[0]) == 2 * reply.vertices * 12

    assert real.ask(p.FreeMemory, timeout_s=SLOWLY_S).freed_bytes >= 0
    assert real.ask(p.Forget, photo_sha256=done.info.photo_sha256, timeout_s=SLOWLY_S).freed_bytes > len(
        PHOTO
    )
    assert bytes_below(data, PHOTO[1000:1064]) == []
    for folder in ("photos", "jobs", "cache"):
        assert list((data / folder).iterdir()) == []
