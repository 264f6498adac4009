"""Measure the server: start, idle memory, hand-over of a result by path, throughput beside plain ZeroMQ.

    python bench/server.py [--repeat 5]

The result handed over is five float32 arrays of 64 MiB each (a head's maps at 4K take that in memory). By
path: from the request to five arrays opened and their first and last element read. Over the wire: every byte
fetched in chunks of 8 MiB, four under way, once through the server with CURVE, once from a plain ROUTER
that sends the same pages of the same files without encryption, in turns.

CURVE is as fast as its libsodium: ``--wheel-libsodium`` measures the one in the pyzmq wheel instead of
the system's, on both sides.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from blender_addon.libsodium import prefer_system_libsodium

WHEEL = "--wheel-libsodium" in sys.argv
SODIUM = None if WHEEL else prefer_system_libsodium()  # before zmq is imported
# ruff: noqa: E402
import zmq

from backend.server.auth import LOCAL
from backend.server.data_folder import DataFolder, open_data_folder
from backend.server.journal import Journal, Record
from backend.server.keys import make_client
from backend.server.storage import read_chunk
from blender_addon import protocol
from blender_addon.connection import Connection, read_connection

ARRAYS, SIDE = 5, 4096  # float32 (4096, 4096) is 64 MiB
UNDER_WAY = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--wheel-libsodium", action="store_true")
    repeat: int = parser.parse_args().repeat
    print(f"encryption: {SODIUM or 'the libsodium of the pyzmq wheel'}")
    with tempfile.TemporaryDirectory(prefix="likeness-bench-") as folder:
        print(f"ready: {_spread([start_time(Path(folder) / f'empty{n}') for n in range(repeat)], 's')}")
        data = open_data_folder(Path(folder) / "data")
        clients, port = Path(folder) / "clients", _free_port()
        _, key_file = make_client(data, clients, "bench", f"tcp://127.0.0.1:{port}")
        remote = read_connection(key_file)
        local_job, remote_job = make_job(data, LOCAL), make_job(data, remote.client_public_key)
        options = ["--bind", f"tcp://127.0.0.1:{port}", "--authorize", str(clients)]
        with running_server(data.root, *options) as pid:
            time.sleep(1.0)
            print(f"idle: {_resident_mib(pid):.0f} MiB")
            with Client(read_connection(data.connection)) as local, Client(remote) as far:
                hand_over(local, local_job)  # the first one finds the files' pages
                print(f"by path: {_spread([hand_over(local, local_job) for _ in range(repeat)], 's')}")
                paths = [data.job(remote_job) / name for name in _names()]
                throughput(
                    repeat,
                    {
                        "CURVE, tcp": lambda: far.fetch_all(remote_job),
                        "CURVE, ipc": lambda: local.fetch_all(local_job),
                        "plain, tcp": lambda: plain_fetch(paths, "tcp://127.0.0.1:*"),
                        "plain, ipc": lambda: plain_fetch(paths, f"ipc://{folder}/plain"),
                    },
                )
            print(f"idle after that: {_resident_mib(pid):.0f} MiB")


def start_time(data: Path) -> float:
    """Seconds from the start of the process to its word that it is ready."""
    start = time.perf_counter()
    with running_server(data):
        return time.perf_counter() - start


@contextlib.contextmanager
def running_server(data: Path, *options: str) -> Iterator[int]:
    """``likeness serve``; gives its pid once it is ready."""
    too_late = "import zmq; " if WHEEL else ""
    code = f"import sys; {too_late}from backend.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--data", str(data), *options], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            sys.exit("the server did not start")
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def make_job(data: DataFolder, owner: str) -> str:
    """Put a finished job with five arrays into a data folder, as a worker would leave it."""
    job = str(uuid.uuid4())
    data.job(job).mkdir()
    rng = np.random.default_rng(0)
    for name in _names():
        np.save(data.job(job) / name, rng.random((SIDE, SIDE), np.float32))
    record = Record(
        job=job,
        owner=owner,
        state="done",
        photo_name="bench",
        photo_sha256="0" * 64,
        options=protocol.Options(),
        submitted_s=0.0,
        files=tuple((name, (data.job(job) / name).stat().st_size) for name in _names()),
    )
    journal = Journal(data.journal)
    journal.save(record)
    journal.close()
    return job


def _names() -> list[str]:
    return [f"{n}.npy" for n in range(ARRAYS)]


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


def hand_over(client: Client, job: str) -> float:
    """Seconds from the request to five arrays that can be read."""
    start = time.perf_counter()
    for file in client.info(job).files:
        assert file.path is not None
        array = np.load(file.path, mmap_mode="r")
        assert array.shape == (SIDE, SIDE)
        assert array[0, 0] < 1 > array[-1, -1]
    return time.perf_counter() - start


def plain_fetch(paths: list[Path], endpoint: str) -> int:
    """Fetch the same chunks from a ROUTER without encryption in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve_plain, args=(paths, endpoint, theirs))
    process.start()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    client = context.socket(zmq.DEALER)
    client.connect(ours.recv())
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
    client.send_multipart([b"", b""])
    process.join()
    context.destroy(linger=0)
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


def throughput(repeat: int, ways: dict[str, Callable[[], int]]) -> None:
    """Print GiB/s of every way, measured in turns."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            start = time.perf_counter()
            total = way()
            rates[name].append(total / 2**30 / (time.perf_counter() - start))
    for name, values in rates.items():
        print(f"{name}: {_spread(values, 'GiB/s')}")


def _spread(values: list[float], unit: str) -> str:
    return f"median {statistics.median(values):.3f} {unit} ({min(values):.3f} to {max(values):.3f})"


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


if __name__ == "__main__":
    main()
