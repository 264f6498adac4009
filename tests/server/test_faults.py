"""What breaks: workers, server, Blender, disk. Nothing is lost, nothing hangs, every failure is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_worker import STAGES
from harness import PATIENCE_S, PHOTO, ROOT, bytes_below

from blender_addon import protocol as p
from blender_addon.connection import CONNECTION_NAME


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]


def wait_until(condition) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("stage", range(len(STAGES)))
def test_worker_killed_at_a_stage_fails_that_job_alone(client, server, stage):
    job = client.submit(f"crash@{stage}")
    next_one = client.submit()
    failed = client.wait(job, p.Failed)
    assert failed.info.problem.code == "worker_died"
    assert "SIGKILL" in failed.info.problem.message
    assert failed.info.stage == STAGES[stage]
    client.wait(next_one, p.Done)
    assert "SIGKILL" in client.state().workers[0].last_exit
    assert [path.name for path in (server.data / "jobs").iterdir()] == [next_one]


@pytest.mark.parametrize(
    ("engine", "code", "words"),
    [
        ("segv@1", "worker_died", "SIGSEGV"),
        ("exit@1", "worker_died", "numba cannot be imported"),
        ("garbage@1", "worker_died", "SIGKILL"),
        ("memory@2", "out_of_resources", "out of memory"),
        ("bad_input@0", "bad_input", "use one that shows a face"),
    ],
)
def test_each_failure_comes_with_its_reason(client, engine, code, words):
    failed = client.wait(client.submit(engine), p.Failed)
    assert failed.info.problem.code == code
    assert words in failed.info.problem.message
    client.wait(client.submit(), p.Done)


def test_failed_job_is_rerun_under_its_own_name(client):
    job = client.submit("crash@2")
    first = client.wait(job, p.Failed)
    accepted = client.ask(p.Rerun, job=job)
    assert accepted.job == job
    second = client.wait(job, p.Failed)
    assert second.number > first.number
    client.kept.clear()
    client.ask(p.Attach, job=job)
    replayed = [client.wait(job, p.Failed).number, client.wait(job, p.Failed).number]
    assert replayed == [first.number, second.number]  # both attempts, without a gap
    kept = [e for e, _ in client.kept if not isinstance(e, p.StageProgress)]
    numbers = sorted([*replayed, *(event.number for event in kept)])
    assert numbers == list(range(1, second.number + 1))
    assert all(event.files == () for event in kept if isinstance(event, p.Partial))
    done = client.submit()
    client.wait(done, p.Done)
    assert client.ask(p.Rerun, job=done).problem.code == "refused"


def test_worker_that_cannot_start_fails_waiting_jobs_with_the_reason(start, connect):
    client = connect(start("--fail-start"))
    jobs = [client.submit(), client.submit()]
    for job in jobs:
        failed = client.wait(job, p.Failed)
        assert failed.info.problem.code == "worker_died"
        assert "no module named torch" in failed.info.problem.message


def test_server_killed_then_interrupted_job_is_rerun_and_queue_goes_on(start, connect):
    server = start()
    client = connect(server)
    finished, running, queued = client.submit(), client.submit("slow@0"), client.submit()
    client.wait(running, p.StageFinished)
    (worker,) = client.state().workers
    client.close()
    server.kill()
    wait_until(lambda: not alive(worker.pid))  # the worker ends with its server
    server = start()
    client = connect(server)
    assert not list(server.data.glob("jobs/*.partial"))
    info = client.info(running)
    assert info.state == "interrupted"
    assert "run it again" in info.problem.message
    assert client.info(finished).state == "done"
    assert Path(client.info(finished).directory, "mesh.npz").read_bytes() == PHOTO
    wait_until(lambda: client.info(queued).state == "done")
    assert client.ask(p.Rerun, job=running).job == running
    client.wait(running, p.Done)


def test_what_killed_writes_left_is_gone_after_the_next_start(start, data):
    start().kill()
    stage = data / "cache" / ("0" * 64)
    stage.mkdir()
    whole = stage / "abc.safetensors"
    left = [
        stage / ".abc.1234.partial",
        data / "photos" / ".x.partial",
        data / "jobs" / "j.partial" / "mesh.npz",
    ]
    left[2].parent.mkdir()
    for path in (whole, *left):
        path.write_bytes(b"half")
    start()
    assert whole.exists()
    assert not any(path.exists() for path in left)


def test_orderly_stop_says_goodbye_and_leaves_nothing_running(server, client):
    running = client.submit("slow@0")
    client.wait(running, p.StageStarted)
    (worker,) = client.state().workers
    sockets = Path(server.connection.commands.removeprefix("ipc://")).parent
    assert sockets.stat().st_mode & 0o777 == 0o700
    assert (server.data / CONNECTION_NAME).stat().st_mode & 0o777 == 0o600
    assert isinstance(client.ask(p.Shutdown), p.Ok)
    while not isinstance(client.event()[0], p.Goodbye):
        pass
    assert server.ended() == 0
    assert not (server.data / CONNECTION_NAME).exists()
    assert not sockets.exists()
    wait_until(lambda: not alive(worker.pid))
    assert not list(server.data.glob("jobs/*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_in_order(server, client, number):
    hung = client.submit("hang@1")
    while client.wait(hung, p.StageStarted).stage != STAGES[1]:
        pass
    server.process.send_signal(number)
    while not isinstance(client.event()[0], p.Goodbye):
        pass
    assert server.stop() == 0
    assert not (server.data / CONNECTION_NAME).exists()


def test_server_ends_when_its_parent_is_gone_and_nobody_needs_it(start, connect):
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    server = start("--parent", str(parent.pid), "--quiet-s", "0.2")
    client = connect(server)
    job = client.submit("slow@0")
    client.wait(job, p.StageStarted)
    parent.communicate()
    client.wait(job, p.Done)  # what runs is finished first
    client.close()
    assert server.process.wait(timeout=PATIENCE_S) == 0


def test_second_server_on_the_same_folder_says_so(server, start):
    second = start(wait=False)
    _, error = second.process.communicate(timeout=PATIENCE_S)
    assert second.process.returncode == 3
    assert f"pid {server.process.pid}" in error
    assert error.count("\n") == 1
    assert (server.data / CONNECTION_NAME).exists()


def test_taken_port_is_one_line(start, tmp_path):
    import socket

    clients = tmp_path / "clients"
    clients.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start("--bind", f"tcp://127.0.0.1:{port}", "--authorize", str(clients), wait=False)
        _, error = server.process.communicate(timeout=PATIENCE_S)
    assert server.process.returncode == 3
    assert "taken" in error
    assert error.count("\n") == 1
    assert not (server.data / CONNECTION_NAME).exists()


def test_no_rights_to_the_folder_is_one_line(start, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    server = start(folder=tmp_path / "file", wait=False)
    _, error = server.process.communicate(timeout=PATIENCE_S)
    assert server.process.returncode == 3
    assert error.count("\n") == 1


def test_damaged_journal_is_one_line(start, data):
    data.mkdir()
    (data / "journal.sqlite").write_bytes(b"not a database" * 100)
    server = start(wait=False)
    _, error = server.process.communicate(timeout=PATIENCE_S)
    assert server.process.returncode == 3
    assert "move it away" in error


def test_full_disk_is_told_and_the_server_goes_on(start, connect):
    """A limit on the size of files stands for a full disk: writes fail in the middle."""
    server = start("--max-file-bytes", str(200_000))
    client = connect(server)
    reply = client.ask(p.Submit, [b"x" * 300_000], name="big", photo_frame=0)
    assert reply.problem.code == "out_of_resources"
    assert "free some space" in reply.problem.message
    assert list((server.data / "photos").iterdir()) == []
    # The journal's log grows until it is full: the first submit that does not fit is refused as a whole.
    answers = []
    for n in range(400):
        photo = b"%d" % n * 20
        reply = client.ask(p.Submit, [photo], name="n", photo_frame=0, options=p.Options(engine="x" * 3000))
        answers.append(reply)
        if isinstance(reply, p.Failure):
            break
    assert isinstance(answers[-1], p.Failure)
    assert answers[-1].problem.code == "out_of_resources"
    assert isinstance(client.ask(p.Ping), p.Ok)
    kept = {info.photo_sha256 for info in client.state().jobs}
    assert {path.name for path in (server.data / "photos").iterdir()} <= kept


def test_forget_leaves_no_bytes_of_the_photo(client, server):
    other_photo = b"somebody else" * 100
    keep = client.submit(photo=other_photo)
    done, failed = client.submit(), client.submit("bad_input@3")
    for job in (keep, done, failed):
        client.wait(job)
    running = client.submit("hang@2")
    queued = client.submit()
    while client.wait(running, p.StageStarted).stage != STAGES[2]:
        pass
    marker = PHOTO[-64:]  # also what the previews carry
    assert len(bytes_below(server.data, marker)) > 3
    sha = client.info(done).photo_sha256
    freed = client.ask(p.Forget, photo_sha256=sha)
    assert freed.freed_bytes > len(PHOTO)
    assert bytes_below(server.data, marker) == []
    assert bytes_below(server.data, PHOTO[:32]) == []
    assert bytes_below(server.data, sha.encode()) == []
    for job in (done, failed, running, queued):
        client.wait(job, p.Forgotten)
        assert client.ask(p.Attach, job=job).problem.code == "unknown_job"
    (left,) = client.state().jobs
    assert left.job == keep
    assert bytes_below(server.data, other_photo[:64])
    assert client.ask(p.Forget, photo_sha256=sha).freed_bytes == 0
    assert client.ask(p.Forget, photo_sha256="../../x").problem.code == "refused"
    client.wait(client.submit(), p.Done)


@pytest.mark.parametrize("busy", [False, True])
def test_forget_reaches_the_memory_of_workers(client, server, busy):
    """Also of one that works on another photo meanwhile; nobody waits for that."""
    done = client.submit()
    client.wait(done, p.Done)
    log = server.data / "logs" / "worker-cpu.log"
    assert "forgot" not in log.read_text()
    other = client.submit("slow@0", photo=b"somebody else" * 100) if busy else None
    if other is not None:
        client.wait(other, p.StageStarted)
    assert isinstance(client.ask(p.Forget, photo_sha256=client.info(done).photo_sha256), p.Freed)
    if other is not None:
        assert client.info(other).state == "running"
        client.wait(other, p.Done)
    wait_until(lambda: "forgot" in log.read_text())


def test_ready_without_heavy_modules():
    """The server process must stay small: it never imports numpy, torch or asyncio."""
    code = (
        "import sys, backend.cli, backend.server.serve;"
        "print([m for m in ('numpy', 'torch', 'asyncio', 'pydantic', 'cv2') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_idle_server_uses_no_processor_time(server, client):
    """No busy waiting: an idle second costs next to nothing."""
    client.wait(client.submit(), p.Done)

    def cpu_s() -> float:
        fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu_s()
    time.sleep(1.5)
    assert cpu_s() - before < 0.15
