"""What every operator shares: a reason when it is not available, one line when it fails."""

from __future__ import annotations

import platform
import time
import traceback
from pathlib import Path
from typing import Any

import bpy

from ..bundle import BundleError
from ..connection import ConnectionFileError
from ..disk import disk_sentence
from ..paths import user_folder


class Refusal(Exception):
    """The artist's to act on: one line, what is wrong and what to do."""


EXPECTED = (Refusal, BundleError, ConnectionFileError, LookupError)


class LikenessOperator(bpy.types.Operator):
    """Base: subclasses say what stands in the way in ``obstacle`` and do their work in ``run``."""

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        """Why this is not available now, None when it is."""
        return None

    @classmethod
    def poll(cls, context: Any) -> bool:
        reason = cls.obstacle(context)
        if reason is not None:
            cls.poll_message_set(reason)
        return reason is None

    def execute(self, context: Any) -> set[str]:
        try:
            self.run(context)
        except Exception as error:
            return self.fail(error)
        return {"FINISHED"}

    def run(self, context: Any) -> None:
        """Do it. Raises: Refusal and the like for what the artist can act on."""
        raise Refusal(f"{self.bl_label}: nothing to do")

    def fail(self, error: Exception) -> set[str]:
        """Report ``error`` in one line; our own mistakes leave a file with the traceback."""
        if isinstance(error, EXPECTED):
            self.report({"ERROR"}, str(error))
        elif isinstance(error, OSError):
            self.report({"ERROR"}, disk_sentence(error))
        else:
            told = report_of(self.bl_idname, error)
            self.report({"ERROR"}, f"{self.bl_label} failed by a mistake of ours; {told}")
        return {"CANCELLED"}


def report_of(what: str, error: BaseException) -> str:
    """Keep the traceback for a bug report; returns where it is, as a half sentence."""
    try:
        return f"the report is {write_report(what, error)}"
    except OSError as refused:  # a full disk must not hide the mistake, nor end the timer
        traceback.print_exception(error)
        return f"no report can be written ({refused.strerror}), but Blender's console has it"


def write_report(what: str, error: BaseException) -> Path:
    """A file with the traceback for a bug report; returns where it is. Raises: OSError."""
    file = user_folder("reports") / f"{time.strftime('%Y%m%d-%H%M%S')}-{what.lower().replace('.', '-')}.txt"
    lines = (
        f"Blender {bpy.app.version_string}, Python {platform.python_version()}, {platform.platform()}",
        f"while: {what}",
        "",
        "".join(traceback.format_exception(error)),
    )
    file.write_text("\n".join(lines), encoding="utf-8")
    return file
