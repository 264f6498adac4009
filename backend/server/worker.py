"""The worker process: ``python -m backend.server.worker --device cpu --data DIR``, started by the server.

It speaks ``worker_protocol`` over its standard input and output, does one job at a time on its main
thread and answers refine, drive and decode beside it. Models are loaded once and stay. It leaves the number
of numba and torch threads alone, since other numbers could round otherwise than the command line does, and
steps back in priority instead, so that Blender's window stays smooth. BLAS gets one thread: the solves of
fit and pins are small, and on busy cores a second thread makes them wait hundred times over.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

from backend.server.inbox import Aside, Inbox
from backend.server.memory import drop_caches, give_back, rss_bytes
from backend.server.worker_problems import problem_of
from backend.server.worker_protocol import (
    HEARTBEAT_SECONDS,
    DecodeDone,
    DriveDone,
    ForgetPhotos,
    Freed,
    FreeMemory,
    Heartbeat,
    JobFailed,
    Ready,
    RefineDone,
    RequestFailed,
    RunDecode,
    RunDrive,
    RunJob,
    RunRefine,
    Writer,
    reader_to_worker,
)
from blender_addon.protocol import Problem

NICENESS = 5

_log = logging.getLogger("likeness.worker")


class Worker:
    """One worker: its messages, its job at work, its data folder."""

    def __init__(self, inbox: Inbox, writer: Writer, data: Path) -> None:
        self._inbox = inbox
        self._writer = writer
        self._cache = data / "cache"
        self._job: str | None = None
        self._over = threading.Event()

    def serve(self, device: str) -> None:
        """Work until the server ends it. Raises: OSError when the server is gone."""
        self._writer.send(Ready(pid=os.getpid(), device=device))
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        self._inbox.start(self.answer)
        load_models()
        while (work := self._inbox.next()) is not None:
            match work:
                case RunJob():
                    self._run(work)
                case FreeMemory():
                    drop_caches("backend")
                    self._writer.send(Freed(bytes=give_back()))
                case ForgetPhotos():
                    drop_caches("backend")
                    give_back()
        self._over.set()

    def _run(self, order: RunJob) -> None:
        from backend.server.job import run_job
        from backend.server.take_job import run_take

        self._job = order.job
        problem: Problem | None = None
        try:

            def is_cancelled() -> bool:
                return self._inbox.is_cancelled(order.job)

            if order.avatar is not None:
                run_take(order, Path(order.avatar), self._writer.send, is_cancelled)
            else:
                run_job(order, self._cache, self._writer.send, is_cancelled)
        except BrokenPipeError:
            raise
        except Exception as error:  # a job's failure is its own; the worker goes on
            problem = problem_of(error)
        finally:
            self._job = None
            self._inbox.over(order.job)
        if problem is not None:
            give_back()  # what the traceback held is free only now
            self._writer.send(JobFailed(job=order.job, problem=problem))

    def answer(self, request: Aside) -> None:
        """Answer a refine, drive or decode request; on the thread of these, drop what they keep."""
        if isinstance(request, ForgetPhotos):
            drop_caches("backend.server")
            give_back()
            return
        try:
            self._writer.send(_answer(request))
        except Exception as error:  # told to whoever asked
            self._writer.send(RequestFailed(request=request.request, problem=problem_of(error)))

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            try:
                self._writer.send(Heartbeat(rss_bytes=rss_bytes(), job=self._job))
            except OSError:  # the server is gone, which the inbox sees to
                return


def _answer(request: RunRefine | RunDrive | RunDecode) -> RefineDone | DriveDone | DecodeDone:
    match request:
        case RunRefine():
            return _refined(request)
        case RunDrive():
            return _driven(request)
        case RunDecode():
            return _decoded(request)


def _refined(request: RunRefine) -> RefineDone:
    from backend.corrections import Pin
    from backend.server.refine import refine

    start = time.perf_counter()
    pins = tuple(Pin(pin.landmark, pin.x_px, pin.y_px) for pin in request.pins)
    made = refine(Path(request.directory), request.head, pins)
    return RefineDone(
        request=request.request,
        vertices=len(made.neutral),
        seconds=time.perf_counter() - start,
        landmark_error_px=made.landmark_error_px,
        neutral=made.neutral.astype("<f4").tobytes(),
        expressed=made.expressed.astype("<f4").tobytes(),
        landmarks=made.landmarks_px.astype("<f4").tobytes(),
    )


def _driven(request: RunDrive) -> DriveDone:
    from backend.server.drive import drive, weights_of

    made = drive(Path(request.directory), weights_of(request.weights, request.frames))
    return DriveDone(request=request.request, vertices=made.shape[1], data=made.astype("<f4").tobytes())


def _decoded(request: RunDecode) -> DecodeDone:
    from backend.server.decode import decode

    splats, data = decode(Path(request.directory), request.vertices)
    return DecodeDone(request=request.request, splats=splats, data=data)


def load_models() -> None:
    """Import what jobs need and load the shipped head, so that the first job does not wait for it."""
    from threadpoolctl import threadpool_limits

    import backend.server.job
    import backend.server.refine  # noqa: F401
    from backend import engines
    from backend.head.registry import load_head

    engines.choose("auto")
    load_head("open")
    threadpool_limits(limits=1, user_api="blas")  # counts for the libraries loaded by now


def private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the server, moved away from standard input and output.

    What any library prints then goes to the log, and nothing can read the server's messages by mistake.
    """
    incoming, outgoing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        for handle in (incoming, outgoing):
            msvcrt.setmode(handle, os.O_BINARY)
    return os.fdopen(incoming, "rb", buffering=0), os.fdopen(outgoing, "wb")


def main() -> int:
    """Run a worker until its server ends it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m backend.server.worker", description=__doc__)
    parser.add_argument("--device", default="cpu", help="what to compute on; this version: cpu")
    parser.add_argument("--data", type=Path, required=True, help="the server's data folder")
    options = parser.parse_args()

    incoming, outgoing = private_pipes()
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the server's terminal is the server's
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    writer = Writer(outgoing)
    try:
        Worker(Inbox(reader_to_worker(incoming)), writer, options.data).serve(options.device)
    except BrokenPipeError:
        _log.info("the server is gone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
