"""What the server wants of the worker: a reader thread that sorts messages, and flags that jobs watch."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

from backend.server.worker_protocol import (
    CancelJob,
    ForgetPhotos,
    FreeMemory,
    Reader,
    RunDecode,
    RunDrive,
    RunJob,
    RunRefine,
    Stop,
    ToWorker,
)

GRACE_SECONDS = 2.0  # for a job to notice that the server is gone

Work = RunJob | FreeMemory | ForgetPhotos
Aside = RunRefine | RunDrive | RunDecode | ForgetPhotos


class Inbox:
    """Work for the main thread in turn; light requests aside, so that a pin answers while a job runs."""

    def __init__(self, reader: Reader[ToWorker]) -> None:
        self._reader = reader
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._aside: queue.SimpleQueue[Aside | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._known: set[str] = set()  # jobs waiting or at work
        self._cancelled: set[str] = set()
        self._closed = threading.Event()

    def start(self, aside: Callable[[Aside], None]) -> None:
        """Begin to read; ``aside`` is called on a thread of its own, one request at a time."""
        threading.Thread(target=self._read, name="inbox", daemon=True).start()
        threading.Thread(target=self._serve_aside, args=(aside,), name="aside", daemon=True).start()

    def next(self) -> Work | None:
        """The next piece of work, waited for; None when the worker is to end."""
        return None if self._closed.is_set() else self._work.get()

    def is_cancelled(self, job: str) -> bool:
        """Whether ``job`` must stop: by request, or because the worker is to end."""
        return self._closed.is_set() or job in self._cancelled

    def over(self, job: str) -> None:
        """``job`` has ended; it may come again under the same name."""
        with self._lock:
            self._known.discard(job)
            self._cancelled.discard(job)

    def _read(self) -> None:
        stopped = False
        try:
            while (message := self._reader.receive()) is not None:
                match message:
                    case RunJob():
                        with self._lock:
                            self._known.add(message.job)
                        self._work.put(message)
                    case FreeMemory():
                        self._work.put(message)
                    case CancelJob():
                        with self._lock:
                            if message.job in self._known:
                                self._cancelled.add(message.job)
                    case RunRefine() | RunDrive() | RunDecode():
                        self._aside.put(message)
                    case ForgetPhotos():
                        self._aside.put(message)
                        self._work.put(message)
                    case Stop():
                        stopped = True
                        return
        finally:
            # The pipe ended (the server is gone), or was broken: no answer can reach anyone.
            self._closed.set()
            self._work.put(None)
            self._aside.put(None)
            if not stopped:
                threading.Timer(GRACE_SECONDS, os._exit, (0,)).start()

    def _serve_aside(self, serve: Callable[[Aside], None]) -> None:
        while (request := self._aside.get()) is not None:
            serve(request)
