"""The server: start, idle memory, hand-over of a result by path, throughput beside memcpy and plain ZeroMQ.

The result handed over is five float32 arrays of 64 MiB each (a head's maps at 4K take that in memory). By
path: from the request to five arrays opened and their first and last element read. Over the wire: every byte
fetched in chunks of 8 MiB, four under way, once through the server with CURVE, once from a plain ROUTER
that sends the same pages of the same files without encryption, in turns.

CURVE is as fast as its libsodium: the variant ``wheel`` measures the one in the pyzmq wheel instead of
the system's, on both sides.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.bench.sheet import YARDSTICK, Setting, Sheet, in_turns, main, yardstick
from backend.errors import Missing
from blender_addon.libsodium import prefer_system_libsodium

if TYPE_CHECKING:
    from backend.server.data_folder import DataFolder

WHEEL = "wheel"
MEMCPY = "memcpy"


def measure(setting: Setting, sheet: Sheet) -> None:
    """Start and idle memory, then hand-over and throughput."""
    wheel = setting.variant == WHEEL
    sodium = None if wheel else prefer_system_libsodium()  # before zmq is imported
    if sodium is None and not wheel:
        raise Missing("this system has no libsodium of its own; server-wheel measures the wheel's")
    # The wheel's is twenty times slower; fewer bytes tell the same.
    count, side = (1, 1024) if setting.quick else (1, 4096) if wheel else (5, 4096)
    sheet.workload(
        f"{count} float32 arrays of {side * side * 4 >> 20} MiB, "
        f"CURVE by {'the libsodium of the pyzmq wheel' if wheel else 'the system’s libsodium'}"
    )
    if not wheel:
        for number in range(setting.repeat):
            ready = start_time(setting.folder / f"empty{number}", wheel)
            sheet.value("start to ready", ready, "s", YARDSTICK)
            sheet.value(YARDSTICK, yardstick(), "s")
    _with_results(setting, sheet, wheel, count, side)


def _with_results(setting: Setting, sheet: Sheet, wheel: bool, count: int, side: int) -> None:
    from backend.bench.wire import Client, plain_router
    from backend.server.auth import LOCAL
    from backend.server.data_folder import open_data_folder
    from backend.server.keys import make_client
    from blender_addon.connection import read_connection

    data = open_data_folder(setting.folder / "data")
    clients, port = setting.folder / "clients", _free_port()
    _, key_file = make_client(data, clients, "bench", f"tcp://127.0.0.1:{port}")
    remote = read_connection(key_file)
    local_job = make_job(data, LOCAL, count, side)
    remote_job = make_job(data, remote.client_public_key, count, side)
    options = ["--bind", f"tcp://127.0.0.1:{port}", "--authorize", str(clients)]
    with running_server(data.root, wheel, *options) as pid:
        time.sleep(1.0)
        _resident(sheet, "idle, resident", pid)
        with contextlib.ExitStack() as stack:
            local = stack.enter_context(Client(read_connection(data.connection)))
            far = stack.enter_context(Client(remote))
            paths = [data.job(remote_job) / name for name in _names(count)]
            by_path: dict[str, Callable[[], None]] = {
                "hand-over by path": lambda: read_ends([Path(path) for path in local.paths(local_job)]),
                "the same files without a server": lambda: read_ends(paths),
            }
            for work in by_path.values():
                work()  # finds the files' pages
            if not wheel:
                in_turns(sheet, by_path, setting.repeat, "hand-over by path")
            ways: dict[str, Callable[[], int]] = {
                "through the server, tcp": lambda: far.fetch_all(remote_job),
                "plain ZeroMQ, tcp": stack.enter_context(plain_router(paths, "tcp://127.0.0.1:*")),
                MEMCPY: memcpy(count, side),
            }
            if sys.platform != "win32":  # ZeroMQ has no ipc there
                ways["through the server, ipc"] = lambda: local.fetch_all(local_job)
                ways["plain ZeroMQ, ipc"] = stack.enter_context(
                    plain_router(paths, f"ipc://{setting.folder}/plain")
                )
            throughput(sheet, setting.repeat, ways)
        _resident(sheet, "after that, resident", pid)


def start_time(data: Path, wheel: bool) -> float:
    """Seconds from the start of the process to its word that it is ready."""
    start = time.perf_counter()
    with running_server(data, wheel):
        return time.perf_counter() - start


@contextlib.contextmanager
def running_server(data: Path, wheel: bool, *options: str) -> Iterator[int]:
    """``likeness serve``; gives its pid once it is ready."""
    too_late = "import zmq; " if wheel else ""
    code = f"import sys; {too_late}from backend.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--data", str(data), *options], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the server did not start")
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def make_job(data: DataFolder, owner: str, count: int, side: int) -> str:
    """Put a finished job with ``count`` arrays into a data folder, as a worker would leave it."""
    from backend.server.journal import Journal, Record
    from blender_addon import protocol

    job = str(uuid.uuid4())
    data.job(job).mkdir()
    rng = np.random.default_rng(0)
    for name in _names(count):
        np.save(data.job(job) / name, rng.random((side, side), np.float32))
    record = Record(
        job=job,
        owner=owner,
        state="done",
        photo_name="bench",
        photo_sha256="0" * 64,
        options=protocol.Options(),
        submitted_s=0.0,
        files=tuple((name, (data.job(job) / name).stat().st_size) for name in _names(count)),
    )
    journal = Journal(data.journal)
    journal.save(record)
    journal.close()
    return job


def _names(count: int) -> list[str]:
    return [f"{n}.npy" for n in range(count)]


def read_ends(paths: list[Path]) -> None:
    """Open arrays and read their first and last element."""
    for path in paths:
        array = np.load(path, mmap_mode="r")
        if not array[0, 0] < 1 > array[-1, -1]:
            raise ValueError(f"{path} does not hold numbers below 1")


def memcpy(count: int, side: int) -> Callable[[], int]:
    """Copies as many bytes inside this process; returns how many."""
    source = np.random.default_rng(0).random((side, side), np.float32)
    target = np.zeros_like(source)

    def copy() -> int:
        for _ in range(count):
            np.copyto(target, source)
        return count * source.nbytes

    return copy


def throughput(sheet: Sheet, rounds: int, ways: Mapping[str, Callable[[], int]]) -> None:
    """GiB/s of every way, measured in turns."""
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            total = way()
            rate = total / 2**30 / (time.perf_counter() - start)
            plain = name.replace("through the server", "plain ZeroMQ")
            baselines = (plain, MEMCPY) if name != plain else ()
            sheet.value(name, rate, "GiB/s", *baselines, better="higher")


def _resident(sheet: Sheet, name: str, pid: int) -> None:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        sheet.leave_out(name, "this system does not tell by a file")
        return
    sheet.value(name, int(status.read_text().partition("VmRSS:")[2].split()[0]) / 1024, "MiB")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(measure))
