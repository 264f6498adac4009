"""The supervisor with a fake clock, process and client; and once with real ones."""

from __future__ import annotations

import signal
import sys
import textwrap
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer

from blender_addon import protocol, supervision
from blender_addon.client import Client
from blender_addon.connection import ALREADY_RUNS
from blender_addon.exit_codes import judge
from blender_addon.protocol import Problem
from blender_addon.supervisor import ServerProcess, Supervisor, clean_environment, serve_command

NOBODY = Problem(code="missing", message="no backend is running")


@dataclass
class FakeProcess:
    """Ends when the test says so; obeys ``kill``, and ``terminate`` unless it is stubborn."""

    code: int | None = None
    stubborn: bool = False
    calls: list[str] = field(default_factory=list)

    def exit_code(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.calls.append("terminate")
        if not self.stubborn and self.code is None:
            self.code = -signal.SIGTERM

    def kill(self) -> None:
        self.calls.append("kill")
        if self.code is None:
            self.code = -9


@dataclass
class FakeClient:
    connected: bool = False
    problem: Problem | None = None
    requests: list[Any] = field(default_factory=list)
    closed: bool = False

    def request(self, message: Any, bulk: Any = (), timeout_s: float = 30.0) -> Future[Any]:
        self.requests.append(message)
        return Future()

    def close(self, wait_s: float = 1.0) -> None:
        self.closed, self.connected = True, False


class World:
    """A supervisor among fakes. ``client`` and ``processes`` stay after the supervisor has let go."""

    def __init__(self, folder: Path, *, running_already: bool = False) -> None:
        self.now = 1000.0
        self.processes: list[FakeProcess] = []
        self.client = FakeClient()
        self.running_already = running_already
        self.log = folder / "process.log"
        self.spawn_error: OSError | None = None
        self.supervisor = Supervisor(
            spawn=self._spawn, open_client=self._open, process_log=self.log, clock=lambda: self.now
        )

    def _spawn(self) -> FakeProcess:
        if self.spawn_error is not None:
            raise self.spawn_error
        self.processes.append(FakeProcess())
        return self.processes[-1]

    def _open(self) -> FakeClient:
        self.client = FakeClient(self.running_already, None if self.running_already else NOBODY)
        return self.client

    @property
    def process(self) -> FakeProcess:
        return self.processes[-1]

    def connect(self) -> None:
        self.client.connected, self.client.problem = True, None

    def cut(self) -> None:
        self.client.connected, self.client.problem = False, NOBODY

    def after(self, seconds: float) -> supervision.State:
        """Poll every 0.1 s for ``seconds``."""
        for _ in range(max(1, round(seconds * 10))):
            self.now += 0.1
            self.supervisor.poll()
        return self.supervisor.state

    def run(self) -> None:
        self.supervisor.start()
        self.after(0.2)
        self.connect()
        assert self.after(0.1).phase == "running"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_starts_a_process_and_runs_when_it_answers(world: World) -> None:
    world.supervisor.start()
    assert world.after(0.1).phase == "starting"
    assert world.after(5).phase == "starting"
    world.connect()
    state = world.after(0.1)
    assert (state.phase, state.adopted, state.message) == ("running", False, "")
    assert len(world.processes) == 1


def test_adopts_a_server_that_answers(tmp_path: Path) -> None:
    world = World(tmp_path, running_already=True)
    world.supervisor.start()
    state = world.after(0.1)
    assert (state.phase, state.adopted) == ("running", True)
    assert not world.processes


def test_an_undecided_look_ends_in_a_start(world: World) -> None:
    world.supervisor.start()
    world.client.problem = None  # the client hangs in its handshake
    assert world.after(supervision.LOOK_S - 0.5).phase == "looking"
    assert world.after(1).phase == "starting"


def test_a_server_that_will_not_talk_holds_the_folder(world: World) -> None:
    world.supervisor.start()
    world.client.problem = Problem(code="protocol", message="update the add-on")
    assert world.after(0.1).phase == "starting"
    world.process.code = 3
    state = world.after(0.3)
    assert (state.phase, state.message) == ("gave_up", "update the add-on")
    assert world.client.closed
    assert len(world.processes) == 1


@pytest.mark.parametrize("code", ["refused", "protocol", "missing"])
def test_what_a_killed_server_left_behind_is_no_obstacle(world: World, code: Any) -> None:
    """Its port may belong to another program by now, its connection file to another version."""
    world.supervisor.start()
    world.client.problem = Problem(code=code, message="it does not speak this protocol")
    assert world.after(0.2).phase == "starting"
    world.connect()
    assert world.after(0.1).phase == "running"


def test_crash_restarts_with_growing_pauses_then_gives_up(world: World) -> None:
    world.run()
    pauses = []
    for _ in range(supervision.QUICK_DEATHS - 1):
        world.process.code = -signal.SIGSEGV
        world.cut()
        assert world.after(0.1).phase == "waiting"
        died, count = world.now, len(world.processes)
        while len(world.processes) == count:
            world.after(0.1)
        pauses.append(round(world.now - died, 1))
    assert pauses == [0.5, 1.0, 2.0, 4.0]
    world.process.code = -signal.SIGSEGV
    state = world.after(0.1)
    assert state.phase == "gave_up"
    assert "SIGSEGV" in state.message
    assert "5 times in a row" in state.message
    assert world.after(100).phase == "gave_up"
    assert len(world.processes) == supervision.QUICK_DEATHS


def test_a_long_life_forgives_earlier_deaths(world: World) -> None:
    world.run()
    for _ in range(3 * supervision.QUICK_DEATHS):
        world.process.code = -9
        world.cut()
        world.after(0.7)
        world.connect()
        assert world.after(supervision.STABLE_S + 1).phase == "running"
    assert "memory" in world.supervisor.state.message


def test_start_by_the_artist_forgives_too(world: World) -> None:
    world.supervisor.start()
    world.after(0.1)
    for _ in range(supervision.QUICK_DEATHS):
        world.process.code = 1
        world.after(40)
    assert world.supervisor.state.phase == "gave_up"
    world.supervisor.start()
    world.after(0.2)
    world.connect()
    assert world.after(0.1).phase == "running"


def test_silent_process_is_killed_and_started_anew(world: World) -> None:
    world.run()
    world.cut()
    assert world.after(supervision.SILENT_S - 1).phase == "running"
    state = world.after(1.2)
    assert "stopped answering" in state.message
    assert world.processes[0].calls == ["kill"]
    world.after(1)
    assert len(world.processes) == 2


def test_a_short_silence_is_borne(world: World) -> None:
    world.run()
    for _ in range(5):
        world.cut()
        world.after(supervision.SILENT_S - 1)
        world.connect()
        world.after(0.1)
    assert len(world.processes) == 1


def test_never_answering_process_is_killed(world: World) -> None:
    world.supervisor.start()
    state = world.after(supervision.START_S + 1)
    assert state.phase in ("waiting", "starting")
    assert "did not answer" in state.message
    assert world.processes[0].calls == ["kill"]


def test_an_adopted_server_that_goes_is_replaced(tmp_path: Path) -> None:
    world = World(tmp_path, running_already=True)
    world.supervisor.start()
    world.after(0.1)
    world.cut()
    world.after(0.3)
    assert world.supervisor.state.phase == "starting"
    assert len(world.processes) == 1


def test_two_blenders_start_at_once(world: World) -> None:
    """Ours loses the race for the data folder and exits with 3: the other's server is used."""
    world.supervisor.start()
    world.after(0.1)
    world.log.write_text("likeness: a server already runs on 'x'; use that one\n")
    world.process.code = 3
    assert world.after(0.2).phase == "looking"
    world.connect()
    state = world.after(0.1)
    assert (state.phase, state.adopted) == ("running", True)
    assert len(world.processes) == 1


def test_the_other_server_may_be_slow_to_start(world: World) -> None:
    world.supervisor.start()
    world.after(0.1)
    world.log.write_text(f"likeness: a server {ALREADY_RUNS} 'x'; use that one\n")
    world.process.code = 3
    assert world.after(supervision.START_S - 10).phase == "looking"
    world.connect()
    assert world.after(0.1).phase == "running"


def test_the_other_server_may_answer_before_ours_has_given_way(world: World) -> None:
    world.supervisor.start()
    world.after(0.1)
    world.connect()
    assert world.after(0.1).phase == "running"
    world.log.write_text(f"likeness: a server {ALREADY_RUNS} 'x'; use that one\n")
    world.process.code = 3
    state = world.after(0.3)
    assert (state.phase, state.adopted) == ("running", True)
    world.cut()  # from here on it is treated as another's
    assert world.after(0.1).phase != "gave_up"


def test_our_own_server_of_another_version_is_told_at_once(world: World) -> None:
    world.supervisor.start()
    assert world.after(0.1).phase == "starting"
    world.client.problem = Problem(code="protocol", message="update the backend")
    state = world.after(0.3)
    assert (state.phase, state.message, state.remedy) == ("gave_up", "update the backend", "reinstall")


def test_missing_something_gives_up_with_the_backends_own_words(world: World) -> None:
    world.supervisor.start()
    world.after(0.1)
    world.log.write_text("noise\nlikeness: the weights are gone; reinstall likeness\n")
    world.process.code = 3
    state = world.after(supervision.LOOK_S + 0.5)
    assert (state.phase, state.message) == ("gave_up", "the weights are gone; reinstall likeness")
    assert len(world.processes) == 1


def test_program_that_is_not_there(world: World) -> None:
    world.spawn_error = FileNotFoundError(2, "No such file or directory")
    world.supervisor.start()
    state = world.after(0.3)
    assert state.phase == "gave_up"
    assert state.message == "the backend cannot be started (No such file or directory); install it again"


def test_shutdown_by_somebody_else_is_not_fought(world: World) -> None:
    world.run()
    world.process.code = 0
    world.cut()
    assert world.after(20).phase == "stopped"
    assert len(world.processes) == 1


def test_stop_asks_first(world: World) -> None:
    world.run()
    world.supervisor.stop()
    assert [type(request) for request in world.client.requests] == [protocol.Shutdown]
    assert world.after(1).phase == "stopping"
    world.process.code = 0
    assert world.after(0.1).phase == "stopped"
    assert "terminate" not in world.process.calls
    assert world.client.closed


def test_stop_then_terminate_then_kill(world: World) -> None:
    world.run()
    world.process.stubborn = True
    world.supervisor.stop()
    world.after(supervision.STOP_S + 0.2)
    assert world.process.calls == ["terminate"]
    world.after(supervision.TERMINATE_S + 0.2)
    assert world.process.calls[:2] == ["terminate", "kill"]
    assert world.after(0.2).phase == "stopped"


def test_stop_of_a_server_that_does_not_answer_terminates_at_once(world: World) -> None:
    world.supervisor.start()
    world.after(0.1)
    world.supervisor.stop()
    assert world.process.calls == ["terminate"]
    assert world.after(0.1).phase == "stopped"


def test_start_while_stopping_starts_again(world: World) -> None:
    world.run()
    world.supervisor.stop()
    world.supervisor.start()
    world.process.code = 0
    world.after(0.3)
    assert world.supervisor.state.phase == "starting"
    assert len(world.processes) == 2


def test_stop_ends_waiting_and_looking(world: World) -> None:
    world.run()
    world.process.code = 1
    world.cut()
    assert world.after(0.1).phase == "waiting"
    world.supervisor.stop()
    assert world.after(60).phase == "stopped"
    assert len(world.processes) == 1


def test_leave_lets_the_server_live(world: World) -> None:
    world.run()
    world.supervisor.leave()
    assert world.client.closed
    assert world.process.calls == []
    assert world.after(5).phase == "stopped"


def test_stop_and_wait_has_a_limit(tmp_path: Path) -> None:
    world = World(tmp_path, running_already=True)
    world.supervisor.start()
    world.after(0.1)
    world.supervisor._clock = lambda: setattr(world, "now", world.now + 1) or world.now
    assert world.supervisor.stop_and_wait(2.0) is False
    assert world.supervisor.stop_and_wait(30.0) is True
    assert "another program started" in world.supervisor.state.message


@pytest.mark.parametrize(
    ("code", "says", "restart"),
    [
        (0, "stopped", False),
        (1, "bug", True),
        (2, "update", False),
        (3, "doctor", False),
        (4, "memory or disk", True),
        (130, "keyboard", False),
        (-9, "memory ran out", True),
        (137, "memory ran out", True),
        (-15, "asked the backend to end", False),
        (-11, "SIGSEGV", True),
        (139, "SIGSEGV", True),
        (-6, "SIGABRT", True),
        (-4, "processor", False),
        (126, "install", False),
        (0xC0000005, "access violation", True),
        (0xC000013A, "keyboard", False),
        (77, "0x4d", True),
    ],
)
def test_exit_codes(code: int, says: str, restart: bool) -> None:
    verdict = judge(code)
    assert says in verdict.message
    assert verdict.restart is restart


def test_last_words_win_where_the_backend_has_any() -> None:
    assert judge(4, "the disk is full; free some space").message == "the disk is full; free some space"
    assert "SIGSEGV" in judge(-11, "something earlier").message


def test_command_and_environment(tmp_path: Path) -> None:
    program = tmp_path / "env" / "bin" / "likeness"
    command = serve_command(program, tmp_path / "data", 4711, ("--cache-gb", "5"))
    assert command[1:] == ["serve", "--data", str(tmp_path / "data"), "--parent", "4711", "--cache-gb", "5"]
    cleaned = clean_environment({"PATH": "/bin", "PYTHONHOME": "/blender", "VIRTUAL_ENV": "x", "HOME": "/h"})
    assert cleaned["PATH"] == "/bin"
    assert cleaned["HOME"] == "/h"
    assert "PYTHONHOME" not in cleaned
    assert "VIRTUAL_ENV" not in cleaned
    assert cleaned["PYTHONNOUSERSITE"] == "1"


def test_a_real_process(tmp_path: Path) -> None:
    """Dies of its own first, with last words; the second one is ended with its child."""
    script = tmp_path / "server.py"
    script.write_text(
        textwrap.dedent("""
        import pathlib, subprocess, sys, time
        ran = pathlib.Path(sys.argv[1])
        if not ran.exists():
            ran.write_text("once")
            print("likeness: the disk is full; free some space")
            sys.exit(4)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        ran.write_text(str(child.pid))
        time.sleep(60)
        """)
    )
    ran, log = tmp_path / "ran", tmp_path / "logs" / "process.log"
    command = [sys.executable, str(script), str(ran)]
    supervisor = Supervisor(
        spawn=lambda: ServerProcess(command, log, clean_environment({})),
        open_client=lambda: Client(tmp_path / "connection.json", "test 0"),
        process_log=log,
    )
    supervisor.start()
    messages = set()
    end = time.monotonic() + 20
    while not (ran.exists() and ran.read_text().isdecimal()) and time.monotonic() < end:
        messages.add(supervisor.poll().message)
        time.sleep(0.02)
    child = int(ran.read_text())
    assert "the disk is full; free some space" in messages
    assert supervisor.stop_and_wait(10.0)
    assert supervisor.client is None
    status = Path(f"/proc/{child}/stat")
    while status.exists() and status.read_text().split()[2] != "Z" and time.monotonic() < end:
        time.sleep(0.02)
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_a_real_adoption(tmp_path: Path) -> None:
    server = FakeServer(tmp_path)
    supervisor = Supervisor(
        spawn=lambda: pytest.fail("nothing is to be spawned"),
        open_client=lambda: Client(server.connection_file, "test 0"),
        process_log=tmp_path / "process.log",
    )
    supervisor.start()
    end = time.monotonic() + 10
    while supervisor.poll().phase != "running" and time.monotonic() < end:
        time.sleep(0.02)
    assert supervisor.state.adopted
    server.answers[protocol.Shutdown] = lambda request, bulk: (
        server._stop.set(),
        (protocol.Ok(id=request.id), []),
    )[1]
    assert supervisor.stop_and_wait(10.0)
    assert server.seen(protocol.Shutdown)
    server.stop()
