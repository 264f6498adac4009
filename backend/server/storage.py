"""Bytes in the data folder: photographs in, pieces of results out, forgetting, the cache's cap."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from backend.server.data_folder import DataFolder
from backend.server.limits import MAX_PHOTO_BYTES
from backend.server.problems import Refusal
from blender_addon.protocol import Buffer

_PIECE = 1 << 20


def sha256_of(data: Buffer) -> str:
    """In lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def keep_bytes(target: Path, data: Buffer) -> None:
    """Write ``data`` to ``target``, which is named after its hash: what is there already is the same.

    Raises: OSError when it cannot be written; nothing half-written stays.
    """
    if target.exists():
        return
    with _written_whole(target.parent) as (file, path):
        file.write(data)
        file.close()
        path.replace(target)


def keep_file(data: DataFolder, source: Path) -> str:
    """Copy a photograph that lies on this machine into the data folder. Returns its SHA-256.

    Raises: Refusal when ``source`` is no readable file of sensible size; OSError when the copy fails.
    """
    with _opened_photo(source) as photo:
        digest = hashlib.sha256()
        with _written_whole(data.photos) as (file, path):
            total = 0
            while piece := _read(photo, source):
                total += len(piece)
                if total > MAX_PHOTO_BYTES:
                    raise Refusal("bad_input", f"'{source}' is larger than 1 GiB; use a smaller photo")
                digest.update(piece)
                file.write(piece)
            file.close()
            path.replace(data.photo(digest.hexdigest()))
    return digest.hexdigest()


@contextmanager
def _opened_photo(source: Path) -> Iterator[BinaryIO]:
    try:
        # Not blocking: opening a named pipe would otherwise wait for its writer for ever.
        handle = os.open(source, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise Refusal(
            "bad_input", f"the photo '{source}' cannot be opened ({reason}); choose another"
        ) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Refusal("bad_input", f"'{source}' is not a file; choose a photo")
    with os.fdopen(handle, "rb") as file:
        yield file


def _read(photo: BinaryIO, source: Path) -> bytes:
    try:
        return photo.read(_PIECE)
    except OSError as error:
        raise Refusal("bad_input", f"the photo '{source}' cannot be read ({error.strerror})") from error


@contextmanager
def _written_whole(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A temporary file beside its place, which the caller renames; gone if that did not happen."""
    handle, name = tempfile.mkstemp(prefix=".", suffix=".partial", dir=folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


def read_chunk(path: Path, offset: int, length: int, *, whole: bool) -> tuple[memoryview | bytes, int]:
    """At most ``length`` bytes of a file from ``offset`` on, and the file's size.

    ``whole``: the file will not be written again, so that its pages are handed on without a copy.
    Raises: OSError; Refusal for an offset past the end.
    """
    with path.open("rb") as file:
        total = os.fstat(file.fileno()).st_size
        if not 0 <= offset <= total:
            raise Refusal("refused", f"offset {offset} lies past the end of '{path.name}' ({total} bytes)")
        length = min(length, total - offset)
        if length == 0:
            return b"", total
        if not whole:
            file.seek(offset)
            return file.read(length), total
        start = offset - offset % mmap.ALLOCATIONGRANULARITY
        pages = mmap.mmap(file.fileno(), length + offset - start, access=mmap.ACCESS_READ, offset=start)
        return memoryview(pages)[offset - start :], total


def folder_bytes(folder: Path) -> int:
    """The size of all files below ``folder``; 0 where there is none."""
    return sum(size for _, size, _ in _files(folder))


def kept_bytes(data: DataFolder) -> int:
    """The size of all photographs, results and cached stages."""
    return sum(folder_bytes(folder) for folder in (data.photos, data.jobs, data.cache))


def _files(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """Files below ``folder`` with size and time of last use; those that vanish meanwhile are left out."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        yield Path(entry.path), status.st_size, max(status.st_mtime, status.st_atime)


def remove_tree(folder: Path) -> int:
    """Remove a folder with all that it holds. Returns the bytes freed. Raises: OSError."""
    freed = folder_bytes(folder)
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    return freed


def forget_photo(data: DataFolder, sha256: str) -> int:
    """Remove a photograph's bytes, masks and cached stages. Returns the bytes freed. Raises: OSError."""
    freed = remove_tree(data.stages_of(sha256))
    for path in data.photos.glob(f"{sha256}*"):
        freed += path.stat().st_size
        path.unlink()
    return freed


def remove_leftovers(data: DataFolder) -> None:
    """Remove what a server or worker that was killed left half-written. Raises: OSError."""
    for path in (*data.photos.glob(".*.partial"), *data.cache.glob("*/.*.partial")):
        path.unlink()
    for folder in data.jobs.glob("*.partial"):
        remove_tree(folder)


def trim_cache(data: DataFolder, cap_bytes: int) -> int:
    """Remove cached stages, the longest unused first, until photos, results and stages fit under the cap.

    Results and photographs are never removed here, so the sum may stay above it. Returns the bytes freed.
    """
    excess = kept_bytes(data) - cap_bytes
    freed = 0
    for path, size, _ in sorted(_files(data.cache), key=lambda file: file[2]):
        if freed >= excess:
            break
        try:
            path.unlink()
        except OSError:  # a worker reads it just now (Windows); the next trim takes it
            continue
        freed += size
    return freed
