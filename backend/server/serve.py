"""``likeness serve``: from options to a running server, and its orderly end."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import zmq

from backend.errors import BadInput, LikenessError, Missing, OutOfResources
from backend.server import storage
from backend.server.asks import Asks
from backend.server.auth import AllowList, ZapHandler
from backend.server.data_folder import DataFolder, open_data_folder, take_lock
from backend.server.endpoints import Endpoints, bind_local, bind_remote, make_sockets
from backend.server.forget import Forgetting
from backend.server.jobs import Jobs
from backend.server.journal import Journal
from backend.server.keys import SERVER_NAME, KeyPair, new_key_pair, server_keys, write_connection
from backend.server.limits import QUIET_SECONDS
from backend.server.loop import Loop
from backend.server.parents import is_alive
from backend.server.pool import Pool
from backend.server.problems import storage_problem
from backend.server.publisher import Publisher
from backend.server.requests import Desk
from backend.server.sessions import Sessions
from backend.server.wire import Port

logger = logging.getLogger(__name__)

_LOG_BYTES = 1 << 20
_LOG_FILES = 3
_PARENT_CHECK_SECONDS = 2.0


@dataclass(frozen=True)
class ServeOptions:
    """What ``likeness serve`` was asked for."""

    data: Path
    devices: Sequence[str]
    cache_cap_bytes: int
    bind: str | None = None  # tcp://HOST:PORT for clients on other machines
    authorize: Path | None = None  # folder of their public keys
    parents: Sequence[int] = ()
    ipc: bool | None = None  # None: where the platform has it


@dataclass
class _Stop:
    """Why to stop, once there is a reason."""

    parents: Sequence[int]
    busy: Callable[[], bool]
    last_heard: Callable[[], float]
    reason: str | None = None
    started_at: float = field(default_factory=time.monotonic)
    _checked_at: float = float("-inf")

    def ask(self, reason: str) -> None:
        self.reason = self.reason or reason

    def __call__(self) -> str | None:
        now = time.monotonic()
        if self.parents and now - self._checked_at >= _PARENT_CHECK_SECONDS:
            self._checked_at = now
            quiet = now - max(self.last_heard(), self.started_at) > QUIET_SECONDS
            if quiet and not self.busy() and not any(is_alive(pid) for pid in self.parents):
                self.ask("the program that started the backend is gone")
        return self.reason


def serve(
    options: ServeOptions,
    worker_command: Callable[[Path], Callable[[str], Sequence[str]]],
    announce: Callable[[str], None],
) -> None:
    """Run a server until it is asked to stop. ``announce`` gets one line when it is ready.

    Raises: LikenessError when it cannot start; then nothing of it stays behind.
    """
    if options.bind and options.authorize is None:
        raise BadInput("--bind lets other machines in; name those that may with --authorize FOLDER")
    if options.authorize is not None and not options.authorize.is_dir():
        raise BadInput(f"'{options.authorize}' is not a folder; make keys with: likeness serve keys NAME")
    data = open_data_folder(options.data)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(take_lock(data))
            stack.enter_context(_logging_to(data))
            _serve_locked(options, data, worker_command, announce, stack)
        except LikenessError:
            raise
        except OSError as error:
            problem = storage_problem(error)
            kind = OutOfResources if problem.code == "out_of_resources" else Missing
            raise kind(problem.message) from error


def _serve_locked(
    options: ServeOptions,
    data: DataFolder,
    worker_command: Callable[[Path], Callable[[str], Sequence[str]]],
    announce: Callable[[str], None],
    stack: contextlib.ExitStack,
) -> None:
    data.connection.unlink(missing_ok=True)  # of a server that was killed
    storage.remove_leftovers(data)
    journal = Journal(data.journal)
    stack.callback(journal.close)
    wakeup, waker = socket.socketpair()
    for end in (wakeup, waker):
        end.setblocking(False)
        stack.callback(end.close)

    # Encryption happens on these threads: a big transfer must not hold up everybody else's messages.
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=2)
    stack.callback(context.term)
    keys, local = server_keys(data), new_key_pair()
    allowed = AllowList(local.public, options.authorize)
    zap = ZapHandler(context, allowed)  # before any socket: without it CURVE lets everybody in
    stack.callback(zap.close)
    command_socket, event_socket = make_sockets(context, keys)
    stack.callback(command_socket.close)
    stack.callback(event_socket.close)
    endpoints = bind_local(command_socket, event_socket, data, ipc=options.ipc)
    stack.callback(_remove_sockets, endpoints)
    if options.bind:
        bind_remote(command_socket, event_socket, options.bind)

    commands, events, sessions = Port(command_socket), Port(event_socket), Sessions()
    publisher = Publisher(events, sessions)
    pool = Pool(options.devices, worker_command(data.root), data.logs, lambda: _wake(waker))
    stack.callback(pool.kill_all)
    jobs = Jobs(data, journal, pool, publisher.publish, options.cache_cap_bytes)
    jobs.load()
    asks = Asks(pool)
    forgetting = Forgetting(data, jobs, asks)
    stop = _Stop(options.parents, lambda: bool(jobs.queue or jobs.running), sessions.last_heard)
    desk = Desk(
        data=data,
        jobs=jobs,
        asks=asks,
        forgetting=forgetting,
        pool=pool,
        networked=options.bind is not None,
        cache_cap_bytes=options.cache_cap_bytes,
        stop=stop.ask,
        started_at=time.monotonic(),
    )
    loop = Loop(
        commands=commands,
        events=events,
        zap=zap,
        allowed=allowed,
        sessions=sessions,
        publisher=publisher,
        pool=pool,
        jobs=jobs,
        asks=asks,
        forgetting=forgetting,
        desk=desk,
        wakeup=wakeup,
        stop_reason=stop,
    )
    with _signals(stop, waker):
        _announce(data, endpoints, keys, local, options, announce, stack)
        loop.run()
    try:
        storage.remove_leftovers(data)
    except OSError as error:  # the next start does it
        logger.warning("what was half-written could not be removed (%s)", error)


def _announce(
    data: DataFolder,
    endpoints: Endpoints,
    keys: KeyPair,
    local: KeyPair,
    options: ServeOptions,
    announce: Callable[[str], None],
    stack: contextlib.ExitStack,
) -> None:
    """Write the connection file, the sign that the server is ready; it goes first when the server ends."""
    write_connection(
        data.connection,
        commands=endpoints.commands,
        events=endpoints.events,
        server_public=keys.public,
        client=local,
        pid=os.getpid(),
    )
    stack.callback(data.connection.unlink, missing_ok=True)
    remote = f", other machines: {options.bind}" if options.bind else ""
    logger.info("%s serves (pid %d)%s", SERVER_NAME, os.getpid(), remote)
    announce(f"{SERVER_NAME} serves; connection file: {data.connection}{remote}")


def _wake(waker: socket.socket) -> None:
    # Full means that the loop is about to wake anyway; closed means that it has ended.
    with contextlib.suppress(BlockingIOError, OSError):
        waker.send(b"\0")


def _remove_sockets(endpoints: Endpoints) -> None:
    if endpoints.folder is None:
        return
    for name in ("commands", "events"):
        (endpoints.folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody put something else there
        endpoints.folder.rmdir()


@contextlib.contextmanager
def _signals(stop: _Stop, waker: socket.socket) -> Iterator[None]:
    """SIGINT and SIGTERM stop the server in order; the poll returns for them through ``waker``."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.ask(f"the backend was stopped ({signal.Signals(number).name})")

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.signal(number, on_signal) for number in numbers}
    old_wakeup = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(old_wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _logging_to(data: DataFolder) -> Iterator[None]:
    logging.raiseExceptions = False  # a full disk must not stop the server, only its log
    try:
        handler = logging.handlers.RotatingFileHandler(
            data.logs / "server.log", maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8"
        )
    except OSError as error:
        raise Missing(f"the log in '{data.logs}' cannot be written ({error.strerror})") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("backend.server")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    except BaseException:
        root.exception("the server ends")
        raise
    finally:
        root.removeHandler(handler)
        handler.close()
