"""One connection of the client from Hello to its end. No Blender; lives on the client's thread."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from . import protocol
from .event_order import EventOrder
from .exchange import (
    SLOWEST_BYTES_PER_S,
    Answer,
    Happening,
    NoAnswer,
    Outbox,
    Pace,
    Pending,
    Received,
    RequestRefused,
    no_answer,
    update_advice,
)
from .link import Ended, Link, Message
from .protocol import PROTOCOL, Problem
from .zeromq import zmq

log = logging.getLogger(__name__)

CLOSED = Problem(code="missing", message="the connection to the backend was closed")


class Talk:
    """``run`` it once, then ``abandon`` it. ``on_open`` is called when the handshake is complete."""

    def __init__(
        self,
        link: Link,
        endpoint: str,
        pace: Pace,
        order: EventOrder,
        outbox: Outbox,
        events: queue.SimpleQueue[Happening],
        stop: threading.Event,
        on_open: Callable[[protocol.Welcome], None],
    ) -> None:
        self._link, self._endpoint, self._pace = link, endpoint, pace
        self._order, self._outbox, self._events = order, outbox, events
        self._stop, self._on_open = stop, on_open
        self._ids = itertools.count(1)
        self._sent: dict[int, Pending] = {}
        self._heard = time.monotonic()
        self._ping_at: float | None = None
        self._welcome: protocol.Welcome | None = None
        self._end: Problem | None = None
        self.is_open = False

    def run(self, program: str) -> Problem:
        """Talk until the connection ends or ``stop`` is set; returns why it ended."""
        hello = protocol.Hello(id=0, protocol=PROTOCOL, client=program)
        latest = time.monotonic() + self._pace.hello_s
        self._send(Pending(hello, (), latest, internal=True))
        while self._end is None and not self._stop.is_set():
            for item in self._link.receive(self._nap(time.monotonic())):
                if isinstance(item, Ended):
                    self._end = self._end or self._problem_of(item)
                else:
                    self._heard = time.monotonic()
                    self._take(item)
                if self._end is not None:
                    break
            else:  # whatever waits in the sockets is heard before silence is judged
                self._tend(time.monotonic(), latest)
        return self._end or CLOSED

    def _nap(self, now: float) -> float:
        """Seconds until the clock asks for something."""
        nearest = min((pending.deadline for pending in self._sent.values()), default=now + 1.0)
        return max(0.001, min(1.0, self._pace.ping_s / 2, self._pace.hello_s / 4, nearest - now))

    def abandon(self) -> None:
        """Fail what was sent: nobody knows whether the server acted on it."""
        for pending in self._sent.values():
            pending.future.set_exception(NoAnswer(self._end or CLOSED))
        self._sent.clear()

    def _problem_of(self, ended: Ended) -> Problem:
        if ended.refused:
            message = (
                f"the backend at {self._endpoint} refuses this Blender: {ended.reason}; see docs/remote.md"
            )
            return Problem(code="refused", message=message)
        if self.is_open:
            return Problem(code="missing", message="the backend stopped; start it again")
        return Problem(
            code="missing", message=f"no backend answers at {self._endpoint} ({ended.reason}); start it"
        )

    # ------------------------------------------------------------------------------------ sending

    def _send(self, pending: Pending) -> None:
        message = msgspec.structs.replace(pending.message, id=next(self._ids))
        if isinstance(message, protocol.Attach):
            self._order.track(message.job, message.after, time.monotonic())
        self._sent[message.id] = pending
        self._transmit(self._link.send_command, message, pending.bulk)

    def _attach(self, job: str, after: int, now: float) -> None:
        attach = protocol.Attach(id=next(self._ids), job=job, after=after)
        self._sent[attach.id] = Pending(attach, (), now + 30.0, internal=True)
        self._transmit(self._link.send_command, attach)

    def _transmit(
        self,
        send: Callable[[Sequence[protocol.Buffer]], None],
        message: protocol.Request,
        bulk: Sequence[protocol.Buffer] = (),
    ) -> None:
        try:
            send(protocol.encode(message, bulk))
        except zmq.Again:
            self._end = Problem(code="missing", message="the backend takes no messages any more; restart it")

    def _tend(self, now: float, latest: float) -> None:
        """What time asks for: time-outs, requests that wait, gaps, pings."""
        if not self.is_open:
            self._outbox.expire(now, None)
            if now > latest:
                message = f"the backend at {self._endpoint} does not answer; restart it"
                self._end = Problem(code="missing", message=message)
            return
        for pending in self._outbox.take_all():
            self._send(pending)
        for number in [n for n, p in self._sent.items() if p.deadline <= now]:
            late = self._sent.pop(number)
            name = type(late.message).__struct_config__.tag
            late.future.set_exception(no_answer(f"the backend did not answer '{name}' in time; restart it"))
        for job in self._order.overdue(now):
            if (after := self._order.ask(job, now)) is not None:
                self._attach(job, after, now)
        self._keep_alive(now)

    def _keep_alive(self, now: float) -> None:
        if self._ping_at is not None and self._heard > self._ping_at:
            self._ping_at = None
        if self._ping_at is None:
            if now - self._heard >= self._pace.ping_s:
                self._ping_at = now
                self._send(Pending(protocol.Ping(id=0), (), now + 3600.0, internal=True))
            return
        # a ping waits in line behind what is being sent
        allowed = self._pace.silence_s + sum(p.size for p in self._sent.values()) / SLOWEST_BYTES_PER_S
        if now - self._ping_at > allowed:
            message = f"the backend has not answered for {now - self._heard:.0f} s; restart it"
            self._end = Problem(code="missing", message=message)

    # ---------------------------------------------------------------------------------- receiving

    def _take(self, message: Message) -> None:
        try:
            if message.source == "commands":
                reply, bulk = protocol.decode_reply(message.frames)
                self._take_reply(reply, [memoryview(frame) for frame in bulk])
            else:
                event, bulk = protocol.decode_event(message.frames)
                self._take_event(event, [bytes(frame) for frame in bulk])
        except protocol.ProtocolError as error:
            log.warning("a message of the backend cannot be read: %s", error)
            if message.source == "commands":
                self._fail_unreadable(message.frames, error)

    def _fail_unreadable(self, frames: list[memoryview], error: protocol.ProtocolError) -> None:
        """End the request that an unreadable reply belongs to, if at least its number can be told."""
        try:
            number = msgspec.msgpack.decode(frames[1])["id"]
        except (msgspec.MsgspecError, IndexError, KeyError, TypeError, UnicodeDecodeError):
            return
        if isinstance(number, int) and number in self._sent:
            message = f"the backend's answer cannot be read ({error}); update add-on and backend"
            problem = Problem(code="protocol", message=message)
            self._sent.pop(number).future.set_exception(NoAnswer(problem))

    def _take_reply(self, reply: protocol.Reply, bulk: list[memoryview]) -> None:
        if isinstance(reply, protocol.Failure) and reply.id == 0:
            # the server could not read one of our requests and cannot say which
            for pending in self._sent.values():
                pending.future.set_exception(RequestRefused(reply.problem))
            self._sent.clear()
            if not self.is_open:
                self._end = reply.problem
            return
        answered = self._sent.pop(reply.id, None)
        if answered is None:
            return  # its time was up
        if isinstance(answered.message, protocol.Hello):
            self._take_welcome(reply)
        elif isinstance(reply, protocol.Failure):
            self._take_failure(answered, reply)
        else:
            if isinstance(reply, protocol.Accepted):
                self._order.expect(reply.job)
            elif isinstance(reply, protocol.Job):
                self._order.attached(reply.info)
            answered.future.set_result(Answer(reply, bulk))

    def _take_failure(self, answered: Pending, failure: protocol.Failure) -> None:
        request = answered.message
        if isinstance(request, protocol.Attach) and failure.problem.code == "unknown_job":
            last = self._order.drop(request.job)
            if answered.internal:  # it was forgotten while nobody listened
                gone = protocol.Forgotten(job=request.job, number=last + 1)
                self._events.put(Received(gone, []))
        answered.future.set_exception(RequestRefused(failure.problem))

    def _take_welcome(self, reply: protocol.Reply) -> None:
        if isinstance(reply, protocol.Failure):
            self._end = reply.problem
        elif not isinstance(reply, protocol.Welcome):
            self._end = Problem(code="protocol", message="the backend answers 'hello' with something else")
        elif reply.protocol != PROTOCOL:
            self._end = Problem(code="protocol", message=update_advice(reply.protocol))
        else:
            self._welcome = reply
            self._transmit(self._link.send_event, protocol.Listen(session=reply.session))

    def _take_event(self, event: protocol.Event, bulk: list[bytes]) -> None:
        if isinstance(event, protocol.Listening):
            self._open()
        elif isinstance(event, protocol.Goodbye):
            self._events.put(Received(event, bulk))
            self._end = Problem(code="missing", message=f"the backend stopped: {event.reason}")
        else:
            now = time.monotonic()
            verdict = self._order.judge(event)
            if verdict == "deliver":
                self._events.put(Received(event, bulk))
            elif verdict == "gap" and (after := self._order.ask(event.job, now)) is not None:
                self._attach(event.job, after, now)

    def _open(self) -> None:
        if self._welcome is None or self.is_open:
            return
        self.is_open = True
        self._on_open(self._welcome)
        now = time.monotonic()
        for job, after in self._order.unfinished():
            self._order.track(job, after, now)
            self._attach(job, after, now)
