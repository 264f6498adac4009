"""From an exception in the worker to the ``Problem`` that the artist is shown."""

from __future__ import annotations

import logging
from typing import Literal

from backend.failures import exit_code_of, one_line, write_report
from blender_addon.bundle import BundleError
from blender_addon.protocol import Problem

_log = logging.getLogger(__name__)

Code = Literal["bug", "bad_input", "missing", "out_of_resources", "cancelled"]
_CODES: dict[int, Code] = {2: "bad_input", 3: "missing", 4: "out_of_resources", 130: "cancelled"}


def problem_of(error: BaseException) -> Problem:
    """What to tell of ``error``: the command line's exit codes as words, its line; a report for a bug."""
    if isinstance(error, BundleError):
        return Problem(code="bad_input", message=str(error))
    code = _CODES.get(exit_code_of(error), "bug")
    if code != "bug":
        return Problem(code=code, message=one_line(error))
    _log.error("a bug", exc_info=error)
    report = write_report(error)
    return Problem(
        code="bug",
        message=f"this is a bug of ours ({type(error).__name__}); please send us the report in {report}",
        report=str(report),
    )
