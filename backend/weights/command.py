"""``likeness weights``. Only light imports at the top: ``likeness --help`` must not pay for torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from backend.errors import BadInput, BadWeights

weights_app = typer.Typer(
    help="Weights of other people that engines can use: what there is, fetching and checking them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_Root = Annotated[
    Path | None,
    typer.Option("--folder", metavar="DIR", help="The weights folder; else LIKENESS_WEIGHTS, or the user's."),
]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="As `likeness weights list` has it.")]


@weights_app.command("list")
def list_weights(
    folder: _Root = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what there is: size, licence and terms, and whether it is here."""
    from backend.weights.catalogue import catalogue
    from backend.weights.fetch import read_record
    from backend.weights.licences import accepted

    root = _root(folder)
    agreed = accepted(root)
    rows = []
    for one in catalogue().values():
        record = read_record(root / one.folder).get(one.name)
        rows.append({**one.model_dump(), "here": record is not None, "accepted": one.name in agreed})
        if not as_json:
            state = "here" if record else "not fetched"
            typer.echo(f"{one.name}  ({one.gigabytes:g} GB, {state})\n  {one.title}")
            typer.echo(f"  {one.licence}. {one.page}\n  {one.terms}")
    if as_json:
        print(json.dumps({"folder": str(root), "weights": rows}, ensure_ascii=False))
    else:
        typer.echo(f"\nThe weights folder is {root}")


@weights_app.command("fetch")
def fetch_weights(
    name: _Name,
    folder: _Root = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You have read and accept the terms that `list` shows.")
    ] = False,
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="A host with the same layout, instead of the first.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Copy from a local folder instead.")
    ] = None,
) -> None:
    """Fetch weights and what they need; an interrupted fetch goes on where it was."""
    from backend.progress import progress_reporter
    from backend.weights.catalogue import weight_set, with_needs
    from backend.weights.fetch import fetch, listing, require_terms, take_from

    root = _root(folder)
    if source is not None and mirror is not None:
        raise BadInput("--from and --mirror exclude each other; give one of them")
    if source is not None and not source.is_dir():
        raise BadInput(f"'{source}' is no folder; give the one that holds the files")
    sets = with_needs(name) if source is None else (weight_set(name),)
    for one in sets:
        require_terms(root, one, accept_licence)
    with progress_reporter(enabled=True) as reporter:
        for one in sets:

            def told(path: str, done: int, total: int, title: str = one.name) -> None:
                reporter.on_progress(f"{title}: {Path(path).name}", done / max(total, 1))

            if source is not None:
                where = take_from(root, one, source, told)
            else:
                where = fetch(root, one, listing(one, mirror), told)
            typer.echo(f"{one.name} is in {where}")


@weights_app.command("verify")
def verify_weights(name: _Name, folder: _Root = None) -> None:
    """Read every fetched file again and compare it with its checksum and its model."""
    from backend.weights.catalogue import with_needs
    from backend.weights.fetch import verify

    root = _root(folder)
    problems: list[str] = []
    for one in with_needs(name):
        problems += verify(root, one)
    if not problems and name == "marcus":
        from backend.marcus.inspection import structure_problems

        problems = structure_problems(root)
    for line in problems:
        typer.echo(line, err=True)
    if problems:
        raise BadWeights(
            f"{len(problems)} of the files of '{name}' are not what they should be; fetch it again"
        )
    typer.echo(f"{name} is whole")


@weights_app.command("inspect")
def inspect_weights(
    name: _Name,
    folder: _Root = None,
    avatar: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="An avatar made by the engine with --head hifi3dpp, to read signs off."
        ),
    ] = None,
) -> None:
    """Answer what the publication leaves open by looking into the files, and keep the answers."""
    if name != "marcus":
        raise BadInput(f"there is nothing open about '{name}'; inspect marcus")
    from backend.marcus.inspection import inspect

    for question, answer in inspect(_root(folder), avatar).items():
        typer.echo(f"{question}: {answer}")


def _root(folder: Path | None) -> Path:
    from backend.weights.places import weights_folder

    return folder or weights_folder()
