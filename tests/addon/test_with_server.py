"""Client, supervisor and download against the real server (with workers that only pretend)."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from harness import PHOTO, ROOT, SERVER_PROCESS

from backend.server.keys import new_key_pair
from blender_addon import protocol
from blender_addon.client import Client, Connected, Received
from blender_addon.connection import CONNECTION_NAME, read_connection
from blender_addon.download import bring_job
from blender_addon.supervisor import ServerProcess, Supervisor, clean_environment

PATIENCE_S = 30.0
FINAL = (protocol.Done, protocol.Failed, protocol.Cancelled)


class Backend:
    """A supervisor of the real server on ``data``."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        self.processes: list[ServerProcess] = []
        self.arguments = arguments
        self.supervisor = Supervisor(
            spawn=self._spawn,
            open_client=lambda: Client(data / CONNECTION_NAME, "test 0"),
            process_log=data / "logs" / "process.log",
        )

    def _spawn(self) -> ServerProcess:
        command = [sys.executable, str(SERVER_PROCESS), "--data", str(self.data), *self.arguments]
        environment = clean_environment(os.environ) | {"PYTHONPATH": str(ROOT)}
        log = self.data / "logs" / "process.log"
        self.processes.append(ServerProcess(command, log, environment))
        return self.processes[-1]

    @property
    def client(self) -> Client:
        assert self.supervisor.client is not None
        return self.supervisor.client

    def until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < end, self.supervisor.state
            self.supervisor.poll()
            time.sleep(0.02)

    def start(self) -> None:
        self.supervisor.start()
        self.until(lambda: self.supervisor.state.phase == "running")

    def ask(self, message: protocol.Request, bulk: Any = ()) -> Any:
        return self.client.request(message, bulk).result(PATIENCE_S).reply


def events_until_final(client: Client) -> list[protocol.JobEvent]:
    """The events of a single job, progress left out."""
    events: list[protocol.JobEvent] = []
    while not events or not isinstance(events[-1], FINAL):
        happening = client.events.get(timeout=PATIENCE_S)
        if isinstance(happening, Received) and not isinstance(happening.event, protocol.StageProgress):
            assert not isinstance(happening.event, protocol.Listening | protocol.Goodbye)
            events.append(happening.event)
    return events


@pytest.fixture
def open_backend(tmp_path: Path) -> Iterator[Callable[..., Backend]]:
    opened: list[Backend] = []

    def run(*arguments: str) -> Backend:
        opened.append(Backend(tmp_path / "data", *arguments))
        return opened[-1]

    yield run
    for backend in opened:
        backend.supervisor.leave()
        for process in backend.processes:
            process.kill()


def submit(**changes: Any) -> protocol.Submit:
    return protocol.Submit(id=0, name="anna", photo_frame=0, **changes)


def test_a_job_from_start_to_stop(open_backend: Callable[..., Backend]) -> None:
    backend = open_backend()
    backend.start()
    accepted = backend.ask(submit(options=protocol.Options(engine="good")), [PHOTO])
    events = events_until_final(backend.client)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    done = events[-1]
    assert isinstance(done, protocol.Done)
    assert done.job == accepted.job
    folder = bring_job(backend.client, done.info, backend.data / "unused")
    assert folder == backend.data / "jobs" / accepted.job
    assert (folder / "mesh.npz").read_bytes() == PHOTO
    assert backend.supervisor.stop_and_wait()
    assert not (backend.data / CONNECTION_NAME).exists()


def test_server_killed_in_the_middle_of_a_job(open_backend: Callable[..., Backend]) -> None:
    backend = open_backend()
    backend.start()
    accepted = backend.ask(submit(options=protocol.Options(engine="slow@0")), [PHOTO])
    first = []
    while not first or not isinstance(first[-1], protocol.StageFinished):
        happening = backend.client.events.get(timeout=PATIENCE_S)
        if isinstance(happening, Received) and not isinstance(happening.event, protocol.StageProgress):
            first.append(happening.event)
    os.kill(backend.processes[0].pid, 9)
    backend.until(lambda: backend.supervisor.state.phase == "waiting")
    backend.until(lambda: backend.supervisor.state.phase == "running")
    assert "memory" in backend.supervisor.state.message
    (info,) = backend.ask(protocol.List(id=0)).jobs
    assert (info.job, info.state) == (accepted.job, "interrupted")
    assert backend.ask(protocol.Rerun(id=0, job=accepted.job)).job == accepted.job
    events = first + events_until_final(backend.client)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert isinstance(events[-1], protocol.Done)


def test_two_blenders_share_one_server(open_backend: Callable[..., Backend]) -> None:
    one, other = open_backend(), open_backend()
    one.supervisor.start()
    other.supervisor.start()  # both find no server and start one; one of them wins
    one.until(lambda: other.supervisor.poll().phase == one.supervisor.state.phase == "running")
    # The loser may hear the winner's server before its own has found the folder taken and ended.
    one.until(lambda: one.supervisor.state.adopted != other.supervisor.poll().adopted)
    assert one.supervisor.state.phase == other.supervisor.state.phase == "running"
    assert one.ask(protocol.List(id=0)).uptime_s >= 0
    assert other.ask(protocol.List(id=0)).uptime_s >= 0


def test_start_that_cannot_work_says_why(open_backend: Callable[..., Backend], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jobs").write_text("a file in the way")
    backend = open_backend()
    backend.supervisor.start()
    backend.until(lambda: backend.supervisor.state.phase == "gave_up")
    assert backend.supervisor.state.message
    assert len(backend.processes) == 1
    assert backend.supervisor.log_tail()


def test_as_from_another_machine(open_backend: Callable[..., Backend], tmp_path: Path) -> None:
    keys, allowed = new_key_pair(), tmp_path / "clients"
    allowed.mkdir()
    backend = open_backend("--tcp", "--authorize", str(allowed))
    backend.start()
    local = read_connection(backend.data / CONNECTION_NAME)
    remote_file = tmp_path / "anna.connection.json"
    record = msgspec.structs.replace(
        local, pid=None, client_public_key=keys.public, client_secret_key=keys.secret
    )
    remote_file.write_bytes(msgspec.json.encode(record))
    client = Client(remote_file, "test elsewhere")
    try:
        lost = client.events.get(timeout=PATIENCE_S)
        assert client.problem is not None
        assert "does not accept this client's key" in lost.problem.message
        (allowed / "anna.pub").write_text(keys.public)
        while not isinstance(client.events.get(timeout=PATIENCE_S), Connected):
            continue
        assert client.welcome is not None
        assert not client.welcome.same_machine
        big = PHOTO * 900  # 9 MB: several pieces
        client.request(submit(options=protocol.Options(engine="good")), [big]).result(PATIENCE_S)
        done = events_until_final(client)[-1]
        assert isinstance(done, protocol.Done)
        assert done.info.directory is None
        folder = bring_job(client, done.info, tmp_path / "avatars")
        assert (folder / "mesh.npz").read_bytes() == big
        assert (folder / "maps/albedo.png").read_bytes() == 3 * big
    finally:
        client.close()
