"""Talks to the backend server from a thread of its own. No Blender.

    client = Client(data_folder / CONNECTION_NAME, "likeness-blender 0.1.0, Blender 4.5.3")
    answer = client.request(protocol.Submit(id=0, name="anna", path="/photos/anna.jpg")).result()

``request`` may be called from any thread; ``events`` is drained by one. The client connects again by
itself, also to a server that was started anew with other keys, for as long as it is not closed.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from . import protocol
from .connection import ConnectionFileError, read_connection
from .event_order import EventOrder
from .exchange import (
    SLOWEST_BYTES_PER_S,
    Answer,
    Connected,
    Happening,
    Lost,
    NoAnswer,
    Outbox,
    Pace,
    Pending,
    Received,
    RequestError,
    RequestRefused,
    update_advice,
)
from .link import Link
from .protocol import PROTOCOL, Problem
from .talk import CLOSED, Talk
from .zeromq import zmq

__all__ = [
    "Answer",
    "Client",
    "Connected",
    "Happening",
    "Lost",
    "NoAnswer",
    "Pace",
    "Received",
    "RequestError",
    "RequestRefused",
]

log = logging.getLogger(__name__)

UNHURRIED = Pace()


class Client:
    """One connection to one server. ``close`` it before it is dropped.

    ``events`` carries Connected, Lost and Received. ``welcome`` is what the server said of itself, None
    while there is no connection; ``problem`` is then why, once that is known.
    """

    def __init__(self, connection_file: Path, program: str, pace: Pace = UNHURRIED) -> None:
        self.events: queue.SimpleQueue[Happening] = queue.SimpleQueue()
        self.welcome: protocol.Welcome | None = None
        self.problem: Problem | None = None
        self._file, self._program, self._pace = connection_file, program, pace
        self._order, self._outbox = EventOrder(), Outbox()
        self._stop = threading.Event()
        self._gate = threading.Lock()  # between a request and the thread's end
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="likeness-client", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        return self.welcome is not None

    def request(
        self, message: protocol.Request, bulk: Sequence[protocol.Buffer] = (), timeout_s: float = 30.0
    ) -> Future[Answer]:
        """Send a request as soon as the server can be reached; its ``id`` is set here.

        The future ends within ``timeout_s`` (plus what its bulk frames need on a slow line) with an
        Answer, RequestRefused or NoAnswer. Its callbacks run on the client's thread and must be short.
        Raises: protocol.ProtocolError when the message is over the limits.
        """
        protocol.encode(message, bulk)
        pending = Pending(message, bulk, time.monotonic() + timeout_s)
        pending.deadline += pending.size / SLOWEST_BYTES_PER_S
        pending.future.set_running_or_notify_cancel()
        with self._gate:
            if not self._stop.is_set():
                self._outbox.put(pending)
                self._wake()
                return pending.future
        pending.future.set_exception(NoAnswer(CLOSED))
        return pending.future

    def close(self, wait_s: float = 1.0) -> None:
        """End the thread and every open request (NoAnswer). Idempotent."""
        with self._gate:
            if not self._stop.is_set():
                self._stop.set()
                self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(wait_s)

    def _wake(self) -> None:
        """Under the gate, so that the thread cannot close the socket in between."""
        try:
            self._wake_in.send(b"\0")
        except BlockingIOError:
            return  # bytes enough wait there already

    # ------------------------------------------------------------------------------ its own thread

    def _run(self) -> None:
        context: zmq.Context[Any] = zmq.Context()
        end = CLOSED
        try:
            self._connect_again_and_again(context)
        except Exception as error:
            log.exception("the client's thread ended")
            end = Problem(code="bug", message=f"the connection to the backend failed: {error!r}")
            self.problem = end
            self.events.put(Lost(end))
        finally:
            with self._gate:
                self._stop.set()
                self._wake_in.close()
            self.welcome = None
            for pending in self._outbox.take_all():
                pending.future.set_exception(NoAnswer(end))
            self._wake_out.close()
            context.destroy(linger=0)

    def _connect_again_and_again(self, context: zmq.Context[Any]) -> None:
        delay = self._pace.retry_first_s
        while not self._stop.is_set():
            problem, was_open = self._one_connection(context)
            self.welcome = None
            if self._stop.is_set():
                return
            if was_open:
                delay = self._pace.retry_first_s
            is_news = was_open or self.problem != problem
            self.problem = problem
            if is_news:
                self.events.put(Lost(problem))
            self._sleep(delay)
            delay = min(2 * delay, self._pace.retry_most_s)

    def _one_connection(self, context: zmq.Context[Any]) -> tuple[Problem, bool]:
        """Connect and talk until the connection ends: why it did, and whether the server ever answered."""
        try:
            connection = read_connection(self._file)
            if connection.protocol != PROTOCOL:
                return Problem(code="protocol", message=update_advice(connection.protocol)), False
            link = Link(context, connection, self._wake_out)
        except ConnectionFileError as error:
            return Problem(code="missing", message=str(error)), False
        except (zmq.ZMQError, ValueError) as error:
            message = f"'{self._file}' names no usable server ({error}); start the backend again"
            return Problem(code="missing", message=message), False
        talk = Talk(
            link,
            connection.commands,
            self._pace,
            self._order,
            self._outbox,
            self.events,
            self._stop,
            self._opened,
        )
        try:
            return talk.run(self._program), talk.is_open
        finally:
            talk.abandon()
            link.close()

    def _opened(self, welcome: protocol.Welcome) -> None:
        self.problem, self.welcome = None, welcome
        self.events.put(Connected(welcome))

    def _sleep(self, seconds: float) -> None:
        """Wait, and end the requests whose time is up meanwhile; ``close`` ends the wait."""
        end = time.monotonic() + seconds
        while not self._stop.is_set() and (left := end - time.monotonic()) > 0:
            self._stop.wait(min(left, 0.2))
            self._outbox.expire(time.monotonic(), self.problem)
