"""``likeness evaluate``. Only light imports at the top: ``likeness --help`` must not pay for numpy.

Commands of other packages join through the entry point group ``likeness.evaluate``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.entry_points import JoinedGroup
from backend.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.evaluation.runner import Progress
    from backend.progress import Reporter


class _EvaluateGroup(JoinedGroup):
    joined_from = "likeness.evaluate"


evaluate_app = typer.Typer(
    cls=_EvaluateGroup,
    help="Measure reconstructions against independent truth (docs/evaluation.md).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_Run = Annotated[Path, typer.Argument(help="The folder of a run.")]


@evaluate_app.command("run")
def run(
    cases: Annotated[Path, typer.Argument(help="A case, or a folder of cases (docs/case-format.md).")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The run's folder; goes on there.")],
    method: Annotated[
        list[str] | None,
        typer.Option(help="engine:NAME, mean-head or no-delight. Repeatable; the mean head is always added."),
    ] = None,
    metrics: Annotated[
        list[str] | None, typer.Option(help="A group of metrics, such as realy. Repeatable; all by default.")
    ] = None,
    head: Annotated[str, typer.Option(help="open, ict:PATH or hifi3dpp:PATH.")] = "open",
    maps: Annotated[int, typer.Option(help="Side of the maps in texels.")] = 1024,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    limit: Annotated[int | None, typer.Option(help="Only the first so many cases.", min=1)] = None,
    jobs: Annotated[int, typer.Option(help="Processes, of 3 GiB each, that share the cases.", min=1)] = 1,
    part: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only every N-th case from the I-th on; no report.")
    ] = None,
) -> None:
    """Reconstruct every case, measure, and write the report. Run again to go on where it stopped."""
    from backend.evaluation.cases import read_cases
    from backend.evaluation.command_jobs import measure_in_parts, part_of
    from backend.evaluation.methods import DEFAULT_METHODS, Methods, Options, check_method
    from backend.evaluation.output_folder import output_folder
    from backend.evaluation.registry import choose_groups
    from backend.evaluation.report import write_report
    from backend.evaluation.results import RunFolder
    from backend.evaluation.runner import Job, run_cases
    from backend.head.registry import load_head
    from backend.pipeline import MAP_SIZES
    from backend.progress import progress_reporter

    methods = tuple(check_method(name) for name in method or DEFAULT_METHODS)
    groups = choose_groups(metrics or ())
    if maps not in MAP_SIZES:
        raise BadInput(f"map size {maps} is not offered; take one of {', '.join(map(str, MAP_SIZES))}")
    load_head(head)
    found, unusable = read_cases(cases)
    with output_folder(out, cases):
        folder = RunFolder(out)
        options = Options(head, maps, seed, splats=any(group.wants_splats for group in groups))
        job = Job(found[:limit], methods, groups, options, unusable)
        if part is not None:
            job = part_of(job, part)
        elif jobs > 1:
            arguments = [str(cases), "-o", str(out), "--head", head, "--maps", str(maps), "--seed", str(seed)]
            arguments += [text for name in methods for text in ("--method", name)]
            arguments += [text for name in metrics or () for text in ("--metrics", name)]
            arguments += ["--limit", str(limit)] if limit is not None else []
            measure_in_parts(jobs, arguments)
        with progress_reporter(enabled=True) as reporter:
            for line in unusable:
                reporter.error(line)
            for case in job.cases:
                if case.lost:
                    reporter.warning(f"case '{case.id}' lists {', '.join(case.lost)}, which it does not have")
            run_cases(job, folder, Methods(folder.avatars, options), _shown(reporter))
    if part is not None:
        return
    report = write_report(folder)
    failed = {row.id for row in report.cases if row.errors or row.notes}
    typer.echo(f"{out / 'report.html'}  ({len(report.cases)} cases, {len(failed)} with failures)")
    if unusable:
        raise typer.Exit(BadInput.exit_code)


@evaluate_app.command("report")
def report(
    out: _Run,
    sort: Annotated[
        str | None, typer.Option(metavar="METRIC", help="Which metric puts the worst case first.")
    ] = None,
) -> None:
    """Write report.json, report.md and report.html of a run, finished or not."""
    from backend.evaluation.report import write_report
    from backend.evaluation.results import RunFolder

    made = write_report(RunFolder(out), sort)
    typer.echo(f"{out / 'report.html'}  ({len(made.cases)} cases, {len(made.unfinished)} unfinished)")


@evaluate_app.command("document")
def document(
    out: _Run,
    page: Annotated[Path, typer.Argument(help="A Markdown page with the two marks, docs/evaluation.md.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For pictures; images/evaluation beside the page.")
    ] = None,
) -> None:
    """Put a run's tables and its worst cases into a page of the documentation."""
    from backend.evaluation.report import build_report
    from backend.evaluation.report_document import write_document
    from backend.evaluation.results import RunFolder

    folder = RunFolder(out)
    target = page.parent / "images" / "evaluation" if images is None else images
    worst = write_document(build_report(folder), folder, page, target)
    typer.echo(f"{page}  (worst: {', '.join(worst)})")


@evaluate_app.command("compare")
def compare(
    a: _Run,
    b: _Run,
    method_a: Annotated[str | None, typer.Option(help="Only this method of A.")] = None,
    method_b: Annotated[str | None, typer.Option(help="Only this method of B.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two runs case by case, with intervals of the paired differences."""
    import msgspec

    from backend.evaluation.compare import as_text
    from backend.evaluation.compare import compare as compared
    from backend.evaluation.results import RunFolder

    found = compared(RunFolder(a), RunFolder(b), method_a, method_b)
    if as_json:
        print(json.dumps(msgspec.to_builtins(found), ensure_ascii=False))
    else:
        print("\n\n".join(as_text(comparison) for comparison in found))


@evaluate_app.command("gallery")
def gallery(
    photos: Annotated[Path, typer.Argument(help="A photograph, or a folder of photographs.")],
    hdri: Annotated[Path, typer.Option(metavar="DIR", help="A folder of .hdr panoramas to relight in.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Sheets go here.")],
    head: Annotated[str, typer.Option(help="open, ict:PATH or hifi3dpp:PATH.")] = "open",
    maps: Annotated[int, typer.Option(help="Side of the maps in texels.")] = 1024,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Photographs without truth, to be looked at: a sheet each of texture, maps and relit views."""
    from backend.evaluation.gallery import panoramas, photographs, sheets
    from backend.evaluation.output_folder import output_folder
    from backend.progress import progress_reporter

    found, lights = photographs(photos), panoramas(hdri)
    failed = False
    with output_folder(out, photos) as folder, progress_reporter(enabled=True) as reporter:
        for photo, said in sheets(
            found, lights, folder, head=head, maps=maps, seed=seed, on_progress=reporter.on_progress
        ):
            if isinstance(said, BadInput):
                failed = True
                reporter.error(f"{photo.name}: {said}")
                continue
            for warning in said:
                reporter.warning(f"{photo.name}: {warning}")
            typer.echo(str(folder / f"{photo.stem}.jpg"))
    if failed:
        raise typer.Exit(BadInput.exit_code)


@evaluate_app.command("import")
def import_benchmark(
    kind: Annotated[str, typer.Argument(metavar="realy|now", help="Which benchmark.")],
    source: Annotated[Path, typer.Argument(help="Its folder, as published.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Cases go here.")],
    images: Annotated[
        Path | None, typer.Option(help="The photographs, where they lie outside the benchmark's folder.")
    ] = None,
) -> None:
    """Turn a benchmark that you have (REALY, or NoW's validation set) into cases."""
    from backend.evaluation.benchmarks import import_now, import_realy
    from backend.evaluation.output_folder import output_folder

    importers = {"realy": import_realy, "now": import_now}
    if kind not in importers:
        raise BadInput(f"benchmark '{kind}' is unknown; take realy or now")
    with output_folder(out, source) as folder:
        made = importers[kind](source, folder, images)
    typer.echo(f"{out}  ({made} cases)")


def _shown(reporter: Reporter) -> Callable[[Progress], None]:
    """A bar on a terminal; elsewhere (a night's log) one line for each case and method."""
    terminal, said = sys.stderr.isatty(), -1

    def show(progress: Progress) -> None:
        nonlocal said
        reporter.on_progress(f"{progress.done + 1} of {progress.total}: {progress.what}", progress.fraction)
        if not terminal and said < progress.done < progress.total:
            said = progress.done
            what = progress.what.rpartition(":")[0]
            print(f"{progress.done + 1} of {progress.total}: {what}", file=sys.stderr, flush=True)

    return show
