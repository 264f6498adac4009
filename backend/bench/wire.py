"""A plain client of the protocol, and the same bytes from a ROUTER that neither encrypts nor asks.

Import it after ``prefer_system_libsodium``: it imports zmq.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zmq

from backend.server.storage import read_chunk
from blender_addon import protocol
from blender_addon.connection import Connection

UNDER_WAY = 4  # chunks


class Client:
    """A plain client of the protocol."""

    def __init__(self, connection: Connection) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.curve_serverkey = connection.server_public_key.encode()
        self._socket.curve_publickey = connection.client_public_key.encode()
        self._socket.curve_secretkey = connection.client_secret_key.encode()
        self._socket.connect(connection.commands)
        self._send(protocol.Hello(id=1, protocol=protocol.PROTOCOL, client="bench"))
        assert isinstance(self._receive()[0], protocol.Welcome)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def paths(self, job: str) -> list[str]:
        """Where the files of a job lie, told to clients on the same machine alone."""
        return [file.path for file in self.info(job).files if file.path is not None]

    def info(self, job: str) -> protocol.JobInfo:
        self._send(protocol.Attach(id=2, job=job))
        reply, _ = self._receive()
        assert isinstance(reply, protocol.Job)
        return reply.info

    def fetch_all(self, job: str) -> int:
        """Fetch every byte of a job. Returns how many."""
        wanted = [
            (file.name, offset)
            for file in self.info(job).files
            for offset in range(0, file.size_bytes, protocol.CHUNK_BYTES)
        ]
        total = under_way = 0
        while wanted or under_way:
            while wanted and under_way < UNDER_WAY:
                name, offset = wanted.pop(0)
                self._send(protocol.Fetch(id=3, job=job, name=name, offset=offset))
                under_way += 1
            reply, bulk = self._receive()
            assert isinstance(reply, protocol.Chunk)
            total += len(bulk[0])
            under_way -= 1
        return total

    def _send(self, request: Any) -> None:
        self._socket.send_multipart(protocol.encode(request))

    def _receive(self) -> tuple[protocol.Reply, list[protocol.Buffer]]:
        frames = self._socket.recv_multipart(copy=False)
        return protocol.decode_reply([frame.buffer for frame in frames])


@contextlib.contextmanager
def plain_router(paths: list[Path], endpoint: str) -> Iterator[Callable[[], int]]:
    """A ROUTER without encryption in a process of its own; gives a function that fetches every byte."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve_plain, args=(paths, endpoint, theirs)
    )
    process.start()
    theirs.close()  # so that the router's end is seen
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        client = context.socket(zmq.DEALER)
        client.connect(ours.recv())
        yield lambda: _fetch_plain(client, paths)
        client.send_multipart([b"", b""])
        process.join()
    finally:
        process.kill()
        context.destroy(linger=0)


def _fetch_plain(client: zmq.Socket[bytes], paths: list[Path]) -> int:
    wanted = [
        (n, offset)
        for n, path in enumerate(paths)
        for offset in range(0, path.stat().st_size, protocol.CHUNK_BYTES)
    ]
    total = under_way = 0
    while wanted or under_way:
        while wanted and under_way < UNDER_WAY:
            client.send_multipart([b"%d" % number for number in wanted.pop(0)])
            under_way += 1
        total += len(client.recv(copy=False).buffer)
        under_way -= 1
    return total


def _serve_plain(paths: list[Path], endpoint: str, pipe: Any) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(endpoint)
    pipe.send(router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"))
    while True:
        identity, number, offset = router.recv_multipart()
        if not number:
            break
        piece, _ = read_chunk(paths[int(number)], int(offset), protocol.CHUNK_BYTES, whole=True)
        router.send_multipart([identity, piece], copy=False)
    context.destroy(linger=0)
