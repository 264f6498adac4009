"""``likeness synth fetch-hdris``, which joins through the entry points of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backend.errors import BadInput


def fetch_hdris(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the panoramas go.")],
    count: Annotated[int, typer.Option(min=1, help="How many are wanted there.")] = 100,
    resolution: Annotated[str, typer.Option(help="1k, 2k, 4k or 8k; 1k is what sets use.")] = "1k",
) -> None:
    """Fetch panoramas of Poly Haven (CC0) for `likeness synth run --hdris`; LIKENESS_OFFLINE=1 forbids it."""
    from backend.progress import progress_reporter
    from synthdata.hdris.polyhaven import fetch_panoramas
    from synthdata.run.store import full_disk

    if not out.parent.is_dir() or out.is_file():
        raise BadInput(f"'{out}' cannot be a folder there; create its parent or choose another")
    try:
        with progress_reporter(enabled=True) as reporter:
            fetched = fetch_panoramas(out, count, resolution, watch=reporter.on_progress)
            for line in fetched.failed:
                reporter.warning(line)
    except OSError as error:
        raise full_disk(error, out) or error from error
    typer.echo(f"{out}  ({fetched.new} fetched, {fetched.kept} were there, {len(fetched.failed)} skipped)")
