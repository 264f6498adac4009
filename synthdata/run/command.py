"""``likeness synth run``, which joins through the entry points of this package."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.errors import BadInput

if TYPE_CHECKING:
    from backend.progress import Reporter
    from synthdata.run.inputs import Inputs
    from synthdata.run.store import Store
    from synthdata.run.workers import Crew

_LINE_EVERY_S = 30.0  # of progress, where there is no terminal


def run(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The set's folder.")],
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Instances; of fica moments, each seen by all cameras. smoke makes 24."),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="smoke, marcus, fica or fica-small: sizes of maps, pictures, shards.")
    ] = "smoke",
    hdris: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="Folder of panoramas, or `blender` for its own; may be repeated."),
    ] = None,
    head: Annotated[str, typer.Option(help="open, or ict:PATH.")] = "open",
    identities: Annotated[
        Path | None, typer.Option(metavar="PHOTOS", help="Folder of photographs whose faces are taken.")
    ] = None,
    scans: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of scan textures in the head's chart.")
    ] = None,
    scan_share: Annotated[
        float, typer.Option(min=0.01, max=1, help="How much of a scan a skin has; 1 takes it instead.")
    ] = 1.0,
    per_person: Annotated[
        int | None, typer.Option(min=1, help="Lights (of fica expressions) of one person, not the preset's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same set.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Processes, of about 1 GiB each; by default 1.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Work on a Ray cluster: auto, HOST:PORT or ray://HOST:PORT."),
    ] = None,
    path: Annotated[
        str,
        typer.Option(help="transfer (fast), cycles (hair, glasses, hats) or both; else the preset's."),
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the set in DIR.")] = False,
) -> None:
    """Make a training set (docs/dataset.md), here or on a cluster (docs/synth-cluster.md)."""
    from backend.progress import progress_reporter
    from synthdata.hdris.folders import panorama_folders
    from synthdata.run.inputs import Asked, gather
    from synthdata.run.plan import PRESETS, plan_shards
    from synthdata.run.store import full_disk, open_store

    if preset not in PRESETS:
        raise BadInput(f"preset '{preset}' is not offered; take one of {', '.join(PRESETS)}")
    if out.exists() and not out.is_dir():
        raise BadInput(f"'{out}' is a file; choose another output folder")
    if not out.parent.is_dir():
        raise BadInput(f"output folder '{out.parent}' does not exist; create it or choose another")
    sizes = PRESETS[preset]
    count = count or sizes.count
    if not count:
        raise BadInput(f"preset '{preset}' has no size of its own; say how many with --count")
    if per_person is not None:
        sizes = replace(sizes, instances_per_person=per_person, cycles_instances=per_person)
    folders = panorama_folders(hdris or ())
    asked = Asked(preset, count, seed, head, folders, scans, scan_share, identities, path)
    try:
        with progress_reporter(enabled=True) as reporter:
            inputs = gather(asked, sizes, out, reporter.on_progress)
            plans = plan_shards(inputs.recipe)
            with open_store(out, inputs.recipe, inputs.licences, inputs.skipped, plans, resume) as (
                store,
                said,
            ):
                for line in (*inputs.skipped, *said):
                    reporter.warning(line)
                _make_missing(out, store, inputs, workers, ray, reporter)
                shards = store.manifest.shards
    except OSError as error:
        raise full_disk(error, out) or error from error
    size = sum(shard.bytes for shard in shards)
    typer.echo(f"{out}  ({count} instances, {len(shards)} shards, {size / 1e6:.0f} MB)")


def _make_missing(
    out: Path, store: Store, inputs: Inputs, workers: int | None, ray: str | None, reporter: Reporter
) -> None:
    from synthdata.run.store import keep_unit
    from synthdata.run.workers import run_units

    store.seal_what_is_whole()
    missing, count = store.missing(), inputs.recipe.count
    if not missing:
        return
    done, start, new, told = store.instances_kept(), time.monotonic(), 0, 0.0
    for unit, made in run_units(_crew(inputs, workers, ray), missing, reporter.warning):
        keep_unit(out, unit, made)
        store.seal_what_is_whole()
        new += unit.count
        now = time.monotonic()
        line = progress_line(done + new, count, new, now - start)
        reporter.on_progress(line, (done + new) / count)
        if not sys.stderr.isatty() and now - told > _LINE_EVERY_S:
            typer.echo(line, err=True)
            told = now


def _crew(inputs: Inputs, workers: int | None, ray: str | None) -> Crew:
    if ray is not None:
        from synthdata.run.cluster import RayCrew

        return RayCrew(inputs.job, ray, workers)
    from synthdata.run.workers import LocalCrew

    return LocalCrew(inputs.job, workers or 1)


def progress_line(done: int, count: int, new: int, seconds: float) -> str:
    """How far it is, how fast it goes, and when it will be through."""
    rate = new / max(seconds, 1e-9)
    minutes, rest = divmod(round((count - done) / max(rate, 1e-9)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{done} of {count} instances, {rate:.2g} a second, {hours}:{minutes:02d}:{rest:02d} left"
