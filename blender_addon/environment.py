"""The backend's own Python environment on disk: what lies where, whether it is whole, how to remove it.

No Blender. An environment is whole when its receipt says so; the receipt is deleted before anything is
changed and written last.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

EnvironmentState = Literal["absent", "partial", "outdated", "ready"]


class EnvironmentProblem(Exception):
    """The folder cannot be used as asked; one line for the user."""


class DoctorLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``likeness doctor --json``."""

    name: str
    state: Literal["good", "optional", "bad"]
    detail: str
    remedy: str = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole environment consists of."""

    wheel_sha256: str
    likeness: str  # version
    torch: str  # version and source
    python: str  # version
    finished_s: float  # Unix time
    doctor: tuple[DoctorLine, ...] = ()


class Wheel(msgspec.Struct, frozen=True, kw_only=True):
    """The backend's wheel as the add-on carries it."""

    path: Path
    sha256: str
    version: str
    torch: str  # the version that it pins


@dataclass(frozen=True)
class Environment:
    """Names inside ``folder``, which belongs to the installer alone."""

    folder: Path
    windows: bool = sys.platform == "win32"

    @property
    def venv(self) -> Path:
        return self.folder / "env"

    @property
    def python(self) -> Path:
        return self.venv / ("Scripts/python.exe" if self.windows else "bin/python")

    @property
    def program(self) -> Path:
        """The ``likeness`` command."""
        return self.venv / ("Scripts/likeness.exe" if self.windows else "bin/likeness")

    @property
    def helper(self) -> Path:
        """An environment that holds nothing but uv."""
        return self.folder / "helper"

    @property
    def helper_python(self) -> Path:
        return self.helper / ("Scripts/python.exe" if self.windows else "bin/python")

    @property
    def helper_uv(self) -> Path:
        return self.helper / ("Scripts/uv.exe" if self.windows else "bin/uv")

    @property
    def pythons(self) -> Path:
        """Where uv puts the Python that it brings."""
        return self.folder / "python"

    @property
    def temporary(self) -> Path:
        """pip's scratch folder: the system's may be too small for PyTorch."""
        return self.folder / "tmp"

    @property
    def log(self) -> Path:
        return self.folder / "install.log"

    @property
    def stamps(self) -> Path:
        return self.folder / "steps.json"

    @property
    def receipt_file(self) -> Path:
        return self.folder / "receipt.json"

    def receipt(self) -> Receipt | None:
        """What is installed; None when nothing whole is."""
        try:
            receipt = msgspec.json.decode(self.receipt_file.read_bytes(), type=Receipt)
        except (OSError, msgspec.MsgspecError):
            return None
        return receipt if self.python.exists() and self.program.exists() else None

    def state(self, wheel: Wheel | None) -> EnvironmentState:
        """How the environment stands towards the ``wheel`` that the add-on carries."""
        receipt = self.receipt()
        if receipt is None:
            return "partial" if self.stamps.exists() or self.venv.exists() else "absent"
        if wheel is not None and receipt.wheel_sha256 != wheel.sha256:
            return "outdated"
        return "ready"

    def write_receipt(self, receipt: Receipt) -> None:
        write_whole(self.receipt_file, msgspec.json.encode(receipt))

    def size_bytes(self) -> int:
        """What lies in the folder; hard links are counted once each."""
        total = 0
        for root, _, names in os.walk(self.folder):
            for name in names:
                try:
                    total += os.lstat(os.path.join(root, name)).st_size
                except FileNotFoundError:
                    continue  # it went while we looked
        return total

    def uninstall(self) -> int:
        """Delete everything in the folder; returns the bytes freed. The server must not run.

        Raises: EnvironmentProblem when something cannot be deleted; what is left is never taken for whole.
        """
        freed = self.size_bytes()
        with self.locked():
            self.receipt_file.unlink(missing_ok=True)
            self.stamps.unlink(missing_ok=True)
            try:
                for entry in self.folder.iterdir():
                    if entry.name != _LOCK:
                        remove(entry)
            except OSError as error:
                raise EnvironmentProblem(
                    f"'{error.filename or self.folder}' cannot be deleted ({error.strerror}); "
                    "stop the backend, close programs that use it, and try again"
                ) from error
        (self.folder / _LOCK).unlink(missing_ok=True)
        return freed

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the folder meanwhile. Raises: EnvironmentProblem, OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("a+b") as file:
            try:
                _lock(file)
            except OSError as error:
                raise EnvironmentProblem(
                    "another Blender installs or removes the backend; wait until it is done"
                ) from error
            yield


_LOCK = "lock"

if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove(path: Path) -> None:
    """Delete a file or folder. Raises: OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file so that it is there whole or not at all. Raises: OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def replace(source: Path, target: Path) -> None:
    """Rename; Windows is asked again for a while, as virus scanners hold new files open. Raises: OSError."""
    for pause_s in (0.05, 0.1, 0.2, 0.4, 0.8):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if sys.platform != "win32":
                raise
            time.sleep(pause_s)
    os.replace(source, target)


def find_wheel(folder: Path) -> Wheel | None:
    """The newest ``likeness-*.whl`` in ``folder``; None when there is none. Raises: EnvironmentProblem."""
    paths = sorted(folder.glob("likeness-*.whl"), key=lambda path: path.stat().st_mtime)
    return read_wheel(paths[-1]) if paths else None


def read_wheel(path: Path) -> Wheel:
    """Version, pin and hash of a wheel. Raises: EnvironmentProblem when it is damaged."""
    try:
        status = path.stat()
        return _read_wheel(path, status.st_mtime_ns, status.st_size)
    except (OSError, zipfile.BadZipFile, ValueError, StopIteration) as error:
        raise EnvironmentProblem(f"'{path}' is damaged ({error!r}); install the add-on again") from error


@functools.lru_cache(maxsize=4)
def _read_wheel(path: Path, _changed_ns: int, _size: int) -> Wheel:
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode("utf-8")
    version = re.search(r"^Version: (\S+)$", metadata, re.M)
    torch = re.search(r"^Requires-Dist: torch ?\(?==([\w.]+)\)?$", metadata, re.M)
    if version is None or torch is None:
        raise ValueError("it names no version, or no version of torch")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Wheel(path=path, sha256=digest, version=version[1], torch=torch[1])
