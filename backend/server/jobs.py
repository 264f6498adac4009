"""The life of jobs: queued, running, ended; told to their owners and written down at every step."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from backend.server import storage
from backend.server import worker_protocol as worker
from backend.server.data_folder import DataFolder
from backend.server.journal import Journal, Record
from backend.server.limits import MAX_QUEUED_JOBS, FloodGuard
from backend.server.pool import Died, Pool, Worker
from backend.server.problems import Refusal, storage_problem
from backend.server.views import job_info, with_paths, without_paths
from blender_addon.protocol import (
    Cancelled,
    Done,
    Event,
    Failed,
    FileRef,
    Forgotten,
    JobInfo,
    Partial,
    Problem,
    Queued,
    StageFinished,
    StageProgress,
    StageStarted,
)

logger = logging.getLogger(__name__)

Publish = Callable[[str, Event, bytes | None], None]  # owner, event, preview

_RERUNNABLE = ("interrupted", "failed", "cancelled")
_INTERRUPTED = Problem(
    code="worker_died", message="the backend stopped while this job was running; run it again"
)


@dataclass
class Jobs:
    """All jobs. Changes reach the journal first where a client waits for them, memory at once otherwise."""

    data: DataFolder
    journal: Journal
    pool: Pool
    publish: Publish
    cache_cap_bytes: int
    records: dict[str, Record] = field(default_factory=dict, init=False)
    queue: list[str] = field(default_factory=list, init=False)
    running: dict[str, str] = field(default_factory=dict, init=False)  # job to device
    _cancelling: set[str] = field(default_factory=set, init=False)
    _announced: dict[str, set[str]] = field(default_factory=dict, init=False)  # partial files by job
    _flood: FloodGuard = field(default_factory=lambda: FloodGuard(logger), init=False)

    def load(self) -> None:
        """Take up the journal where the last server left it. Raises: Missing, sqlite3.Error."""
        for record in self.journal.records():
            if record.state == "running":
                record = msgspec.structs.replace(
                    record, state="interrupted", finished_s=time.time(), problem=_INTERRUPTED
                )
                self.journal.save(record)
            if record.state == "queued":
                self.queue.append(record.job)
            self.records[record.job] = record

    # ------------------------------------------------------------------------- asked by clients

    def find(self, owner: str, job: str) -> Record:
        """The job of this owner. Raises: Refusal, the same one where it is another owner's."""
        record = self.records.get(job)
        if record is None or record.owner != owner:
            raise Refusal("unknown_job", f"there is no job {job[:64]}; list the jobs again")
        return record

    def info(self, record: Record) -> JobInfo:
        position = self.queue.index(record.job) + 1 if record.state == "queued" else 0
        return job_info(record, self.data, position)

    def of_owner(self, owner: str) -> list[Record]:
        """This owner's jobs, the newest first."""
        own = (record for record in self.records.values() if record.owner == owner)
        return sorted(own, key=lambda record: record.submitted_s, reverse=True)

    def check_room(self, owner: str) -> None:
        """Raises: Refusal when this owner's queue is full."""
        if sum(self.records[job].owner == owner for job in self.queue) >= MAX_QUEUED_JOBS:
            raise Refusal(
                "refused", f"{MAX_QUEUED_JOBS} jobs are queued already; wait for some or cancel them"
            )

    def submit(self, record: Record) -> None:
        """Queue a new job. Raises: sqlite3.Error, and then nothing was queued."""
        self._queue(record)

    def rerun(self, record: Record) -> None:
        """Queue an ended job again under its own name. Raises: Refusal, sqlite3.Error."""
        if record.state not in _RERUNNABLE:
            raise Refusal("refused", f"this job is {record.state}; only one that ended badly can be rerun")
        if not self.data.photo(record.photo_sha256).exists():
            raise Refusal("missing", "the photo of this job is not kept any more; submit it again")
        self._queue(
            msgspec.structs.replace(
                record, state="queued", finished_s=None, stage=None, fraction=0.0, problem=None, warnings=()
            )
        )

    def _queue(self, record: Record) -> None:
        self.journal.save(record)
        self.records[record.job] = record
        self.queue.append(record.job)
        self._tell(record, lambda number: Queued(job=record.job, number=number, info=self.info(record)))

    def cancel(self, record: Record, now: float) -> None:
        """Stop a job. Raises: Refusal when it has ended otherwise."""
        if record.state == "queued":
            self.queue.remove(record.job)
            self._end_cancelled(record)
        elif record.state == "running":
            self._cancelling.add(record.job)
            self.pool.end_soon(self._worker_of(record.job), worker.CancelJob(job=record.job), now)
        elif record.state != "cancelled":
            raise Refusal("refused", f"this job has ended already ({record.state})")

    def kept_events(self, record: Record, after: int) -> Iterable[tuple[Event, bytes | None]]:
        """The job's events above ``after`` as its owner may see them now. Raises: sqlite3.Error."""
        for kept, preview in self.journal.events(record.job, after):
            yield with_paths(kept, record, self.data), preview

    def files(self, record: Record) -> set[str]:
        """The names that may be fetched."""
        if record.state == "done":
            return {name for name, _ in record.files}
        return self._announced.get(record.job, set())

    def remove(self, records: list[Record]) -> int:
        """Remove ended or queued jobs with their results. Returns the bytes freed.

        Raises: OSError, sqlite3.Error; what is left can be removed again.
        """
        freed = 0
        for record in records:
            for folder in (self.data.job(record.job), self.data.partial(record.job)):
                freed += storage.remove_tree(folder)
        self.journal.remove(record.job for record in records)
        for record in records:
            if record.state == "queued":
                self.queue.remove(record.job)
            del self.records[record.job]
            event = Forgotten(job=record.job, number=record.last_event + 1)
            self.publish(record.owner, event, None)
        return freed

    # ---------------------------------------------------------------------------- given to workers

    def dispatch(self, now: float) -> None:
        """Hand queued jobs to idle workers."""
        while self.queue and (free := self.pool.idle_worker()) is not None:
            job = self.queue.pop(0)
            record = self._set(self.records[job], state="running", problem=None)
            self.running[job] = free.device
            mask = record.mask_sha256
            message = worker.RunJob(
                job=job,
                photo_path=str(self.data.photo(record.photo_sha256)),
                photo_name=record.photo_name,
                options=record.options,
                pins=record.pins,
                exclude_path=str(self.data.exclude_mask(record.photo_sha256, mask)) if mask else None,
                directory=str(self.data.job(job)),
                avatar=self._avatar_folder(record),
            )
            self.pool.hand(free, job, message, now)

    def _avatar_folder(self, record: Record) -> str | None:
        """Where the avatar lies that the record's video drives; None: it is a reconstruction."""
        if record.avatar is None or record.avatar not in self.records:
            return record.avatar
        return str(self.data.job(record.avatar))

    def fail_queued(self, reason: str) -> None:
        """No worker can be had: tell every waiting job."""
        message = f"no worker process can be started: it {reason}; run the doctor"
        while self.queue:
            self._end_failed(self.records[self.queue.pop(0)], Problem(code="worker_died", message=message))

    def interrupt(self) -> None:
        """The server stops: what runs is written down as interrupted."""
        for job in list(self.running):
            self._set(self.records[job], state="interrupted", finished_s=time.time(), problem=_INTERRUPTED)

    # -------------------------------------------------------------------------- said by workers

    def on_message(self, source: Worker, message: worker.FromWorker, now: float) -> None:
        """A message about a job. One about a job that the worker does not run is dropped."""
        job = getattr(message, "job", None)
        if not isinstance(job, str) or self.running.get(job) != source.device:
            self._flood.warning("worker %s spoke of a job that is not its own", source.device)
            return
        record = self.records[job]
        if isinstance(message, worker.JobDone | worker.JobFailed):
            self.pool.finished(source, now)
            self._on_end(record, message)
        elif job not in self._cancelling:
            self._on_progress(record, message)

    def _on_progress(self, record: Record, message: worker.FromWorker) -> None:
        job = record.job
        match message:
            case worker.StageStarted(stage=stage, implementation=implementation, index=index, count=count):
                record = msgspec.structs.replace(record, stage=stage)
                self._tell(
                    record,
                    lambda number: StageStarted(
                        job=job,
                        number=number,
                        stage=stage,
                        implementation=implementation,
                        index=index,
                        count=count,
                    ),
                )
            case worker.StageProgress(
                stage=stage, fraction=fraction, job_fraction=job_fraction, preview=preview
            ):
                record = msgspec.structs.replace(record, stage=stage, fraction=job_fraction)
                self.records[job] = record
                event = StageProgress(
                    job=job,
                    number=record.last_event,
                    stage=stage,
                    fraction=fraction,
                    job_fraction=job_fraction,
                    preview_frame=None if preview is None else 0,
                )
                self.publish(record.owner, event, preview)
            case worker.StageFinished(stage=stage, seconds=seconds, cached=cached, preview=preview):
                self._tell(
                    record,
                    lambda number: StageFinished(
                        job=job,
                        number=number,
                        stage=stage,
                        seconds=seconds,
                        cached=cached,
                        preview_frame=None if preview is None else 0,
                    ),
                    preview,
                )
            case worker.PartialReady(kind=kind, map_name=map_name, final=final, files=names):
                files = self._partial_files(job, names)
                self._announced.setdefault(job, set()).update(file.name for file in files)
                self._tell(
                    record,
                    lambda number: Partial(
                        job=job, number=number, kind=kind, map_name=map_name, final=final, files=files
                    ),
                )
            case _:
                self._flood.warning("an unexpected %s from a worker", type(message).__name__)

    def _partial_files(self, job: str, names: tuple[str, ...]) -> tuple[FileRef, ...]:
        folder = self.data.partial(job)
        files = []
        for name in names:
            try:
                files.append(FileRef(name=name, size_bytes=(folder / name).stat().st_size))
            except OSError as error:
                self._flood.warning("a partial file of job %s cannot be read (%s)", job, error.strerror)
        return tuple(files)

    def on_died(self, source: Worker, died: Died) -> None:
        """A worker process ended; the job that it was at ends with it."""
        job = next((job for job, device in self.running.items() if device == source.device), None)
        if job is None:
            return
        record = self.records[job]
        self._remove_quietly(record)
        if job in self._cancelling or died.asked:
            self._end_cancelled(record)
        else:
            message = f"the worker process {died.reason}; a new one is started, run the job again"
            self._end_failed(record, Problem(code="worker_died", message=message))

    def _on_end(self, record: Record, message: worker.JobDone | worker.JobFailed) -> None:
        self._trim()
        if record.job in self._cancelling:
            self._remove_quietly(record)
            self._end_cancelled(record)
        elif isinstance(message, worker.JobDone):
            done = self._ended(record, state="done", fraction=1.0, problem=None)
            done = msgspec.structs.replace(done, files=message.files, warnings=message.warnings)
            self._tell(done, lambda number: Done(job=done.job, number=number, info=self.info(done)))
        elif message.problem.code == "cancelled":
            self._end_cancelled(record)
        else:
            self._end_failed(record, message.problem)

    def _end_failed(self, record: Record, problem: Problem) -> None:
        failed = self._ended(record, state="failed", problem=problem)
        self._tell(failed, lambda number: Failed(job=failed.job, number=number, info=self.info(failed)))
        logger.info("job %s failed (%s)", record.job, problem.code)

    def _end_cancelled(self, record: Record) -> None:
        ended = self._ended(record, state="cancelled", problem=None)
        self._tell(ended, lambda number: Cancelled(job=ended.job, number=number, info=self.info(ended)))

    # ------------------------------------------------------------------------------------ inside

    def _ended(self, record: Record, **changes: Any) -> Record:
        self.running.pop(record.job, None)
        self._cancelling.discard(record.job)
        self._announced.pop(record.job, None)
        return msgspec.structs.replace(record, finished_s=time.time(), **changes)

    def _set(self, record: Record, **changes: Any) -> Record:
        record = msgspec.structs.replace(record, **changes)
        self.records[record.job] = record
        try:
            self.journal.save(record)
        except sqlite3.Error as error:
            self._flood.warning("the journal cannot be written: %s", storage_problem(error).message)
        return record

    def _tell(self, record: Record, event_of: Callable[[int], Event], preview: bytes | None = None) -> None:
        """Write down a job with a new event of it, and publish the event, also where writing fails."""
        record = msgspec.structs.replace(record, last_event=record.last_event + 1)
        self.records[record.job] = record
        event = event_of(record.last_event)
        try:
            self.journal.append(record, without_paths(event), preview)
        except sqlite3.Error as error:
            self._flood.warning("the journal cannot be written: %s", storage_problem(error).message)
        self.publish(record.owner, with_paths(event, record, self.data), preview)

    def _worker_of(self, job: str) -> Worker:
        return next(w for w in self.pool.workers if w.device == self.running[job])

    def _remove_quietly(self, record: Record) -> None:
        """Remove what an ended job left half-written or must not keep."""
        for folder in (self.data.partial(record.job), self.data.job(record.job)):
            try:
                storage.remove_tree(folder)
            except OSError as error:
                logger.warning("a folder of job %s cannot be removed (%s)", record.job, error)

    def _trim(self) -> None:
        freed = storage.trim_cache(self.data, self.cache_cap_bytes)
        if freed:
            logger.info("%d bytes of cached stages were removed to stay under the cap", freed)
