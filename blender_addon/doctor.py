"""Gathers what ``checks`` judges, away from Blender's main thread. No Blender."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from . import protocol
from .checks import Check, Facts, check_all, run_doctor, total_memory
from .connection import CONNECTION_NAME, Connection, ConnectionFileError, read_connection
from .environment import Environment, EnvironmentProblem, Wheel, find_wheel
from .protocol import Problem
from .supervision import State


@dataclass(frozen=True)
class Known:
    """What the main thread knows when the doctor is called."""

    environment: Environment
    wheel_folder: Path
    data: Path
    remote: Path | None  # the connection file of a server elsewhere
    online: bool
    supervisor: State
    welcome: protocol.Welcome | None
    problem: Problem | None
    server: protocol.State | None


def examine(known: Known) -> list[Check]:
    """All checks; asks the installed backend too, so it takes seconds. Raises: OSError."""
    wheel, damaged = _wheel(known.wheel_folder)
    receipt = known.environment.receipt()
    facts = Facts(
        remote=known.remote is not None,
        online_access=known.online,
        environment=known.environment.state(wheel),
        receipt=receipt,
        wheel=wheel,
        supervisor=known.supervisor,
        connection=_connection(known.remote or known.data / CONNECTION_NAME),
        welcome=known.welcome,
        problem=known.problem,
        server=known.server,
        disk_free_bytes=shutil.disk_usage(known.data).free,
        memory_total_bytes=total_memory(),
        doctor=run_doctor(known.environment.program) if receipt is not None and known.remote is None else (),
    )
    return [*damaged, *check_all(facts)]


def _wheel(folder: Path) -> tuple[Wheel | None, list[Check]]:
    try:
        return find_wheel(folder), []
    except EnvironmentProblem as error:
        return None, [Check("Add-on", "bad", str(error), None)]


def _connection(file: Path) -> Connection | None:
    try:
        return read_connection(file)
    except ConnectionFileError:
        return None  # no server: the line about it says so
