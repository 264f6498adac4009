"""The worker processes, one per device: started when there is work, ended when idle, restarted after a crash.

The pool knows no jobs' meaning: it hands one task at a time to an idle worker, short requests beside it,
and tells what came of them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend.server.channel import Channel, Exited, Inbox
from backend.server.problems import exit_in_words
from backend.server.worker_protocol import (
    ForgetPhotos,
    FreeMemory,
    FromWorker,
    Heartbeat,
    Ready,
    Stop,
    ToWorker,
)
from blender_addon.protocol import WorkerInfo

logger = logging.getLogger(__name__)

START_SECONDS = 120.0  # from the start of the process to Ready (a cold disk is slow to import torch)
SILENCE_SECONDS = 120.0  # without a heartbeat; native code may hold the interpreter for a while
CANCEL_SECONDS = 0.6  # from Cancel to the kill
STOP_SECONDS = 3.0  # from Stop to the kill
ASIDE_SECONDS = 60.0  # for a short request (refine, drive)
IDLE_SECONDS = 600.0  # then an idle worker is ended: all of its memory is given back
BACKOFF_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before the next start, by crashes in a row
MAX_FAILED_STARTS = 3  # of every device in a row: then waiting jobs fail with the reason
_LOG_BYTES = 1 << 20


@dataclass(frozen=True)
class Died:
    """A worker process ended; ``reason`` in words."""

    reason: str
    asked: bool  # it was cancelled or stopped, so it is nobody's fault
    task: str | None  # what it was at


@dataclass
class Worker:
    """One device and, while it is needed, its process."""

    device: str
    channel: Channel | None = None
    ready: bool = False
    task: str | None = None  # what it works on, as the caller of ``hand`` named it
    aside_since: float | None = None  # it answers a short request, beside its task
    rss_bytes: int | None = None
    last_exit: str | None = None
    crashes: int = 0  # in a row, without a finished task between
    failed_starts: int = 0  # in a row
    log_start: int = 0  # where this process's part of the log begins
    # Times on the caller's clock, seconds.
    started_at: float = 0.0
    heard_at: float = 0.0
    idle_since: float = 0.0
    start_after: float = 0.0
    kill_at: float | None = None
    asked_to_end: bool = False  # a cancel or a stop is under way
    stopping: bool = False  # Stop was sent
    killed_for: str | None = None  # killed by the server; its exit is on the way

    @property
    def idle(self) -> bool:
        return self.ready and self.task is None and not self.stopping and self.killed_for is None


@dataclass
class Pool:
    """The workers. ``wake`` is called from other threads when ``messages`` has something new."""

    devices: Sequence[str]
    command: Callable[[str], Sequence[str]]  # of a device
    logs: Path
    wake: Callable[[], None]
    workers: list[Worker] = field(init=False)
    _inbox: Inbox = field(init=False)

    def __post_init__(self) -> None:
        self.workers = [Worker(device) for device in self.devices]
        self._inbox = Inbox()

    # ------------------------------------------------------------------------------ giving work

    def idle_worker(self) -> Worker | None:
        """A worker that can be handed a task now."""
        return next((worker for worker in self.workers if worker.idle), None)

    def start_one(self, now: float) -> None:
        """Start a process for a device that has none, unless one is starting or must wait after a crash."""
        if any(w.channel and not w.ready for w in self.workers):
            return
        for worker in self.workers:
            if worker.channel is None and now >= worker.start_after:
                self._start(worker, now)
                return

    def hand(self, worker: Worker, task: str, message: ToWorker, now: float) -> None:
        """Give an idle worker its task; it is busy until ``finished``."""
        assert worker.channel is not None
        worker.task, worker.heard_at = task, now
        worker.channel.send(message)

    def finished(self, worker: Worker, now: float) -> None:
        """The task of ``worker`` is over, and the process is well."""
        worker.task, worker.crashes, worker.idle_since = None, 0, now
        if not worker.stopping:
            worker.kill_at, worker.asked_to_end = None, False

    def worker_for_aside(self) -> Worker | None:
        """A worker that can answer a short request now, one without a task if there is one."""
        able = [
            w
            for w in self.workers
            if w.ready and w.aside_since is None and not w.asked_to_end and w.killed_for is None
        ]
        return min(able, key=lambda w: w.task is not None, default=None)

    def hand_aside(self, worker: Worker, message: ToWorker, now: float) -> None:
        """Give a worker a short request, which it answers also while its task runs."""
        assert worker.channel is not None
        worker.aside_since = now
        worker.channel.send(message)

    def aside_finished(self, worker: Worker, now: float) -> None:
        """The short request is answered."""
        worker.aside_since, worker.idle_since = None, now

    def end_soon(self, worker: Worker, message: ToWorker, now: float) -> None:
        """Ask with ``message`` and kill the process when the task has not finished in CANCEL_SECONDS."""
        if worker.channel is not None and worker.kill_at is None:
            worker.channel.send(message)
            worker.kill_at, worker.asked_to_end = now + CANCEL_SECONDS, True

    def forget_photos(self) -> None:
        """Have every worker, also a busy one, drop what it keeps in memory of photos."""
        for worker in self.workers:
            if worker.channel is not None:
                worker.channel.send(ForgetPhotos())

    def free_memory(self) -> int:
        """Ask every idle worker to drop its models. Returns how many will answer with Freed."""
        idle = [worker for worker in self.workers if worker.idle]
        for worker in idle:
            assert worker.channel is not None
            worker.channel.send(FreeMemory())
        return len(idle)

    # --------------------------------------------------------------------------- what came of it

    def messages(self, now: float) -> Iterator[tuple[Worker, FromWorker | Died]]:
        """What workers said since the last call, heartbeats apart."""
        while not self._inbox.empty():
            channel, message = self._inbox.get()
            worker = next((w for w in self.workers if w.channel is channel), None)
            if worker is None:
                continue
            worker.heard_at = now
            match message:
                case Exited():
                    yield worker, self._bury(worker, message.status, now)
                case Heartbeat():
                    worker.rss_bytes = message.rss_bytes
                case Ready():
                    worker.ready, worker.idle_since, worker.failed_starts = True, now, 0
                    logger.info("worker %s is ready (pid %d)", worker.device, message.pid)
                    yield worker, message
                case _:
                    yield worker, message

    def tick(self, now: float) -> None:
        """Kill what is due, end what has been idle for long."""
        for worker in self.workers:
            if worker.channel is None or worker.killed_for:
                continue
            if worker.kill_at is not None and now >= worker.kill_at:
                self._kill(worker, "was ended: it did not stop when asked")
            elif not worker.ready and now - worker.started_at > START_SECONDS:
                self._kill(worker, f"was ended: it did not start within {START_SECONDS:.0f} s")
            elif worker.task and now - worker.heard_at > SILENCE_SECONDS:
                self._kill(worker, f"was ended: it gave no sign of life for {SILENCE_SECONDS:.0f} s")
            elif worker.aside_since is not None:
                if worker.task is None and now - worker.aside_since > ASIDE_SECONDS:
                    self._kill(worker, f"was ended: a request was not answered in {ASIDE_SECONDS:.0f} s")
            elif worker.idle and now - worker.idle_since > IDLE_SECONDS:
                self._stop(worker, now)

    def next_deadline(self, now: float, work_waits: bool) -> float | None:
        """When ``tick`` or ``start_one`` has something to do next, on the caller's clock."""
        times: list[float] = []
        starting = any(worker.channel and not worker.ready for worker in self.workers)
        for worker in self.workers:
            if worker.channel is None:
                if work_waits and not starting:
                    times.append(max(worker.start_after, now))
            elif worker.killed_for:
                continue
            elif worker.kill_at is not None:
                times.append(worker.kill_at)
            elif not worker.ready:
                times.append(worker.started_at + START_SECONDS)
            elif worker.task:
                times.append(worker.heard_at + SILENCE_SECONDS)
            elif worker.aside_since is not None:
                times.append(worker.aside_since + ASIDE_SECONDS)
            else:
                times.append(worker.idle_since + IDLE_SECONDS)
        return min(times, default=None)

    def failing(self) -> str | None:
        """Why no worker can be had, when every device's last MAX_FAILED_STARTS starts failed."""
        if any(w.channel or w.failed_starts < MAX_FAILED_STARTS for w in self.workers):
            return None
        for worker in self.workers:
            worker.failed_starts = MAX_FAILED_STARTS - 1  # the next failure is told at once
        return self.workers[0].last_exit

    def infos(self, may_see: Callable[[str], bool]) -> tuple[WorkerInfo, ...]:
        """The workers' state; the job that one is at only where ``may_see(job)``."""
        return tuple(
            WorkerInfo(
                device=w.device,
                state="stopped"
                if not w.channel
                else "starting"
                if not w.ready
                else "busy"
                if w.task
                else "idle",
                pid=w.channel.pid if w.channel else None,
                rss_mb=w.rss_bytes / 2**20 if w.channel and w.rss_bytes is not None else None,
                job=w.task if w.task and may_see(w.task) else None,
                last_exit=w.last_exit,
            )
            for w in self.workers
        )

    def stop_all(self, now: float) -> None:
        """Ask every process to end; ``messages`` and ``tick`` see it through."""
        for worker in self.workers:
            if worker.channel is not None:
                self._stop(worker, now)

    def kill_all(self) -> None:
        """End every process at once."""
        for worker in self.workers:
            if worker.channel is not None:
                worker.channel.kill()

    @property
    def empty(self) -> bool:
        """Whether no process is left."""
        return all(worker.channel is None for worker in self.workers)

    # -------------------------------------------------------------------------------- processes

    def _start(self, worker: Worker, now: float) -> None:
        log = self._log(worker)
        try:
            if log.exists() and log.stat().st_size > _LOG_BYTES:
                log.replace(log.with_suffix(".log.1"))
            worker.log_start = log.stat().st_size if log.exists() else 0
            worker.channel = Channel(self.command(worker.device), log, self._inbox, self.wake)
        except OSError as error:
            worker.last_exit = f"could not be started ({error.strerror or error})"
            worker.failed_starts += 1
            self._back_off(worker, now)
            logger.error("worker %s %s", worker.device, worker.last_exit)
            return
        worker.ready, worker.task, worker.aside_since, worker.rss_bytes = False, None, None, None
        worker.kill_at, worker.killed_for, worker.asked_to_end, worker.stopping = None, None, False, False
        worker.started_at = worker.heard_at = worker.idle_since = now
        logger.info("worker %s starts (pid %d)", worker.device, worker.channel.pid)

    def _stop(self, worker: Worker, now: float) -> None:
        assert worker.channel is not None
        worker.stopping = worker.asked_to_end = True
        worker.channel.send(Stop())
        worker.kill_at = now + STOP_SECONDS

    def _kill(self, worker: Worker, reason: str) -> None:
        assert worker.channel is not None
        worker.killed_for, worker.kill_at = reason, None
        worker.channel.kill()

    def _bury(self, worker: Worker, status: int, now: float) -> Died:
        reason = worker.killed_for or exit_in_words(status)
        if status > 0 and not worker.killed_for:
            reason += self._last_words(worker)
        died = Died(reason, asked=worker.asked_to_end, task=worker.task)
        if not worker.ready:
            worker.failed_starts += 1
        worker.channel, worker.ready, worker.task = None, False, None
        worker.aside_since, worker.rss_bytes = None, None
        if died.asked:
            worker.start_after = now
            logger.info("worker %s ended", worker.device)
        else:
            worker.last_exit = reason
            self._back_off(worker, now)
            logger.error("worker %s %s", worker.device, reason)
        return died

    def _back_off(self, worker: Worker, now: float) -> None:
        worker.crashes += 1
        worker.start_after = now + BACKOFF_SECONDS[min(worker.crashes - 1, len(BACKOFF_SECONDS) - 1)]

    def _last_words(self, worker: Worker) -> str:
        """The last line that the process wrote into its log, as ": …"."""
        try:
            with self._log(worker).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(worker.log_start, size - 2000))
                lines = file.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        words = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {words[:300]}" if words else ""

    def _log(self, worker: Worker) -> Path:
        return self.logs / f"worker-{worker.device.replace(':', '-')}.log"


def worker_command(data: Path) -> Callable[[str], Sequence[str]]:
    """How the real worker of a device is started."""
    return lambda device: [
        sys.executable,
        "-m",
        "backend.server.worker",
        "--device",
        device,
        "--data",
        str(data),
    ]
