"""Several processes that share the cases of one run, each with a Blender of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import IO

from backend.errors import BadInput
from backend.evaluation.runner import Job

_MAIN = "import sys; from backend.cli import main; sys.exit(main())"


def part_of(job: Job, part: str) -> Job:
    """What the process ``part`` ("2/3": the second of three) does of ``job``. Raises: BadInput.

    Figures over all cases are left to who has all results.
    """
    index, slash, count = part.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise BadInput(f"part '{part}' is not of the form 2/3 (the second of three)")
    groups = tuple(replace(group, over_cases=None) for group in job.groups)
    return replace(job, cases=job.cases[int(index) - 1 :: int(count)], groups=groups)


def measure_in_parts(count: int, arguments: Sequence[str]) -> None:
    """Run ``likeness evaluate run ARGUMENTS --part …`` in ``count`` processes, and wait for them.

    One that fails leaves its cases to whoever goes on with the run. An interrupt ends them all.
    """
    command = [sys.executable, "-c", _MAIN, "evaluate", "run", *arguments]
    processes = [
        subprocess.Popen(
            [*command, "--part", f"{index + 1}/{count}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        for index in range(count)
    ]
    try:
        readers = [threading.Thread(target=_show, args=(p.stdout,), daemon=True) for p in processes]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def _show(lines: IO[str] | None) -> None:
    """Say what a part says, line by line, so that two never share one."""
    assert lines is not None
    with lines:
        for line in lines:
            print(line, end="", file=sys.stderr, flush=True)
