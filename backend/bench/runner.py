"""Runs benchmarks one after the other, each in a process of its own, and gathers what they wrote down."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backend.bench import sheet
from backend.bench.machine import load
from backend.bench.record import Figure, LeftOut, Result
from backend.bench.registry import SCRIPTS, Benchmark
from backend.bench.sheet import Setting, decode_events

LIMIT_S = 3600.0  # a benchmark that takes longer hangs
PATIENCE_S = 10.0  # for a process that is asked to end
POLL_S = 0.1


@dataclass(frozen=True)
class Asked:
    """What holds for every benchmark of a run."""

    repeat: int = 5
    quick: bool = False
    photo: Path | None = None
    avatar: Path | None = None
    limit_s: float = LIMIT_S


class Interrupted(Exception):
    """Ctrl+C; ``result`` holds what was measured until then."""

    def __init__(self, result: Result) -> None:
        super().__init__("interrupted")
        self.result = result


def run_all(
    benchmarks: Sequence[Benchmark], asked: Asked, tell: Callable[[str, str], None]
) -> Iterator[Result]:
    """The result of each benchmark as it is done.

    ``tell(benchmark, figure)`` hears of every figure as its values come. Raises: Interrupted.
    """
    for benchmark in benchmarks:
        yield run_one(benchmark, asked, partial(tell, benchmark.name))


def run_one(benchmark: Benchmark, asked: Asked, tell: Callable[[str], None]) -> Result:
    """Run one benchmark; what it cannot do is in the result. Raises: Interrupted."""
    lacking = _lacking(benchmark)
    if lacking is not None:
        return Result(
            name=benchmark.name,
            workload="",
            figures=(),
            left_out=(LeftOut(what="all of it", why=lacking),),
        )
    load_at_start, start = load(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="likeness-bench-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        events, log, work = root / "events.jsonl", root / "log.txt", root / "work"
        events.touch()
        work.mkdir()
        setting = Setting(
            events=events,
            folder=work,
            repeat=asked.repeat,
            quick=asked.quick,
            photo=asked.photo,
            avatar=asked.avatar,
            variant=benchmark.variant,
        )

        def gathered(failed: str | None) -> Result:
            return gather(benchmark, events.read_bytes(), failed, load_at_start, time.monotonic() - start)

        with log.open("wb") as output:
            process = subprocess.Popen(
                _command(benchmark, setting),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=work,
                env={**os.environ, "BLENDER_USER_RESOURCES": str(root / "blender"), "PYTHONPATH": _path()},
                start_new_session=True,  # Ctrl+C reaches us, and we end it with all that it started
            )
        try:
            failed = _watch(process, events, asked.limit_s, tell)
        except KeyboardInterrupt:
            _end(process)
            raise Interrupted(gathered("interrupted")) from None
        finally:
            _end(process)
        if failed is None and process.returncode != 0:
            failed = _last_words(process.returncode, log)
        return gathered(failed)


def gather(
    benchmark: Benchmark, lines: bytes, failed: str | None, load_at_start: float | None, seconds: float
) -> Result:
    """What a process wrote down as a result; the reason that it gave itself stands before ``failed``."""
    workload = ""
    values: dict[str, list[sheet.Value]] = {}
    left_out: list[LeftOut] = []
    own: str | None = None
    for event in decode_events(lines):
        if isinstance(event, sheet.Workload):
            workload = event.words
        elif isinstance(event, sheet.Value):
            values.setdefault(event.figure, []).append(event)
        elif isinstance(event, sheet.Omitted):
            left_out.append(LeftOut(what=event.what, why=event.why))
        else:
            own = event.why
    figures = tuple(
        Figure(
            name=name,
            unit=taken[0].unit,
            values=tuple(value.value for value in taken),
            better=taken[0].better,
            baselines=taken[0].baselines,
        )
        for name, taken in values.items()
    )
    if not figures and not left_out and failed is None and own is None:
        own = "it ended without a value"
    return Result(
        name=benchmark.name,
        workload=workload,
        figures=figures,
        left_out=tuple(left_out),
        failed=own or failed,
        load_at_start=load_at_start,
        seconds=round(seconds, 1),
    )


def _lacking(benchmark: Benchmark) -> str | None:
    """What keeps a benchmark from running at all."""
    if benchmark.script and not (SCRIPTS / benchmark.script).is_file():
        return f"bench/{benchmark.script} is not part of the installed package; run from a checkout"
    for module in benchmark.needs:
        if importlib.util.find_spec(module) is None:
            return f"the Python module '{module}' is not installed"
    return None


def _command(benchmark: Benchmark, setting: Setting) -> list[str]:
    what = [str(SCRIPTS / benchmark.script)] if benchmark.script else ["-m", benchmark.module]
    return [sys.executable, *what, sheet.encode(setting)]


def _path() -> str:
    """Where the process finds this very package, whatever its working folder."""
    root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))


def _watch(
    process: subprocess.Popen[bytes], events: Path, limit_s: float, tell: Callable[[str], None]
) -> str | None:
    """Wait for the process's end, telling figures as they come. Returns why it had to be ended."""
    until, told = time.monotonic() + limit_s, 0
    while process.poll() is None:
        if time.monotonic() > until:
            return f"it took longer than {limit_s:.0f} s"
        time.sleep(POLL_S)
        found = decode_events(events.read_bytes())
        for event in found[told:]:
            if isinstance(event, sheet.Value):
                tell(event.figure)
        told = len(found)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    if process.poll() is None:
        _signal(process, getattr(signal, "SIGINT", signal.SIGTERM))
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if os.name == "posix":
        _signal(process, signal.SIGKILL)  # children that it left behind


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    if os.name != "posix":
        process.terminate()
        return
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says the second of a group that has ended
        return


def _last_words(code: int, log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    how = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return f"{how}; it said last: {lines[-1]}" if lines else how
