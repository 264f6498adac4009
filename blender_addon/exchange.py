"""What the client's thread and its callers hand each other: requests, answers, happenings. No Blender."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from . import protocol
from .protocol import PROTOCOL, Problem

SLOWEST_BYTES_PER_S = 128 << 10  # a line that is slower than this is taken for dead


class Answer(NamedTuple):
    """A reply and its bulk frames, which are not copied: they live as long as they are held."""

    reply: protocol.Reply
    bulk: list[memoryview]


@dataclass(frozen=True)
class Received:
    """An event of a job, in order and exactly once, or Goodbye."""

    event: protocol.Event
    bulk: list[bytes]


@dataclass(frozen=True)
class Connected:
    """The server answers. Ask for ``List`` now: jobs may have changed in the meantime."""

    welcome: protocol.Welcome


@dataclass(frozen=True)
class Lost:
    """The server does not answer; the client goes on trying."""

    problem: Problem


Happening = Received | Connected | Lost


class RequestError(Exception):
    """A request was not carried out; ``problem`` says why in one sentence."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class RequestRefused(RequestError):
    """The server answered with Failure."""


class NoAnswer(RequestError):
    """No answer came: time-out, lost connection, or the client was closed. The server may have acted."""


def no_answer(message: str) -> NoAnswer:
    return NoAnswer(Problem(code="missing", message=message))


def update_advice(theirs: int) -> str:
    """Which side to update when the other one speaks protocol ``theirs``."""
    if theirs < PROTOCOL:
        return f"the backend speaks protocol {theirs}, this add-on {PROTOCOL}; update the backend"
    return f"the backend speaks protocol {theirs}, this add-on {PROTOCOL}; update the add-on"


@dataclass(frozen=True)
class Pace:
    """How long the client waits for what, in seconds."""

    hello_s: float = 5.0
    ping_s: float = 2.0
    silence_s: float = 8.0  # after an unanswered ping the server is taken for dead
    retry_first_s: float = 0.1
    retry_most_s: float = 3.0


@dataclass(eq=False)
class Pending:
    """A request under way. ``deadline``: on the monotonic clock, seconds."""

    message: Any  # a request struct; its id is given when it is sent
    bulk: Sequence[protocol.Buffer]
    deadline: float
    internal: bool = False  # the client's own: nobody looks at its future
    future: Future[Answer] = field(default_factory=Future)

    @property
    def size(self) -> int:
        """Bytes of its bulk frames."""
        return sum(memoryview(frame).nbytes for frame in self.bulk)


class Outbox:
    """Requests that wait for a connection. ``put`` from any thread, the rest from the client's."""

    def __init__(self) -> None:
        self._arriving: queue.SimpleQueue[Pending] = queue.SimpleQueue()
        self._waiting: list[Pending] = []

    def put(self, pending: Pending) -> None:
        self._arriving.put(pending)

    def take_all(self) -> list[Pending]:
        """Everything that waits, in order; nothing waits afterwards."""
        self._collect()
        waiting, self._waiting = self._waiting, []
        return waiting

    def expire(self, now: float, problem: Problem | None) -> None:
        """End the requests whose time is up; ``problem``: why there is no connection."""
        self._collect()
        late = [pending for pending in self._waiting if pending.deadline <= now]
        self._waiting = [pending for pending in self._waiting if pending.deadline > now]
        for pending in late:
            reason = problem or Problem(code="missing", message="the backend does not answer; restart it")
            pending.future.set_exception(NoAnswer(reason))

    def _collect(self) -> None:
        while True:
            try:
                self._waiting.append(self._arriving.get_nowait())
            except queue.Empty:
                return
