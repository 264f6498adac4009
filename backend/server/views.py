"""Jobs and their events as a client may see them: with paths on this machine, without them elsewhere."""

from __future__ import annotations

from pathlib import Path

import msgspec

from backend.server.auth import LOCAL
from backend.server.data_folder import DataFolder
from backend.server.journal import Record
from blender_addon.protocol import Cancelled, Done, Event, Failed, FileRef, JobInfo, Partial, Queued


def job_info(record: Record, data: DataFolder, position: int = 0) -> JobInfo:
    """One line of the journal for the job's owner. ``position`` in the queue, from 1; 0: not queued."""
    folder = _folder(record, data)
    return JobInfo(
        job=record.job,
        state=record.state,
        photo_name=record.photo_name,
        photo_sha256=record.photo_sha256,
        options=record.options,
        submitted_s=record.submitted_s,
        finished_s=record.finished_s,
        stage=record.stage,
        fraction=record.fraction,
        position=position,
        parent=record.parent,
        avatar=record.avatar,
        problem=record.problem,
        directory=folder,
        files=tuple(
            FileRef(name=name, size_bytes=size, path=_path(folder, name)) for name, size in record.files
        ),
        warnings=record.warnings,
    )


def without_paths(event: Event) -> Event:
    """``event`` as the journal keeps it: folders move, so paths are put in anew when it is shown."""
    if isinstance(event, Queued | Done | Failed | Cancelled):
        info = msgspec.structs.replace(event.info, directory=None, files=_at(event.info.files, None))
        return msgspec.structs.replace(event, info=info)
    if isinstance(event, Partial):
        return msgspec.structs.replace(event, files=_at(event.files, None))
    return event


def with_paths(event: Event, record: Record, data: DataFolder) -> Event:
    """A kept event for the job's owner now. A Partial whose files are gone since announces none."""
    folder = _folder(record, data)
    if isinstance(event, Partial):
        there = event.files if record.state in ("running", "done") else ()
        return msgspec.structs.replace(event, files=_at(there, folder))
    if isinstance(event, Queued | Done | Failed | Cancelled):
        info = msgspec.structs.replace(event.info, directory=folder, files=_at(event.info.files, folder))
        return msgspec.structs.replace(event, info=info)
    return event


def _folder(record: Record, data: DataFolder) -> str | None:
    if record.owner != LOCAL:
        return None
    if record.state == "running":
        return str(data.partial(record.job))
    return str(data.job(record.job)) if record.state == "done" else None


def _path(folder: str | None, name: str) -> str | None:
    return None if folder is None else str(Path(folder, name))


def _at(files: tuple[FileRef, ...], folder: str | None) -> tuple[FileRef, ...]:
    return tuple(msgspec.structs.replace(file, path=_path(folder, file.name)) for file in files)
