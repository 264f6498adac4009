"""The server's one thread: waits for sockets and workers, gives each its turn, sees to what is due."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import zmq

from backend.server import worker_protocol as worker
from backend.server.asks import Asks
from backend.server.auth import AllowList, ZapHandler
from backend.server.forget import Forgetting
from backend.server.jobs import Jobs
from backend.server.keys import SERVER_NAME
from backend.server.limits import MESSAGES_PER_TURN
from backend.server.pool import Died, Pool
from backend.server.problems import Refusal
from backend.server.publisher import Publisher
from backend.server.requests import Caller, Desk
from backend.server.sessions import Session, Sessions
from backend.server.wire import Port, Received, version_problem
from blender_addon.protocol import (
    PROTOCOL,
    Buffer,
    Event,
    Failure,
    Goodbye,
    Hello,
    Listen,
    Listening,
    Problem,
    Reply,
    Welcome,
)

logger = logging.getLogger(__name__)

_TICK_SECONDS = 2.0  # for what is looked at now and then: sessions, parents, revoked keys
_STOP_SECONDS = 4.0  # for workers to end, then they are killed


@dataclass
class Loop:
    """Everything that the thread looks at. ``run`` returns when the server has stopped."""

    commands: Port
    events: Port
    zap: ZapHandler
    allowed: AllowList
    sessions: Sessions
    publisher: Publisher
    pool: Pool
    jobs: Jobs
    asks: Asks
    forgetting: Forgetting
    desk: Desk
    wakeup: socket.socket  # readable when a worker spoke or a signal came
    stop_reason: Callable[[], str | None]  # from outside: a signal, parents that are gone
    _next_tick: float = field(default=0.0, init=False)

    def run(self) -> str:
        """Serve until something asks to stop. Returns the reason."""
        poller = zmq.Poller()
        for source in (self.commands.socket, self.events.socket, self.zap.socket, self.wakeup):
            poller.register(source, zmq.POLLIN)
        while (reason := self.stop_reason()) is None:
            poller.poll(self._timeout_ms())
            self._turn()
        self._stop(reason)
        return reason

    def _turn(self) -> None:
        _drain(self.wakeup)
        self.zap.answer_pending()
        for _ in range(MESSAGES_PER_TURN):
            received = self.commands.receive()
            if received is None:
                break
            self._on_command(received)
        for _ in range(MESSAGES_PER_TURN):
            received = self.events.receive()
            if received is None:
                break
            self._on_listen(received)
        self._see_to_workers()

    def _timeout_ms(self) -> int:
        now = time.monotonic()
        waits = bool(self.jobs.queue or self.asks.waiting)
        deadlines = [self._next_tick, self.pool.next_deadline(now, waits), self.asks.next_deadline()]
        nearest = min(deadline for deadline in deadlines if deadline is not None)
        return max(0, int((nearest - now) * 1000) + 1)

    # ------------------------------------------------------------------------------------ clients

    def _on_command(self, received: Received) -> None:
        now = time.monotonic()
        if not self.allowed.allows(received.owner):
            return  # its key was withdrawn: silence, as for any stranger
        decoded = self.commands.decode(received)
        if isinstance(decoded, Failure):
            self.commands.send(received.identity, decoded)
            return
        request, bulk = decoded
        if isinstance(request, Hello):
            self.commands.send(received.identity, self._greet(received, request, now))
            return
        session = self.sessions.heard(received.identity, received.owner, now)
        if session is None:
            problem = Problem(
                code="protocol", message="the server does not know this client; say hello first"
            )
            self.commands.send(received.identity, Failure(id=getattr(request, "id", 0), problem=problem))
            return
        self.desk.handle(self._caller(session), request, bulk)

    def _greet(self, received: Received, hello: Hello, now: float) -> Reply:
        if hello.protocol != PROTOCOL:
            return Failure(id=hello.id, problem=version_problem(hello.protocol))
        try:
            session = self.sessions.open(received.identity, received.owner, hello.client[:200], now)
        except Refusal as refusal:
            return Failure(id=hello.id, problem=refusal.problem)
        caller = self._caller(session)
        logger.info("hello from %r (%s)", session.client, self.allowed.name_of(session.owner))
        return Welcome(
            id=hello.id,
            protocol=PROTOCOL,
            server=SERVER_NAME,
            session=session.token,
            same_machine=caller.local,
        )

    def _caller(self, session: Session) -> Caller:
        def answer(reply: Reply, bulk: Sequence[Buffer]) -> None:
            self.commands.send(session.identity, reply, bulk)

        def send_event(event: Event, preview: bytes | None) -> None:
            self.publisher.send(session, event, preview)

        return Caller(session.owner, answer, send_event)

    def _on_listen(self, received: Received) -> None:
        if not self.allowed.allows(received.owner):
            return
        decoded = self.events.decode(received)
        if isinstance(decoded, Failure):
            return  # logged; this socket carries no replies
        request, _ = decoded
        if isinstance(request, Listen) and self.sessions.listen(
            request.session, received.owner, received.identity
        ):
            self.events.send(received.identity, Listening())
        else:
            self.events.send(
                received.identity, Goodbye(reason="the server does not know this session; say hello again")
            )

    # ------------------------------------------------------------------------------------ workers

    def _see_to_workers(self) -> None:
        now = time.monotonic()
        for source, message in self.pool.messages(now):
            match message:
                case Died():
                    self.jobs.on_died(source, message)
                    self.asks.on_died(source, message)
                case worker.RefineDone() | worker.DriveDone() | worker.DecodeDone() | worker.RequestFailed():
                    self.asks.on_message(source, message, now)
                case worker.Freed():
                    self.asks.on_freed(message, now)
                case worker.Ready():
                    pass
                case _:
                    self.jobs.on_message(source, message, now)
        self.pool.tick(now)
        self.forgetting.tick(now)
        self.asks.tick(now)
        self.asks.dispatch(now)
        self.jobs.dispatch(now)
        if self.asks.waiting or self.jobs.queue:
            self.pool.start_one(now)
            if (reason := self.pool.failing()) is not None:
                self.asks.fail_waiting(reason)
                self.jobs.fail_queued(reason)
        if now >= self._next_tick:
            self._now_and_then(now)

    def _now_and_then(self, now: float) -> None:
        self._next_tick = now + _TICK_SECONDS
        for session in self.sessions.expire(now):
            logger.info("%r was not heard any more", session.client)
        self.allowed.refresh()
        for owner in self.sessions.owners():
            if not self.allowed.allows(owner):
                self.sessions.close_owner(owner)

    # ------------------------------------------------------------------------------------ the end

    def _stop(self, reason: str) -> None:
        logger.info("stopping: %s", reason)
        self.jobs.interrupt()
        self.publisher.goodbye(reason)
        now = time.monotonic()
        until = now + _STOP_SECONDS
        self.pool.stop_all(now)
        poller = zmq.Poller()
        poller.register(self.wakeup, zmq.POLLIN)
        while not self.pool.empty and now < until:
            poller.poll(100)
            _drain(self.wakeup)
            now = time.monotonic()
            for _ in self.pool.messages(now):
                pass
            self.pool.tick(now)
        self.pool.kill_all()


def _drain(wakeup: socket.socket) -> None:
    try:
        while wakeup.recv(4096):
            pass
    except BlockingIOError:
        pass
