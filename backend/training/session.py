"""One training from the command line: recipe and folder checked, task built, progress shown, cancel kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import BadInput, Missing
from backend.training.recipe import Recipe, differences, parse_recipe, read_recipe, written
from backend.training.schema import MANIFEST_NAME, read_manifest

if TYPE_CHECKING:
    import torch

    from backend.training.loop import Told
    from backend.training.task import Task

RECIPE, SESSION = "recipe.yaml", "training.json"
PORTRAITS = "portraits.jsonl"  # in a folder of prepared photographs
_MAY_CHANGE = ("optimisation.steps", "optimisation.epochs", "keeping.")
_LINES_APART_S = 30.0  # where there is no terminal


@dataclass(frozen=True)
class Asked:
    """What the command line was given."""

    task: str
    data: Path
    out: Path
    recipe: str | None
    resume: bool
    cpu: bool
    weights: Path | None = None
    head: str = "open"
    start: Path | None = None


def run_training(asked: Asked) -> None:
    """Train to the end and print where the product is.

    Raises: BadInput, Missing, OutOfResources, and Cancelled once a checkpoint is written.
    """
    recipe = _prepared(asked)
    try:
        from backend.training.loop import Watch, make_accelerator, train
    except ImportError as error:
        raise Missing(f"{error.name} is not installed; pip install 'likeness[gpu,train]'") from error
    accelerator = make_accelerator(recipe.optimisation, asked.cpu)
    task = _built(asked, recipe, accelerator.device)
    if accelerator.is_main_process:
        _keep(asked, recipe)
    accelerator.wait_for_everyone()
    with _stop_signals() as is_cancelled, _shown(accelerator.is_main_process) as on_step:
        made = train(task, recipe, asked.out, accelerator, Watch(on_step, is_cancelled))
    if accelerator.is_main_process:
        print(f"{asked.out / 'result'}  ({made} steps)", flush=True)


def _built(asked: Asked, recipe: Recipe, device: torch.device) -> Task:
    if asked.task.startswith("fica-"):
        from backend.fica.training.build import build_task as build_fica

        return build_fica(recipe, asked.data, device, asked.weights, asked.head, asked.start)
    from backend.marcus.training.build import build_task

    return build_task(asked.task, recipe, asked.data, device, asked.weights, asked.head, asked.start)


def _prepared(asked: Asked) -> Recipe:
    """The recipe, and a folder that it may be trained in."""
    out = asked.out
    if out.exists() and not out.is_dir():
        raise BadInput(f"'{out}' is a file; choose another output folder")
    if not out.parent.is_dir():
        raise BadInput(f"output folder '{out.parent}' does not exist; create it or choose another")
    began = (out / RECIPE).is_file()
    if not asked.resume:
        if out.exists() and any(out.iterdir()):
            raise BadInput(
                f"'{out}' is not empty; " + ("--resume goes on with it" if began else "choose another folder")
            )
        return read_recipe(asked.task, asked.recipe or "paper")
    if not began:
        raise BadInput(f"there is no training in '{out}' to go on with; leave out --resume")
    _same_session(asked)
    kept = parse_recipe(asked.task, (out / RECIPE).read_text("utf-8"), str(out / RECIPE))
    if asked.recipe is None:
        return kept
    new = read_recipe(asked.task, asked.recipe)
    changed = [
        field
        for field in differences(kept.model_dump(), new.model_dump())
        if not field.startswith(_MAY_CHANGE)
    ]
    if changed:
        raise BadInput(
            f"the recipe differs from the one in '{out}' ({', '.join(changed)}); leave out --recipe, "
            "or train into another folder"
        )
    return new


def _same_session(asked: Asked) -> None:
    try:
        kept = json.loads((asked.out / SESSION).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"'{asked.out / SESSION}' cannot be read; train into another folder") from error
    for field, value in _identity(asked).items():
        if kept.get(field) != value:
            raise BadInput(
                f"'{asked.out}' was trained with another {field} ({kept.get(field)}, now {value}); "
                "give the same one, or train into another folder"
            )


def _identity(asked: Asked) -> dict[str, str | None]:
    """What a resume must find again."""
    listing = asked.data / PORTRAITS
    if not listing.is_file():
        read_manifest(asked.data)
        listing = asked.data / MANIFEST_NAME
    digest = hashlib.sha256(listing.read_bytes()).hexdigest()
    start = str(asked.start.resolve()) if asked.start is not None else None
    return {"task": asked.task, "set": digest, "head": asked.head, "start": start}


def _keep(asked: Asked, recipe: Recipe) -> None:
    asked.out.mkdir(exist_ok=True)
    (asked.out / SESSION).write_text(json.dumps(_identity(asked), indent=2) + "\n", "utf-8")
    (asked.out / RECIPE).write_text(written(recipe), "utf-8")


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl+C or a termination was asked for; a second one ends the process as ever."""
    asked_for: list[int] = []

    def note(number: int, frame: object) -> None:
        asked_for.append(number)
        for each, old in before.items():
            signal.signal(each, old)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: bool(asked_for)
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def _shown(here: bool) -> Iterator[Callable[[Told], None]]:
    """A bar on a terminal; elsewhere a line every half minute."""
    from backend.progress import progress_reporter

    bar, last = sys.stderr.isatty(), time.monotonic()

    with progress_reporter(enabled=here) as reporter:

        def tell(told: Told) -> None:
            nonlocal last
            if not here:
                return
            if bar:
                reporter.on_progress(progress_line(told), told.step / told.steps)
            elif told.step == told.steps or time.monotonic() - last >= _LINES_APART_S:
                last = time.monotonic()
                print(progress_line(told), file=sys.stderr, flush=True)

        yield tell


def progress_line(told: Told) -> str:
    """How far it is, how well, how fast, and when it will be through."""
    minutes, seconds = divmod(round(told.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"step {told.step} of {told.steps}, loss {told.loss:.4g}, {told.seconds_per_step:.2g} s a step, "
        f"{hours}:{minutes:02d}:{seconds:02d} left"
    )
