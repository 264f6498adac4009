"""A server process and a plain synchronous client, for the tests of the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import zmq

from blender_addon import protocol as p
from blender_addon.connection import CONNECTION_NAME, Connection, read_connection

SERVER_PROCESS = Path(__file__).with_name("server_process.py")
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0  # no test measures time against it; it only keeps a broken server from hanging the suite
PHOTO = b"\xff\xd8\xff a photo that nobody else has " + bytes(range(256)) * 40


class Server:
    """``server_process.py`` on a data folder."""

    def __init__(self, data: Path, *arguments: str, wait: bool = True) -> None:
        self.data = data
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER_PROCESS), "--data", str(data), *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if wait:
            line = self.process.stdout.readline()
            assert "serves" in line, self.process.communicate(timeout=5)

    @property
    def connection(self) -> Connection:
        return read_connection(self.data / CONNECTION_NAME)

    def kill(self) -> None:
        """Kill it as the system would, and nothing else."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """The exit code of a process that was told to end: a signal on top may meet it past its handlers."""
        try:
            self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        return self.process.returncode


class Silence(AssertionError):
    """Nothing came."""


class Client:
    """Requests and events of one connection, one after the other."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.context = zmq.Context()
        self.commands = self._connect(connection.commands)
        self.events = self._connect(connection.events)
        self.last_id = 0
        self.kept: list[tuple[p.Event, list]] = []  # events read while waiting for others
        self.welcome: p.Welcome | None = None

    def _connect(self, endpoint: str) -> zmq.Socket:
        socket = self.context.socket(zmq.DEALER)
        socket.linger = 0
        socket.curve_serverkey = self.connection.server_public_key.encode()
        socket.curve_publickey = self.connection.client_public_key.encode()
        socket.curve_secretkey = self.connection.client_secret_key.encode()
        socket.connect(endpoint)
        return socket

    def hello(self, protocol: int = p.PROTOCOL) -> None:
        reply = self.ask(p.Hello, protocol=protocol, client="test")
        assert isinstance(reply, p.Welcome), reply
        self.welcome = reply
        self.events.send_multipart(p.encode(p.Listen(session=reply.session)))
        assert isinstance(self.event()[0], p.Listening)

    def send(self, kind, bulk=(), **fields) -> int:
        self.last_id += 1
        self.commands.send_multipart(p.encode(kind(id=self.last_id, **fields), bulk))
        return self.last_id

    def ask(self, kind, bulk=(), timeout_s: float = PATIENCE_S, **fields) -> p.Reply:
        return self.ask_bulk(kind, bulk, timeout_s, **fields)[0]

    def ask_bulk(self, kind, bulk=(), timeout_s: float = PATIENCE_S, **fields):
        wanted = self.send(kind, bulk, **fields)
        while True:
            reply, frames = self.reply(timeout_s)
            if reply.id == wanted:
                return reply, frames

    def reply(self, timeout_s: float = PATIENCE_S):
        if not self.commands.poll(timeout_s * 1000):
            raise Silence("no reply")
        return p.decode_reply(self.commands.recv_multipart())

    def event(self, timeout_s: float = PATIENCE_S):
        if not self.events.poll(timeout_s * 1000):
            raise Silence("no event")
        return p.decode_event(self.events.recv_multipart())

    def submit(self, engine: str = "good", photo: bytes = PHOTO, **fields) -> str:
        reply = self.ask(
            p.Submit, [photo], name="portrait", photo_frame=0, options=p.Options(engine=engine), **fields
        )
        assert isinstance(reply, p.Accepted), reply
        return reply.job

    def wait(self, job: str, *kinds, timeout_s: float = PATIENCE_S):
        """The first event of ``job`` of one of these kinds; others are kept in ``kept``."""
        kinds = kinds or (p.Done, p.Failed, p.Cancelled)
        for index, (event, _) in enumerate(self.kept):
            if getattr(event, "job", None) == job and isinstance(event, kinds):
                del self.kept[index]
                return event
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            event, bulk = self.event(left)
            if getattr(event, "job", None) == job and isinstance(event, kinds):
                return event
            self.kept.append((event, bulk))
        raise Silence(f"no {kinds} of {job}")

    def state(self) -> p.State:
        reply = self.ask(p.List)
        assert isinstance(reply, p.State), reply
        return reply

    def info(self, job: str) -> p.JobInfo:
        return next(info for info in self.state().jobs if info.job == job)

    def close(self) -> None:
        self.context.destroy(linger=0)


def bytes_below(folder: Path, needle: bytes) -> list[Path]:
    """Files below ``folder`` that contain ``needle``."""
    return [path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]
