"""What the command line shows while it works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from backend.jobs import Outcome


class Reporter:
    """Prints progress, warnings, errors and results to stderr and stdout."""

    def __init__(self, console: Console, bar: Progress | None) -> None:
        self._console = console
        self._bar = bar
        self._task: TaskID | None = None
        self._stage = ""

    def on_progress(self, stage: str, fraction: float) -> None:
        """Show that ``stage`` is ``fraction`` in [0, 1] done."""
        if self._bar is None:
            return
        if self._task is None or stage != self._stage:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(stage, total=1.0)
            self._stage = stage
        self._bar.update(self._task, completed=fraction)

    def warning(self, message: str) -> None:
        self._console.print(f"note: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    def error(self, message: str) -> None:
        self._console.print(
            f"likeness: {message}", style="red", markup=False, highlight=False, soft_wrap=True
        )

    def done(self, outcome: Outcome) -> None:
        """One line on stdout: where the avatar lies and how well the head fits."""
        print(
            f"{outcome.directory}  (engine {outcome.engine}, landmarks off by "
            f"{outcome.landmark_error_iod:.1%} of the eye distance, {outcome.seconds:.1f} s)",
            flush=True,
        )


@contextmanager
def progress_reporter(enabled: bool, remaining: bool = False) -> Iterator[Reporter]:
    """A Reporter with a live bar when ``enabled`` and stderr is a terminal.

    ``remaining`` also shows the time left, for work whose steps take equally long.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not (enabled and sys.stderr.isatty()):
        yield Reporter(console, None)
        return
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn()]
    columns.append(TimeElapsedColumn())
    if remaining:
        columns += [TextColumn("left"), TimeRemainingColumn()]
    with Progress(*columns, console=console, transient=True) as bar:
        yield Reporter(console, bar)
