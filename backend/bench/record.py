"""What a run of the benchmarks leaves: ``FILE.json``, kept so that later runs can be held against it."""

from __future__ import annotations

import os
import secrets
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from backend.errors import BadInput

SCHEMA = 1
Better = Literal["lower", "higher"]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was measured, once a round."""

    name: str
    unit: str  # "ms", "s", "GiB/s", "MiB"
    values: tuple[float, ...]  # in the order of the rounds
    better: Better = "lower"
    baselines: tuple[str, ...] = ()  # figures of the same result and unit that it is read against


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """What was not measured."""

    what: str
    why: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark."""

    name: str
    workload: str  # in words; figures of different workloads are not compared
    figures: tuple[Figure, ...]
    left_out: tuple[LeftOut, ...] = ()
    failed: str | None = None  # the reason; figures measured before it stay
    load_at_start: float | None = None  # processes that wanted a core, averaged over the minute before
    seconds: float = 0.0


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured. No name of a host or a user."""

    cpu: str
    cores: int  # that this process may use
    cores_of_the_machine: int
    memory_gib: float
    memory_free_gib: float
    load_at_start: float | None  # None where the system does not tell
    system: str
    gpu: str | None
    versions: dict[str, str]  # of Python, Likeness and the libraries; absent ones are not in it


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A run: what was asked, where, and what came out."""

    schema: int
    made_at: str  # ISO 8601, UTC
    repeat: int
    quick: bool
    machine: Machine
    results: tuple[Result, ...]
    interrupted: bool = False


@dataclass(frozen=True)
class Spread:
    """The middle of repeated measurements and how far apart they lie."""

    median: float
    least: float
    most: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most. Raises: ValueError when there is no value."""
    if not values:
        raise ValueError("nothing was measured")
    return Spread(statistics.median(values), min(values), max(values), len(values))


def beside(figure: Figure, baseline: str, result: Result) -> tuple[float, ...]:
    """``figure`` over ``baseline``, round by round; empty where that was not measured.

    What slows a whole round down (other work on the machine) slows both and drops out. A baseline that was
    measured fewer times (it takes long) stands with its median in every round.
    """
    other = next((f for f in result.figures if f.name == baseline and f.unit == figure.unit), None)
    if other is None or not other.values or min(other.values) <= 0:
        return ()
    if len(other.values) < len(figure.values):
        middle = statistics.median(other.values)
        return tuple(value / middle for value in figure.values)
    return tuple(value / base for value, base in zip(figure.values, other.values, strict=False))


def read_record(path: Path) -> Record:
    """A file that ``write_record`` wrote. Raises: BadInput."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError as error:
        raise BadInput(f"'{path}' does not exist; `likeness bench -o FILE` makes such a file") from error
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"'{path}' is not a record of `likeness bench` ({error})") from error
    if record.schema != SCHEMA:
        raise BadInput(f"'{path}' has schema {record.schema}, this version reads {SCHEMA}; measure again")
    return record


def write_record(path: Path, record: Record) -> None:
    """Write the file whole: what was there before stays until the new one is complete."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
