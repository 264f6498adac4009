"""Brings a job's avatar folder to this machine. No Blender; blocks, so it runs in a thread of its own.

On the server's machine nothing is copied. From elsewhere the files come in pieces, several under way at
a time; what was interrupted goes on where it stopped.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from . import protocol
from .client import Answer, Client, NoAnswer, RequestError
from .environment import replace, write_whole
from .protocol import CHUNK_BYTES, FileRef, JobInfo, Problem

log = logging.getLogger(__name__)

IN_FLIGHT = 4
ATTEMPTS = 5  # each waits for a connection as long as a request does

_CONTENTS = ".contents.json"  # in the unfinished folder: which result it is part of


class DownloadError(RequestError):
    """The folder could not be brought; what came stays for the next attempt."""


@dataclass(frozen=True)
class _Piece:
    file: FileRef
    offset: int
    length: int


def bring_job(
    client: Client,
    info: JobInfo,
    destination: Path,
    *,
    on_progress: Callable[[float], None] = lambda fraction: None,
    stop: threading.Event | None = None,
) -> Path:
    """The folder of a finished job: the server's own, or ``destination/<job>`` filled from it.

    ``on_progress``: fraction of the bytes, in [0, 1]. ``stop`` ends it early with DownloadError
    (cancelled). Raises: DownloadError, OSError. ``destination/<job>`` is there whole or not at all.
    """
    if info.directory is not None and client.welcome is not None and client.welcome.same_machine:
        return Path(info.directory)
    target = destination / _checked_name(info.job)
    partial = destination / f"{info.job}.partial"
    contents = msgspec.json.encode((info.finished_s, info.files))
    if _read(target / _CONTENTS) == contents:
        return target
    if _read(partial / _CONTENTS) != contents:  # of another run of this job
        _delete(partial)
        partial.mkdir(parents=True)
        write_whole(partial / _CONTENTS, contents)
    bring_files(client, info.job, info.files, partial, on_progress=on_progress, stop=stop)
    _delete(target)
    replace(partial, target)
    forget_part(destination, info.job)
    return target


def bring_part(client: Client, job: str, files: Sequence[FileRef], destination: Path) -> Path:
    """What a running job has so far, in ``destination/<job>.growing``, with ``files`` brought anew.

    Raises: DownloadError, OSError.
    """
    folder = _part_folder(destination, job)
    for file in files:  # a better version of a map may have the size of the one before
        (folder / _checked_name(file.name)).unlink(missing_ok=True)
    bring_files(client, job, files, folder)
    return folder


def forget_part(destination: Path, job: str) -> None:
    """Delete what ``bring_part`` brought; a file in use stays until the job is forgotten."""
    shutil.rmtree(_part_folder(destination, job), ignore_errors=True)


def forget_job(destination: Path, job: str) -> None:
    """Delete everything that was brought of a job, as far as it can be: what cannot is logged."""
    forget_part(destination, job)
    for folder in (destination / _checked_name(job), destination / f"{job}.partial"):
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            log.warning("'%s' of a forgotten photo cannot be deleted; delete it by hand", folder)


def bring_files(
    client: Client,
    job: str,
    files: Sequence[FileRef],
    folder: Path,
    *,
    on_progress: Callable[[float], None] = lambda fraction: None,
    stop: threading.Event | None = None,
) -> None:
    """Bring ``files`` of a job into ``folder``; those that are there in full size are kept.

    Raises: DownloadError, OSError. A file appears under its name when it is whole.
    """
    for file in files:
        _checked_name(file.name)
    total = max(1, sum(file.size_bytes for file in files))
    before = 0.0
    attempt = 1
    while True:
        try:
            _bring_rest(client, job, files, folder, total, on_progress, stop)
            return
        except NoAnswer as error:
            done = sum(_have(folder, file) for file in files) / total
            attempt = 1 if done > before else attempt + 1
            before = done
            if attempt > ATTEMPTS or error.problem.code == "protocol":
                raise DownloadError(error.problem) from error
        except DownloadError:
            raise
        except RequestError as error:
            raise DownloadError(error.problem) from error


def _bring_rest(
    client: Client,
    job: str,
    files: Sequence[FileRef],
    folder: Path,
    total: int,
    on_progress: Callable[[float], None],
    stop: threading.Event | None,
) -> None:
    """Ask for what is missing in order, so that every file grows from its begin."""
    wanted = _pieces(folder, files)
    under_way: deque[tuple[_Piece, Future[Answer]]] = deque()
    done = sum(_have(folder, file) for file in files)
    for file in files:
        _finish(folder, file)  # empty ones, and those that only lack their name
    on_progress(done / total)

    def ask(piece: _Piece) -> Future[Answer]:
        return client.request(protocol.Fetch(id=0, job=job, name=piece.file.name, offset=piece.offset))

    while True:
        while len(under_way) < IN_FLIGHT and (piece := next(wanted, None)) is not None:
            under_way.append((piece, ask(piece)))
        if not under_way:
            return
        if stop is not None and stop.is_set():
            raise DownloadError(Problem(code="cancelled", message="the download was cancelled"))
        piece, future = under_way.popleft()
        data = _data_of(piece, future.result())
        path = _growing(folder, piece.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "wb") as growing:
            growing.seek(piece.offset)
            growing.write(data)
        done += data.nbytes
        on_progress(done / total)
        if data.nbytes < piece.length:  # the server sends smaller pieces: the rest before what follows
            rest = _Piece(piece.file, piece.offset + data.nbytes, piece.length - data.nbytes)
            under_way.appendleft((rest, ask(rest)))
        else:
            _finish(folder, piece.file)


def _data_of(piece: _Piece, answer: Answer) -> memoryview:
    reply, bulk = answer
    name, size = piece.file.name, piece.file.size_bytes
    if not isinstance(reply, protocol.Chunk) or len(bulk) != 1 or reply.offset != piece.offset:
        raise _failed(f"the backend answered the request for '{name}' with something else; update both sides")
    if reply.total_bytes != size:
        raise _failed(f"'{name}' has {reply.total_bytes} bytes on the backend, not {size}; import it again")
    if not 0 < bulk[0].nbytes <= CHUNK_BYTES:
        raise _failed(f"'{name}' came in a piece of {bulk[0].nbytes} bytes; run the job again")
    return bulk[0][: piece.length]


def _pieces(folder: Path, files: Sequence[FileRef]) -> Iterator[_Piece]:
    for file in files:
        for offset in range(_have(folder, file), file.size_bytes, CHUNK_BYTES):
            yield _Piece(file, offset, min(CHUNK_BYTES, file.size_bytes - offset))


def _have(folder: Path, file: FileRef) -> int:
    """Bytes of ``file`` that are here: they were written in order, so its begin."""
    for path in (folder / file.name, _growing(folder, file)):
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue
        if size <= file.size_bytes and (size == file.size_bytes or path != folder / file.name):
            return size
        path.unlink()  # of another result
    return 0


def _finish(folder: Path, file: FileRef) -> None:
    """Give a file that is complete its name."""
    growing = _growing(folder, file)
    if file.size_bytes == 0 and not (folder / file.name).exists():
        growing.parent.mkdir(parents=True, exist_ok=True)
        growing.touch()
    if growing.exists() and growing.stat().st_size == file.size_bytes:
        replace(growing, folder / file.name)


def _part_folder(destination: Path, job: str) -> Path:
    return destination / f"{_checked_name(job)}.growing"


def _growing(folder: Path, file: FileRef) -> Path:
    return folder / f"{file.name}.part"


def _checked_name(name: str) -> str:
    """``name`` if it stays inside its folder on every platform. Raises: DownloadError."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(c in name for c in '\\:*?"<>|\0'):
        raise _failed(f"the backend named a file {name!r}, which is not allowed; update the backend")
    return str(PurePosixPath(name))


def _failed(message: str) -> DownloadError:
    return DownloadError(Problem(code="refused", message=message))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _delete(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
