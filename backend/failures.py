"""From an exception to what the user sees: one line, an exit code, a report file for our own bugs."""

from __future__ import annotations

import errno
import os
import platform
import sys
import tempfile
import traceback
from pathlib import Path

from backend import __version__
from backend.errors import Cancelled, LikenessError, OutOfResources

EXIT_CODES = (
    "Exit codes: 0 good, 1 a bug of ours (a report file is written), 2 bad input, "
    "3 something needed is missing, 4 out of memory or disk, 130 cancelled."
)

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def exit_code_of(error: BaseException) -> int:
    """The process exit code that ``error`` means."""
    if isinstance(error, LikenessError):
        return error.exit_code
    if _is_interrupt(error):
        return Cancelled.exit_code
    if _is_out_of_resources(error):
        return OutOfResources.exit_code
    return 1


def one_line(error: BaseException) -> str:
    """What is wrong and what to do, in one line. An error that is our bug leaves a report file."""
    if isinstance(error, LikenessError):
        return " ".join(str(error).split())
    if _is_interrupt(error):
        return "cancelled; nothing half-written was left behind"
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        where = f" while writing {error.filename}" if error.filename else ""
        return f"the disk is full{where}; free some space and run again"
    if _is_out_of_resources(error):
        return "out of memory; close other programs, or use a smaller --maps or photo"
    report = write_report(error)
    return f"this is a bug of ours ({type(error).__name__}); please send us the report in {report}"


def _is_interrupt(error: BaseException) -> bool:
    # typer turns Ctrl+C into its Abort
    return isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort"


def _is_out_of_resources(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno in {*_DISK_FULL, errno.ENOMEM}:
        return True
    # torch raises a RuntimeError of its own when the CPU allocator fails
    return isinstance(error, RuntimeError) and "not enough memory" in str(error)


def usage_line(error: BaseException) -> str | None:
    """The one line of a usage error ("" where the help was printed instead), None for other exceptions."""
    import typer

    # typer carries its own copy of click; the root of its usage errors is the second base of BadParameter
    click_exception = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    if not isinstance(error, click_exception):
        return None
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    return f"{message} (likeness --help shows what is accepted)" if message else ""


def write_report(error: BaseException) -> Path:
    """Write the traceback and versions into a new file of the temporary folder; returns its path."""
    handle, name = tempfile.mkstemp(prefix="likeness-error-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as report:
        report.write(f"likeness {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
        report.write(f"arguments: {sys.argv[1:]}\n\n")
        report.write("".join(traceback.format_exception(error)))
    return Path(name)
