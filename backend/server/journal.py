"""The job journal: one sqlite file that outlives Blender, workers and server. One writer, the loop."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from backend.errors import Missing, OutOfResources
from backend.server.problems import storage_problem
from blender_addon.protocol import Event, JobState, Options, Pin, Problem

SCHEMA = 1

_TABLES = """
CREATE TABLE jobs (job TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    job TEXT NOT NULL, number INTEGER NOT NULL, event BLOB NOT NULL, preview BLOB,
    PRIMARY KEY (job, number)
) WITHOUT ROWID;
"""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One job, as the server keeps it. No paths: they follow from the data folder."""

    job: str  # UUID
    owner: str  # auth.LOCAL or the client's public key
    state: JobState
    photo_name: str
    photo_sha256: str
    options: Options
    pins: tuple[Pin, ...] = ()
    mask_sha256: str | None = None  # of the PNG that excludes texels
    submitted_s: float  # Unix time
    finished_s: float | None = None
    stage: str | None = None
    fraction: float = 0.0
    parent: str | None = None
    avatar: str | None = None  # the avatar that a video drives: a job, or an absolute path
    problem: Problem | None = None
    files: tuple[tuple[str, int], ...] = ()  # name relative to the job's folder, bytes
    warnings: tuple[str, ...] = ()
    last_event: int = 0


_record_decoder = msgspec.json.Decoder(Record)
_event_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


class Journal:
    """Reads and writes raise sqlite3.Error; a write that fails leaves the file as it was."""

    def __init__(self, path: Path) -> None:
        """Open or make the journal. Raises: Missing, OutOfResources."""
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=5.0)
            self._prepare(path)
        except sqlite3.DatabaseError as error:
            problem = storage_problem(error)
            if problem.code == "out_of_resources":
                raise OutOfResources(problem.message) from error
            raise Missing(
                f"the job journal '{path}' cannot be used ({error}); move it away to start with an empty one"
            ) from error

    def _prepare(self, path: Path) -> None:
        path.chmod(0o600)
        run = self._database.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("PRAGMA secure_delete = ON")  # forgotten previews must not linger in free pages
        version = run("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self._transaction():
                for statement in filter(str.strip, _TABLES.split(";")):
                    run(statement)
                run(f"PRAGMA user_version = {SCHEMA}")
        elif version != SCHEMA:
            raise Missing(
                f"the job journal '{path}' is of another version ({version}, this backend writes {SCHEMA}); "
                "update the backend, or move the file away to start with an empty one"
            )

    def records(self) -> list[Record]:
        """All jobs, the oldest first. A row that cannot be read raises Missing."""
        try:
            rows = self._database.execute("SELECT record FROM jobs").fetchall()
            return sorted((_record_decoder.decode(row[0]) for row in rows), key=lambda r: r.submitted_s)
        except (sqlite3.DatabaseError, msgspec.MsgspecError) as error:
            raise Missing(f"the job journal is damaged ({error}); move it away to start anew") from error

    def save(self, *records: Record) -> None:
        """Write jobs, new or changed."""
        with self._transaction():
            self._save(records)

    def append(self, record: Record, event: Event, preview: bytes | None) -> None:
        """Write a job and its newest event, number ``record.last_event``, together."""
        with self._transaction():
            self._save([record])
            self._database.execute(
                "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?)",
                (record.job, record.last_event, msgspec.msgpack.encode(event), preview),
            )

    def events(self, job: str, after: int) -> Iterator[tuple[Event, bytes | None]]:
        """The kept events of ``job`` numbered above ``after``, in order."""
        rows = self._database.execute(
            "SELECT event, preview FROM events WHERE job = ? AND number > ? ORDER BY number", (job, after)
        ).fetchall()
        return ((_event_decoder.decode(event), preview) for event, preview in rows)

    def remove(self, jobs: Iterable[str]) -> None:
        """Remove jobs with their events and leave nothing of them in the file or its log."""
        with self._transaction():
            for job in jobs:
                self._database.execute("DELETE FROM events WHERE job = ?", (job,))
                self._database.execute("DELETE FROM jobs WHERE job = ?", (job,))
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._database.close()

    def _save(self, records: Iterable[Record]) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO jobs VALUES (?, ?)",
            [(record.job, msgspec.json.encode(record).decode()) for record in records],
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:  # sqlite rolls back by itself when the disk is full
                self._database.execute("ROLLBACK")
            raise
