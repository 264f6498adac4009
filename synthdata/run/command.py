"""``likeness synth run``, which joins through the entry points of this package."""

from __future__ import annotations

import importlib.metadata
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend import __version__
from backend.errors import BadInput, Missing

if TYPE_CHECKING:
    from backend.head.base import ParametricHead
    from backend.training.schema import Recipe
    from synthdata.light.panoramas import Folder
    from synthdata.run.plan import Preset

_LIBRARIES = ("numpy", "torch", "opencv-contrib-python", "embreex", "scipy", "numba")


def run(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The set's folder.")],
    count: Annotated[int, typer.Option(min=1, help="Instances.")],
    preset: Annotated[
        str, typer.Option(help="smoke or marcus: sizes of maps, portraits and shards.")
    ] = "smoke",
    hdris: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of .hdr panoramas beside procedural light.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same set.")] = 0,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes, of about 1 GiB each.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the set in DIR.")] = False,
) -> None:
    """Make a training set by the fast path: traced transfer, relit heads, portraits, maps."""
    from backend.head.open_head import load_open_head
    from backend.progress import progress_reporter
    from backend.training.schema import Licence
    from synthdata.light.panoramas import Folder, survey
    from synthdata.run.plan import PRESETS, plan_shards
    from synthdata.run.store import full_disk, open_store
    from synthdata.run.workers import Job, run_units

    if preset not in PRESETS:
        raise BadInput(f"preset '{preset}' is not offered; take one of {', '.join(PRESETS)}")
    if out.exists() and not out.is_dir():
        raise BadInput(f"'{out}' is a file; choose another output folder")
    if not out.parent.is_dir():
        raise BadInput(f"output folder '{out.parent}' does not exist; create it or choose another")
    folder = survey(hdris) if hdris is not None else Folder((), (), ())
    head = load_open_head()
    recipe = _recipe(preset, PRESETS[preset], count, seed, folder, head)
    plans = plan_shards(recipe)
    head_licence = Licence(what=f"head '{head.name}'", licence=head.licence, sha256=head.weights_sha256 or "")
    licences = (head_licence, *folder.licences)
    try:
        with (
            progress_reporter(enabled=True) as reporter,
            open_store(out, recipe, licences, folder.skipped, plans, resume) as (store, said),
        ):
            for line in (*folder.skipped, *said):
                reporter.warning(line)
            store.seal_what_is_whole()
            done, start, new = store.instances_kept(), time.monotonic(), 0
            job = Job(out.resolve(), _encoded(recipe), tuple(path.resolve() for path in folder.paths))
            for unit in run_units(job, store.missing(), workers, reporter.warning):
                new += unit.count
                store.seal_what_is_whole()
                stage = progress_line(done + new, count, new, time.monotonic() - start)
                reporter.on_progress(stage, (done + new) / count)
            shards = store.manifest.shards
    except OSError as error:
        raise full_disk(error, out) or error from error
    size = sum(shard.bytes for shard in shards)
    typer.echo(f"{out}  ({count} instances, {len(shards)} shards, {size / 1e6:.0f} MB)")


def progress_line(done: int, count: int, new: int, seconds: float) -> str:
    """How far it is, how fast it goes, and when it will be through."""
    rate = new / max(seconds, 1e-9)
    minutes, rest = divmod(round((count - done) / max(rate, 1e-9)), 60)
    return f"{done} of {count} instances, {rate:.2g} a second, {minutes}:{rest:02d} left"


def _recipe(
    preset: str, sizes: Preset, count: int, seed: int, folder: Folder, head: ParametricHead
) -> Recipe:
    from backend.training.schema import Recipe

    try:
        versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    except importlib.metadata.PackageNotFoundError as error:
        raise Missing(f"{error.name} is not installed; pip install 'likeness[train]'") from error
    return Recipe(
        preset=preset,
        count=count,
        seed=seed,
        lights_per_head=sizes.lights_per_head,
        heads_per_shard=sizes.heads_per_shard,
        texels=sizes.texels,
        portrait_px=sizes.portrait_px,
        panoramas=folder.licences,
        head_sha256=head.weights_sha256 or "",
        versions={"likeness": __version__, **versions},
    )


def _encoded(recipe: Recipe) -> bytes:
    import msgspec

    return msgspec.json.encode(recipe)
