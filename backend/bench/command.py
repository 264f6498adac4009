"""``likeness bench``. Only light imports at the top: ``likeness --help`` must not pay for numpy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.errors import BadInput

if TYPE_CHECKING:
    from backend.bench.record import Record, Result
    from backend.bench.registry import Benchmark


def bench(
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE.json", help="Keep the figures in a new file.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Only these; --list names them.")
    ] = None,
    repeat: Annotated[int, typer.Option(help="Rounds.", min=1, max=1000)] = 5,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small work: shows that it runs, not how fast.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="An earlier run: what got slower beyond the spread?"),
    ] = None,
    show: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Measure nothing; print this run.")
    ] = None,
    photo: Annotated[
        Path | None, typer.Option(help="The photo of path and worker, instead of the astronaut.")
    ] = None,
    avatar: Annotated[
        Path | None, typer.Option(help="The folder that import reads, instead of one made for it.")
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Name the benchmarks and stop.")] = False,
) -> None:
    """Measure speed, each figure beside a baseline of the same run (docs/benchmarks.md)."""
    from backend.bench.record import read_record
    from backend.bench.registry import ALL, ELSEWHERE, choose
    from backend.bench.report import comparison_text, left_out_text, record_text

    if list_only:
        for benchmark in ALL:
            typer.echo(f"{benchmark.name:14s} {benchmark.title}; beside {benchmark.beside}")
        typer.echo(left_out_text(ELSEWHERE))
        return
    earlier = read_record(against) if against is not None else None
    if show is not None:
        if out is not None or only is not None:
            raise BadInput("--show measures nothing; leave out -o and --only")
        record = read_record(show)
        typer.echo(record_text(record))
    else:
        names = [name.strip() for name in (only or "").split(",") if name.strip()]
        if only is not None and not names:
            raise BadInput("--only needs a name; likeness bench --list shows them")
        chosen = choose(names)
        _check_paths(out, photo, avatar)
        record = _measured(chosen, repeat, quick, photo, avatar, out)
    if earlier is not None:
        from backend.bench.against import compare

        typer.echo("\n" + comparison_text(compare(earlier, record)))
    if record.interrupted and show is None:
        raise KeyboardInterrupt
    if any(result.failed for result in record.results) and show is None:
        raise typer.Exit(1)


def _check_paths(out: Path | None, photo: Path | None, avatar: Path | None) -> None:
    """Raises: BadInput before anything is measured."""
    if out is not None:
        if out.exists():
            raise BadInput(f"'{out}' exists; give a new file, runs are kept for comparison")
        if not out.parent.is_dir():
            raise BadInput(f"the folder '{out.parent}' does not exist; create it or choose another")
    if photo is not None and not photo.is_file():
        raise BadInput(f"photo '{photo}' does not exist")
    if avatar is not None and not (avatar / "avatar.json").is_file():
        raise BadInput(f"'{avatar}' is not an avatar folder (no avatar.json)")


def _measured(
    chosen: tuple[Benchmark, ...],
    repeat: int,
    quick: bool,
    photo: Path | None,
    avatar: Path | None,
    out: Path | None,
) -> Record:
    """Run, print and keep: after each benchmark the file holds what there is so far."""
    from datetime import UTC, datetime

    import msgspec

    from backend.bench.machine import describe
    from backend.bench.record import SCHEMA, Record, write_record
    from backend.bench.registry import ELSEWHERE
    from backend.bench.report import left_out_text, machine_text, result_text
    from backend.bench.runner import Asked, Interrupted, run_all

    machine = describe()
    record = Record(
        schema=SCHEMA,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        repeat=repeat,
        quick=quick,
        machine=machine,
        results=(),
    )
    typer.echo(machine_text(machine) + "\n")
    asked = Asked(
        repeat=repeat,
        quick=quick,
        photo=photo.resolve() if photo else None,
        avatar=avatar.resolve() if avatar else None,
    )

    def take(result: Result, interrupted: bool = False) -> None:
        nonlocal record
        record = msgspec.structs.replace(record, results=(*record.results, result), interrupted=interrupted)
        _clear()
        typer.echo(result_text(result))
        if out is not None:
            write_record(out, record)

    try:
        for result in run_all(chosen, asked, _tell):
            take(result)
    except Interrupted as stopped:
        take(stopped.result, interrupted=True)
    except KeyboardInterrupt:  # between two benchmarks
        record = msgspec.structs.replace(record, interrupted=True)
    _clear()
    if len(chosen) > 1:
        typer.echo(left_out_text(ELSEWHERE))
    if out is not None:
        typer.echo(f"\nkept in {out}")
    return record


def _tell(benchmark: str, figure: str) -> None:
    """What is being measured, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{benchmark}: {figure}", end="", file=sys.stderr, flush=True)


def _clear() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
