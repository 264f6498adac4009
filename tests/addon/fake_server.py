"""A server that speaks the protocol from a thread, without a backend, and misbehaves on demand."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from blender_addon import protocol
from blender_addon.client import Pace
from blender_addon.connection import CONNECTION_NAME, Connection

# A client that waits for nothing long.
HURRIED = Pace(hello_s=1.5, ping_s=0.1, silence_s=0.8, retry_first_s=0.02, retry_most_s=0.05)

Reply = tuple[protocol.Reply, Sequence[bytes]]


@dataclass
class Misbehaviour:
    """What the server does wrong; changed at any time by the test."""

    silent: bool = False  # reads, never answers
    malformed: bool = False  # answers with the right number but nonsense around it
    strangers: int = 0  # sends this many meaningless messages before each reply
    protocol: int = protocol.PROTOCOL
    slow_s: float = 0.0  # before each reply
    dies_at: str | None = None  # tag of the request at which it is gone, without an answer
    drops: set[int] = field(default_factory=set)  # numbers of events that get lost once


class FakeServer:
    """Binds at once; ``stop`` or ``die`` ends it. ``requests`` holds what was read, in order."""

    def __init__(self, folder: Path, *, endpoint: str = "tcp://127.0.0.1:*", admit: bool = True) -> None:
        self.folder, self.does = folder, Misbehaviour()
        self.connection_file = folder / CONNECTION_NAME
        self.requests: list[protocol.Request] = []
        self.kept: dict[str, list[tuple[protocol.JobEvent, list[bytes]]]] = {}
        self.infos: dict[str, protocol.JobInfo] = {}
        self.answers: dict[type, Callable[[Any, list[bytes]], Reply]] = {}
        self._outgoing: queue.SimpleQueue[tuple[protocol.Event, list[bytes]]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._context: zmq.Context[Any] = zmq.Context()
        server_public, server_secret = zmq.curve_keypair()
        client_public, client_secret = zmq.curve_keypair()
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.thread.authenticator.certs["*"] = {client_public: True} if admit else {}
        self._authenticator.thread.authenticator.allow_any = False
        self._sockets = [self._bind(endpoint, server_secret) for _ in range(2)]
        connection = Connection(
            protocol=protocol.PROTOCOL,
            server="fake 0",
            pid=None,
            commands=self._sockets[0].last_endpoint.decode(),
            events=self._sockets[1].last_endpoint.decode(),
            server_public_key=server_public.decode(),
            client_public_key=client_public.decode(),
            client_secret_key=client_secret.decode(),
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.connection_file.write_bytes(msgspec.json.encode(connection))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _bind(self, endpoint: str, secret: bytes) -> zmq.Socket[Any]:
        router = self._context.socket(zmq.ROUTER)
        router.linger = 0
        router.curve_server = True
        router.curve_secretkey = secret
        router.zap_domain = b"*"
        router.bind(endpoint)
        return router

    def emit(self, event: protocol.Event, bulk: Sequence[bytes] = ()) -> None:
        """Send an event to who listens; all but progress are kept for Attach. From any thread."""
        if isinstance(event, protocol.JobEvent) and not isinstance(event, protocol.StageProgress):
            self.kept.setdefault(event.job, []).append((event, list(bulk)))
        self._outgoing.put((event, list(bulk)))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def seen(self, kind: type) -> list[Any]:
        return [request for request in self.requests if isinstance(request, kind)]

    # --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        commands, events = self._sockets
        listeners: set[bytes] = set()
        poller = zmq.Poller()
        for router in self._sockets:
            poller.register(router, zmq.POLLIN)
        while not self._stop.is_set():
            ready = dict(poller.poll(5))
            if events in ready:
                identity, *frames = events.recv_multipart()
                request, _ = protocol.decode_request(frames)
                self.requests.append(request)
                listeners.add(identity)
                if not self.does.silent:
                    events.send_multipart([identity, *protocol.encode(protocol.Listening())])
            if commands in ready:
                identity, *frames = commands.recv_multipart()
                self._answer(commands, identity, frames)
            while not self._outgoing.empty():
                event, bulk = self._outgoing.get()
                number = getattr(event, "number", None)
                if number in self.does.drops:
                    self.does.drops.discard(number)
                    continue
                for identity in listeners:
                    events.send_multipart([identity, *protocol.encode(event, bulk)])
        for router in self._sockets:
            router.close(linger=0)
        self._authenticator.stop()
        self._context.destroy(linger=0)

    def _answer(self, commands: zmq.Socket[Any], identity: bytes, frames: list[bytes]) -> None:
        request, bulk = protocol.decode_request(frames)
        self.requests.append(request)
        if self.does.dies_at == type(request).__struct_config__.tag:
            self._stop.set()
            return
        if self.does.silent:
            return
        time.sleep(self.does.slow_s)
        for number in range(self.does.strangers):
            commands.send_multipart([identity, protocol.MAGIC, b"\xc1" * (number + 1)])
            commands.send_multipart([identity, b"?"])
        reply, out = self._reply(request, bulk)
        encoded = protocol.encode(reply, out)
        if self.does.malformed:
            encoded[1] = msgspec.msgpack.encode({"type": "never heard of", "id": reply.id})
        commands.send_multipart([identity, *encoded])

    def _reply(self, request: protocol.Request, bulk: list[bytes]) -> Reply:
        if type(request) in self.answers:
            return self.answers[type(request)](request, bulk)
        if isinstance(request, protocol.Hello):
            welcome = protocol.Welcome(
                id=request.id, protocol=self.does.protocol, server="fake 0", session="s", same_machine=False
            )
            return welcome, ()
        if isinstance(request, protocol.Attach):
            if request.job not in self.infos:
                problem = protocol.Problem(code="unknown_job", message="no such job")
                return protocol.Failure(id=request.id, problem=problem), ()
            for event, frames in self.kept.get(request.job, []):
                if event.number > request.after:
                    self._outgoing.put((event, frames))
            return protocol.Job(id=request.id, info=self.infos[request.job]), ()
        return protocol.Ok(id=request.id), ()


def job_info(job: str, state: protocol.JobState = "running", **more: Any) -> protocol.JobInfo:
    return protocol.JobInfo(
        job=job,
        state=state,
        photo_name="anna",
        photo_sha256="0" * 64,
        options=protocol.Options(),
        submitted_s=0.0,
        **more,
    )
