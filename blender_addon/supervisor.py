"""Starts, watches and stops the backend's process. No Blender.

    supervisor = Supervisor(data, spawn=..., open_client=...)
    supervisor.start()
    supervisor.poll()   # a few times a second; never blocks
    supervisor.client   # while the backend is wanted

What to do when is decided in ``supervision``; here it is done.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from . import protocol, supervision
from .exchange import Answer
from .exit_codes import Verdict, judge_spawn
from .protocol import Problem
from .supervision import Action, Seen, State

_TAIL_BYTES = 64 << 10
_PREFIX = "likeness: "  # of the command line's last words (backend/cli.py)


class Process(Protocol):
    """What is needed of a child process."""

    def exit_code(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Connects(Protocol):
    """What is needed of a client."""

    problem: Problem | None

    @property
    def connected(self) -> bool: ...
    def request(
        self, message: protocol.Request, bulk: Sequence[protocol.Buffer] = (), timeout_s: float = 30.0
    ) -> Future[Answer]: ...
    def close(self, wait_s: float = 1.0) -> None: ...


ClientT = TypeVar("ClientT", bound=Connects)


class Supervisor(Generic[ClientT]):
    """``state`` says how things stand. One thread calls it. The server outlives it: see ``leave``."""

    def __init__(
        self,
        *,
        spawn: Callable[[], Process],
        open_client: Callable[[], ClientT],
        process_log: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = State()
        self.client: ClientT | None = None
        self._spawn, self._open_client, self._clock = spawn, open_client, clock
        self._log = process_log
        self._process: Process | None = None
        self._spawn_error: Verdict | None = None

    def start(self) -> None:
        """Want a backend: adopt the one that runs on the data folder, else start one."""
        self._take(supervision.start(self.state, self._clock()))

    def stop(self) -> None:
        """Want none, also where another Blender started it. ``poll`` until ``state.phase`` is stopped."""
        self._take(supervision.stop(self.state, self._see()))

    def poll(self) -> State:
        """Look, act, and say how things stand."""
        self._take(supervision.step(self.state, self._see()))
        return self.state

    def stop_and_wait(self, limit_s: float = 12.0) -> bool:
        """``stop``, and wait for its end; whether it came within ``limit_s``."""
        end = self._clock() + limit_s
        self.stop()
        while self.poll().phase != "stopped":
            if self._clock() > end:
                return False
            time.sleep(0.05)
        return True

    def leave(self) -> None:
        """Let go of the server: it finishes its jobs and ends when its last Blender is gone."""
        self._close_client()
        self._process = None
        self.state = State()

    def log_tail(self, lines: int = 40) -> str:
        """The end of what the process said on its own (its server.log says more once it runs)."""
        return "\n".join(_tail(self._log)[-lines:])

    def _see(self) -> Seen:
        process, client = self._process, self.client
        exit_code = process.exit_code() if process is not None else None
        return Seen(
            now=self._clock(),
            answers=client is not None and client.connected,
            problem=client.problem if client is not None else None,
            has_process=process is not None,
            exit_code=exit_code,
            last_words=self._last_words() if exit_code is not None else None,
            spawn_error=self._spawn_error,
        )

    def _last_words(self) -> str | None:
        said = [line.removeprefix(_PREFIX) for line in _tail(self._log) if line.startswith(_PREFIX)]
        return said[-1] if said else None

    def _take(self, step: supervision.Step) -> None:
        self.state, actions = step
        for action in actions:
            self._act(action)

    def _act(self, action: Action) -> None:
        match action:
            case "open_client":
                if self.client is None:
                    self.client = self._open_client()
            case "close_client":
                self._close_client()
            case "spawn":
                self._spawn_error = None
                try:
                    self._process = self._spawn()
                except OSError as error:
                    self._spawn_error = judge_spawn(error, self._log.parent.parent)
            case "ask_to_stop":
                if self.client is not None:
                    self.client.request(protocol.Shutdown(id=0), timeout_s=supervision.STOP_S)
            case "terminate":
                if self._process is not None:
                    self._process.terminate()
            case "kill":
                if self._process is not None:
                    self._process.kill()
                    if self._process.exit_code() is not None:
                        self._process = None

    def _close_client(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None


class ServerProcess:
    """A child in a process group of its own, so that its workers go with it."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            options = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env=dict(environment),
                **options,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def exit_code(self) -> int | None:
        return self._popen.poll()

    def terminate(self) -> None:
        if self._popen.poll() is None:
            self._popen.terminate()

    def kill(self) -> None:
        """End it and what it started, now. Waits a moment for the system to do so."""
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):  # all of the group have ended
                os.killpg(self._popen.pid, signal.SIGKILL)
        elif self._popen.poll() is None:
            self._popen.kill()
        try:
            self._popen.wait(0.2)
        except subprocess.TimeoutExpired:
            return  # it hangs in the kernel; its end is seen by a later poll


def serve_command(program: Path, data: Path, parent_pid: int, arguments: Sequence[str] = ()) -> list[str]:
    """``program``: the ``likeness`` of the backend's environment."""
    return [str(program), "serve", "--data", str(data), "--parent", str(parent_pid), *arguments]


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` without what Blender or a shell set for another Python than the backend's."""
    cleaned = {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith(("PYTHON", "CONDA", "VIRTUAL_ENV", "__PYVENV"))
    }
    return cleaned | {"PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []  # nothing was started yet
