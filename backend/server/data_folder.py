"""The server's folder on disk: what lies where, and the lock that lets one server at a time work in it.

journal.sqlite          jobs and their kept events
photos/<sha256>…        the photographs' bytes, and the masks painted on them
jobs/<uuid>/            finished avatar folders; <uuid>.partial/ while a job runs
cache/<photo sha256>/   stages of that photograph, kept by the workers
keys/                   the server's key pair
logs/                   server.log and one log per worker, rotated
connection.json         while a server runs
lock                    held while a server runs; its text is the server's pid
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from backend.errors import Missing
from backend.server.worker_protocol import partial_directory
from blender_addon.connection import ALREADY_RUNS, CONNECTION_NAME

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class DataFolder:
    """Names inside the folder ``root``, which exists with mode 0700."""

    root: Path

    @property
    def journal(self) -> Path:
        return self.root / "journal.sqlite"

    @property
    def photos(self) -> Path:
        return self.root / "photos"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def connection(self) -> Path:
        return self.root / CONNECTION_NAME

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    def photo(self, sha256: str) -> Path:
        return self.photos / sha256

    def exclude_mask(self, photo_sha256: str, mask_sha256: str) -> Path:
        return self.photos / f"{photo_sha256}.exclude-{mask_sha256}.png"

    def job(self, job: str) -> Path:
        return self.jobs / job

    def partial(self, job: str) -> Path:
        return partial_directory(self.job(job))

    def stages_of(self, photo_sha256: str) -> Path:
        return self.cache / photo_sha256


def is_sha256(text: str) -> bool:
    """Whether ``text`` is a SHA-256 in lower-case hexadecimal: safe as a file name."""
    return _SHA256.fullmatch(text) is not None


def default_root() -> Path:
    """The platform's place for a user's data of this program."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "likeness"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "likeness"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "likeness"


def open_data_folder(root: Path) -> DataFolder:
    """Make what is missing of the folder, private to this user. Raises: Missing when it cannot be used."""
    data = DataFolder(root.expanduser().absolute())
    try:
        data.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        data.root.chmod(0o700)
        for folder in (data.photos, data.jobs, data.cache, data.keys, data.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Missing(
            f"the data folder '{data.root}' cannot be used ({error.strerror}); "
            "give another with --data, or change its permissions"
        ) from error
    return data


def take_lock(data: DataFolder) -> BinaryIO:
    """Hold the folder for this process until the file returned is closed or the process ends.

    Raises: Missing when another server holds it.
    """
    try:
        file = data.lock.open("a+b")
    except OSError as error:
        raise Missing(f"'{data.lock}' cannot be opened ({error.strerror}); change its permissions") from error
    try:
        _lock(file)
    except OSError as error:
        pid = _text_of(file)
        file.close()
        raise Missing(
            f"a server{pid and f' (pid {pid})'} {ALREADY_RUNS} '{data.root}'; use that one, stop it, "
            "or give another folder with --data"
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


def _text_of(file: BinaryIO) -> str:
    try:
        file.seek(0)
        text = file.read(32).decode("ascii", "replace").strip()
    except OSError:  # Windows refuses to read what another process holds
        return ""
    return text if text.isdecimal() else ""


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
