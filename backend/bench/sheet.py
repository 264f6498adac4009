"""Inside a benchmark's process: what it is asked, where it writes values down, and how it takes turns.

Every benchmark runs in a process of its own: its peak memory is its own, a crash in a graphics driver or in
Blender ends that one alone, and what it wrote down before stays. Values go to a file, one JSON line each,
because the libraries that are measured print on stdout.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from backend.bench.record import Better
from backend.errors import LikenessError, Missing


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What a benchmark is asked."""

    events: Path  # the file that values go to
    folder: Path  # empty, removed afterwards
    repeat: int
    quick: bool = False  # small work: whether it runs, not how fast
    photo: Path | None = None  # instead of the public-domain astronaut
    avatar: Path | None = None  # a finished avatar folder, instead of one made for the purpose
    variant: str = ""  # of a benchmark that has several


class Workload(msgspec.Struct, frozen=True, tag="workload"):
    """What is worked on, in words."""

    words: str


class Value(msgspec.Struct, frozen=True, tag="value"):
    figure: str
    value: float
    unit: str
    better: Better
    baselines: tuple[str, ...]


class Omitted(msgspec.Struct, frozen=True, tag="omitted"):
    what: str
    why: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    why: str


Event = Workload | Value | Omitted | Failed


class Sheet:
    """Takes values down."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def workload(self, words: str) -> None:
        """Say what is worked on; figures of different workloads are never compared."""
        self._write(Workload(words))

    def value(self, figure: str, value: float, unit: str, *baselines: str, better: Better = "lower") -> None:
        """One more value of ``figure``, to be read against ``baselines`` (figures; the first one judges)."""
        self._write(Value(figure, float(value), unit, better, baselines))

    def leave_out(self, what: str, why: str) -> None:
        """Say what is not measured."""
        self._write(Omitted(what, why))

    def fail(self, why: str) -> None:
        """Say why the benchmark ends early."""
        self._write(Failed(why))

    def _write(self, event: Event) -> None:
        self._file.write(msgspec.json.encode(event) + b"\n")


def try_out(
    sheet: Sheet, made: Mapping[str, Callable[[], Callable[[], object]]]
) -> dict[str, Callable[[], object]]:
    """Set every contestant up and run it once, to warm it; those that cannot run here are left out."""
    ready: dict[str, Callable[[], object]] = {}
    for name, make in made.items():
        try:
            work = make()
            work()
        except Exception as error:  # whatever a library or a driver raises that is not there
            sheet.leave_out(name, reason(error))
        else:
            ready[name] = work
    return ready


def in_turns(
    sheet: Sheet,
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    ours: str,
    also: tuple[str, ...] = (),
    unit: str = "ms",
) -> None:
    """Time each of ``works`` once a round, one after the other, so that other work hits all alike.

    ``ours`` is read against all the others, and against ``also``, measured elsewhere.
    """
    scale = {"s": 1.0, "ms": 1e3}[unit]
    others = (*(name for name in works if name != ours), *also)
    for _ in range(rounds):
        for name, work in works.items():
            sheet.value(name, scale * timed(work), unit, *(others if name == ours else ()))


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


YARDSTICK = "fixed work on one core"


def yardstick(clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of a fixed piece of work on one core: how fast this machine is at this moment.

    The baseline of what nobody else does: a slower machine, or a busier one, slows both. ``clock`` is that
    of what it stands beside.
    """
    import numpy as np

    numbers = np.random.default_rng(0).random(4_000_000)
    start = clock()
    np.sort(numbers)
    return clock() - start


def reason(error: BaseException) -> str:
    """One line that says why."""
    line = " ".join(str(error).split())
    if isinstance(error, LikenessError):
        return line
    if isinstance(error, ModuleNotFoundError):
        return f"the Python module '{error.name}' is not installed"
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def main(measure: Callable[[Setting, Sheet], None], arguments: list[str] | None = None) -> int:
    """The process's whole life: read the setting, measure, say how it ended; returns the exit code."""
    setting = decode((arguments or sys.argv[1:])[0])
    sheet = Sheet(setting.events)
    try:
        measure(setting, sheet)
    except KeyboardInterrupt:
        return 130
    except (Missing, ModuleNotFoundError) as error:
        sheet.leave_out("all of it", reason(error))
    except Exception as error:
        import traceback

        traceback.print_exc()  # into the log beside the events
        sheet.fail(reason(error))
        return 1
    return 0


def encode(setting: Setting) -> str:
    """``setting`` as the one argument of the process."""
    return msgspec.json.encode(setting, enc_hook=str).decode()  # paths are text there


def decode(argument: str) -> Setting:
    """What ``encode`` wrote."""
    return msgspec.json.decode(argument, type=Setting, dec_hook=lambda kind, text: kind(text))


def decode_events(lines: bytes) -> list[Event]:
    """Whole lines of an events file; one that was cut off in the middle is not there."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Event)
    whole = lines[: lines.rfind(b"\n") + 1]
    return [decoder.decode(line) for line in whole.splitlines()]
