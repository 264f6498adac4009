"""``likeness synth``. Only light imports at the top: ``likeness --help`` must not pay for numpy.

``run`` joins through the entry point group ``likeness.synth``: the backend never imports the factory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backend.entry_points import JoinedGroup
from backend.errors import BadInput


class _SynthGroup(JoinedGroup):
    joined_from = "likeness.synth"


synth_app = typer.Typer(
    cls=_SynthGroup,
    help="Make and check training sets of made-up heads (docs/dataset.md).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_Set = Annotated[Path, typer.Argument(help="The folder of a training set.")]


@synth_app.command("verify")
def verify_set(folder: _Set) -> None:
    """Read every byte of a set and check it against its manifest."""
    from backend.progress import progress_reporter
    from backend.training.verify import verify

    with progress_reporter(enabled=True) as reporter:
        verdict = verify(folder, reporter.on_progress)
        for line in verdict.problems:
            reporter.error(line)
    records = ", ".join(f"{count} {kind}" for kind, count in verdict.records.items())
    typer.echo(f"{folder}  ({records}, {verdict.shards} shards)")
    if verdict.problems:
        raise typer.Exit(BadInput.exit_code)


@synth_app.command("inspect")
def inspect_set(
    folder: _Set,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="PNG", help="The page to write.")],
    shown: Annotated[int, typer.Option("--show", min=1, max=64, help="How many instances are drawn.")] = 16,
) -> None:
    """Draw a page of instances, and histograms of tone, pose and light over the whole set."""
    from backend.training.contact_sheet import contact_sheet, write_sheet
    from backend.training.inspection import look

    if not out.parent.is_dir():
        raise BadInput(f"the folder '{out.parent}' does not exist; create it or choose another")
    found = look(folder, shown)
    write_sheet(out, contact_sheet(found.shown, found.histograms, found.title))
    for histogram in found.histograms:
        counts = ", ".join(f"{n}: {c}" for n, c in zip(histogram.labels, histogram.counts, strict=True) if c)
        typer.echo(f"{histogram.title}: {counts}")
    typer.echo(str(out))
