"""One worker process and the two threads that talk to it, so that the loop never waits on a pipe."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from backend.server.worker_protocol import (
    ChannelError,
    FromWorker,
    ToWorker,
    Writer,
    reader_from_worker,
)


@dataclass(frozen=True)
class Exited:
    """The process is gone. ``status`` as subprocess gives it: negative for a signal."""

    status: int


Inbox = queue.SimpleQueue[tuple["Channel", FromWorker | Exited]]


class Channel:
    """A started process. What it says, at last ``Exited``, goes into ``inbox``; then ``wake`` is called."""

    def __init__(self, command: Sequence[str], log: Path, inbox: Inbox, wake: Callable[[], None]) -> None:
        """Start ``command``. Raises: OSError."""
        self._inbox, self._wake = inbox, wake
        self._outbox: queue.SimpleQueue[ToWorker | None] = queue.SimpleQueue()
        with log.open("ab") as stderr:
            # A session of its own: Ctrl+C in a terminal reaches the server alone, which ends its workers
            # in order, and killing the group reaches what the worker itself started.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=sys.platform != "win32",
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        self.pid = self._process.pid
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        threading.Thread(target=self._write, args=(self._process.stdin,), daemon=True).start()
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def send(self, message: ToWorker) -> None:
        """Hand over ``message``; if the process is gone, ``Exited`` will tell."""
        self._outbox.put(message)

    def kill(self) -> None:
        """End the process and what it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self.pid, signal.SIGKILL)

    def _write(self, stream: BinaryIO) -> None:
        writer = Writer(stream)
        while (message := self._outbox.get()) is not None:
            try:
                writer.send(message)
            except (OSError, ChannelError):  # the reader notices the end and tells it
                self.kill()
                break
        with contextlib.suppress(OSError):
            stream.close()

    def _read(self, stream: BinaryIO) -> None:
        reader = reader_from_worker(stream)
        try:
            while (message := reader.receive()) is not None:
                self._inbox.put((self, message))
                self._wake()
        except ChannelError:
            pass  # a worker that talks nonsense is ended below, and that is told
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self.kill()
        status = self._process.wait()
        self._outbox.put(None)
        stream.close()
        self._inbox.put((self, Exited(status)))
        self._wake()
