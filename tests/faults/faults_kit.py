"""Blenders as processes, the add-on without Blender, servers on data folders, for the tests of faults."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from blender_addon.backend_control import BackendControl
from blender_addon.connection import CONNECTION_NAME, ConnectionFileError, read_connection
from blender_addon.environment_control import EnvironmentControl
from blender_addon.importer import HeadImport, ImportQueue
from blender_addon.runtime import Runtime

HERE = Path(__file__).resolve().parent
PORTRAIT = HERE.parent / "data" / "portrait_front.jpg"
LIKENESS = Path(sys.executable).parent / "likeness"
FAKE_WORKER = HERE.parent / "server" / "fake_worker.py"
LIMIT_S = 150.0  # keeps a broken program from hanging the suite; nothing is measured against it


def wait_until(condition: Any, limit_s: float = LIMIT_S, pause_s: float = 0.05) -> Any:
    """The first true value of ``condition``."""
    end = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end, "not in time"
        time.sleep(pause_s)
    return value


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class Blender:
    """``blender_process.py`` with its own or a shared user folder."""

    def __init__(self, resources: Path, program: Path = LIKENESS) -> None:
        environment = {
            **os.environ,
            "BLENDER_USER_RESOURCES": str(resources),
            "LIKENESS_PROGRAM": str(program),
            "TMPDIR": str(resources),
        }
        self.data = resources / "datafiles" / "likeness" / "data"
        self._log = (resources / f"blender-{time.monotonic_ns()}.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "blender_process.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._answers.put(line)
        last = Path(self._log.name).read_text(errors="replace")[-1000:]
        self._answers.put(json.dumps({"error": f"Blender ended: {last}", "kind": "End"}))

    def begin(self, command: str, **options: Any) -> None:
        """Give a command; ``answer`` waits for its result."""
        self.process.stdin.write(json.dumps({"do": "command", "command": command, **options}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        return json.loads(self._answers.get(timeout=LIMIT_S))

    def ask(self, command: str, **options: Any) -> dict[str, Any]:
        """The result of a command that must succeed."""
        self.begin(command, **options)
        answer = self.answer()
        assert "ok" in answer, answer
        return answer["ok"]

    def refusal(self, command: str, **options: Any) -> str:
        """The message of a command that must fail."""
        self.begin(command, **options)
        answer = self.answer()
        assert "error" in answer, answer
        return answer["error"]

    def reconstruct(self, **options: Any) -> None:
        self.begin("operate", name="reconstruct", filepath=str(PORTRAIT), maps=512, **options)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()

    def quit(self) -> None:
        if self.process.poll() is None:
            self.process.stdin.write('{"do": "quit"}\n')
            self.process.stdin.flush()
            self.process.wait(timeout=30)


def server_pid(data: Path) -> int | None:
    try:
        return read_connection(data / CONNECTION_NAME).pid
    except ConnectionFileError:
        return None


def end_server(data: Path) -> None:
    """Stop the server of a data folder, if one runs."""
    pid = server_pid(data)
    if pid is None or not is_running(pid):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not is_running(pid), 15)
        return
    os.kill(pid, signal.SIGKILL)


class Addon:
    """What the add-on runs on, without Blender: its runtime and the heads that it would build."""

    def __init__(self, folder: Path, data: Path, remote: Path | None = None) -> None:
        self.built: list[HeadImport] = []
        self.data = data
        control = BackendControl(
            data=data,
            downloads=folder / "avatars",
            environment=EnvironmentControl(folder / "backend", folder / "wheels", sys.executable),
            program_name="faults",
            remote=lambda: remote,
        )
        self.runtime = Runtime(control, ImportQueue(lambda head: iter(())))
        self.view = self.runtime.view

    def turn(self) -> None:
        self.runtime.drain(time.perf_counter() + 0.05)
        while self.runtime.imports:
            finished = self.runtime.imports.advance()
            if finished is not None:
                self.built.append(finished)

    def until(self, condition: Any) -> Any:
        def met() -> Any:
            self.turn()
            return condition()

        return wait_until(met, pause_s=0.02)

    def ready(self) -> None:
        self.runtime.start_backend()
        self.until(lambda: self.view.backend.state == "ready")

    def job(self) -> Any:
        (job,) = self.view.jobs.values()
        return job
