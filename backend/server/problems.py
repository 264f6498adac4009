"""From exceptions and exit codes to the ``Problem`` that a client shows."""

from __future__ import annotations

import errno
import signal
import sqlite3
from typing import Literal

from blender_addon.protocol import Problem

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}
_SQLITE_FULL = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"}


class Refusal(Exception):
    """A request that is not carried out; ``problem`` is what its client is told."""

    def __init__(
        self,
        code: Literal[
            "bad_input",
            "missing",
            "out_of_resources",
            "cancelled",
            "protocol",
            "worker_died",
            "unknown_job",
            "refused",
        ],
        message: str,
    ) -> None:
        super().__init__(message)
        self.problem = Problem(code=code, message=message)


def storage_problem(error: OSError | sqlite3.Error, *, show_paths: bool = True) -> Problem:
    """What to tell a client when the server's own folder cannot be written or read."""
    if isinstance(error, sqlite3.Error):
        name = getattr(error, "sqlite_errorname", "")
        if name in _SQLITE_FULL:
            return _full("the job journal")
        if name.startswith("SQLITE_READONLY") or name == "SQLITE_CANTOPEN":
            return _no_rights("the job journal")
        return Problem(
            code="missing", message=f"the job journal cannot be used ({error}); restart the backend"
        )
    where = str(error.filename) if error.filename and show_paths else "the data folder"
    if error.errno in _NO_SPACE:
        return _full(where)
    if error.errno in _NO_RIGHTS:
        return _no_rights(where)
    return Problem(
        code="missing",
        message=f"{where} cannot be used ({error.strerror or error}); check the backend's data folder",
    )


def _full(where: str) -> Problem:
    return Problem(
        code="out_of_resources",
        message=f"the backend's disk is full ({where}); free some space or forget old photos, then try again",
    )


def _no_rights(where: str) -> Problem:
    return Problem(
        code="missing",
        message=f"the backend may not write {where}; give its data folder back its write permission",
    )


def exit_in_words(status: int) -> str:
    """How a process ended, from its exit status (negative: the signal, as subprocess gives it)."""
    if status == -9:
        return "was killed by the system (SIGKILL), most likely because memory ran out"
    if status < 0:
        try:
            return f"crashed ({signal.Signals(-status).name})"
        except ValueError:
            return f"was ended by signal {-status}"
    if status >= 0x80000000:  # Windows: an NTSTATUS
        return f"crashed (0x{status:08X})"
    return f"ended with exit status {status}"
