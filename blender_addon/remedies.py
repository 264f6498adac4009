"""Every failure's remedy: which button an error draws. No Blender."""

from __future__ import annotations

from dataclasses import dataclass

from .protocol import Problem


@dataclass(frozen=True)
class Remedy:
    """A button: operator, label, icon; ``takes_job`` when it acts on the job that failed."""

    operator: str
    label: str
    icon: str
    takes_job: bool = False
    takes_path: bool = False  # the problem's report file


REMEDIES: dict[str, Remedy] = {
    "install": Remedy("likeness.install_backend", "Install backend", "IMPORT"),
    "reinstall": Remedy("likeness.install_backend", "Update backend", "FILE_REFRESH"),
    "start": Remedy("likeness.start_backend", "Start backend", "PLAY"),
    "restart": Remedy("likeness.restart_backend", "Restart backend", "FILE_REFRESH"),
    "log": Remedy("likeness.open_log", "Open log", "TEXT"),
    "install_log": Remedy("likeness.open_install_log", "Open the installation's log", "TEXT"),
    "doctor": Remedy("likeness.doctor", "Run doctor", "CHECKMARK"),
    "online": Remedy("likeness.open_system_preferences", "Open system preferences", "PREFERENCES"),
    "preferences": Remedy("likeness.open_preferences", "Open preferences", "PREFERENCES"),
    "free_memory": Remedy("likeness.free_memory", "Free memory", "TRASH"),
    "photo": Remedy("likeness.choose_photo", "Choose another photo", "FILE_FOLDER"),
    "smaller": Remedy("likeness.rerun_smaller", "Run again as Preview", "FILE_REFRESH", takes_job=True),
    "rerun": Remedy("likeness.rerun", "Run again", "FILE_REFRESH", takes_job=True),
    "report": Remedy("likeness.open_report", "Open the report", "TEXT", takes_path=True),
}

_OF_PROBLEM = {
    "bad_input": "photo",
    "missing": "doctor",
    "out_of_resources": "smaller",
    "cancelled": "rerun",
    "bug": "report",
    "worker_died": "rerun",
    "protocol": "reinstall",
    "unknown_job": "log",
    "refused": "log",
}


def remedy_of(problem: Problem) -> str:
    """The id of the remedy of ``problem``."""
    if problem.code == "bug" and problem.report is None:
        return "log"
    return _OF_PROBLEM[problem.code]
