"""Runs the programs of the installer: short ones for their answer, long ones line by line. No Blender."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Output(NamedTuple):
    code: int
    text: str  # stdout and stderr as they came


class Runner(Protocol):
    """What the installer needs of the system's processes."""

    def ask(self, command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> Output | None:
        """The answer of a short command; None when it cannot be run or takes longer."""
        ...

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        on_line: Callable[[str], None],
    ) -> int:
        """Run to the end, handing over each line; returns the exit code. Raises: OSError."""
        ...

    def kill(self) -> None:
        """End what ``run`` runs, and whatever it will run. From any thread."""
        ...


class SystemRunner:
    """The real one; for one installation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None
        self._killed = False

    def ask(self, command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> Output | None:
        process = self._start(command, environment, None)
        if process is None:
            return None
        try:
            text, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            process.communicate()
            return None
        finally:
            self._running = None
        return Output(process.returncode, text)

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        on_line: Callable[[str], None],
    ) -> int:
        process = self._start(command, environment, folder)
        if process is None:
            raise FileNotFoundError(2, "it cannot be run", command[0])
        assert process.stdout is not None
        try:
            for line in process.stdout:
                on_line(line.rstrip())
            return process.wait()
        except BaseException:
            _kill_group(process)
            raise
        finally:
            process.stdout.close()
            self._running = None

    def kill(self) -> None:
        with self._lock:
            self._killed = True
            if self._running is not None:
                _kill_group(self._running)

    def _start(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path | None
    ) -> subprocess.Popen[str] | None:
        options: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            options = {"creationflags": subprocess.CREATE_NO_WINDOW}
        with self._lock:
            if self._killed:
                return None
            try:
                self._running = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    env=dict(environment),
                    cwd=folder,
                    **options,
                )
            except OSError:
                return None
            return self._running


def _kill_group(process: subprocess.Popen[str]) -> None:
    if sys.platform == "win32":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended meanwhile
        os.killpg(process.pid, signal.SIGKILL)
