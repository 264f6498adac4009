"""Processes that make units. Their number changes nothing but the time it takes."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from backend.errors import LikenessError
from backend.shading.environment import Environment
from backend.training.schema import Recipe
from synthdata.run.plan import Unit

UNITS_PER_PROCESS = 64  # then a fresh one: no library's leak adds up
_PANORAMAS_HELD = 16  # prefiltered, 4 MB each
LOSSES = 3  # in a row, without a unit finished in between


@dataclass(frozen=True)
class Job:
    """What every unit is made with."""

    folder: Path
    recipe_json: bytes
    panoramas: tuple[Path, ...]  # in the order of the recipe's


Work = Callable[[Job, Unit], None]


def make_and_keep(job: Job, unit: Unit) -> None:
    """In a worker: make ``unit`` and put it into the set's folder. Raises: LikenessError, OSError."""
    from synthdata.run.store import keep_unit
    from synthdata.run.unit import make_unit

    workshop = _workshop(job)
    made = make_unit(unit, workshop.recipe, workshop.head, workshop.panorama)
    keep_unit(job.folder, unit, {"instances": made.instances, "heads": made.heads})


def run_units(
    job: Job, units: Sequence[Unit], workers: int, told: Callable[[str], None], work: Work = make_and_keep
) -> Iterator[Unit]:
    """Each unit once it is finished. A lost worker's units are made by another.

    Raises: LikenessError when workers die one after the other, and whatever ``work`` raises.
    """
    left = {unit.identity: unit for unit in units}
    losses = 0
    while left:
        waiting: dict[Future[None], Unit] = {}
        pool = ProcessPoolExecutor(
            min(workers, len(left)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            max_tasks_per_child=UNITS_PER_PROCESS,
        )
        try:
            waiting = {pool.submit(work, job, unit): unit for unit in left.values()}
            for future in as_completed(waiting):
                future.result()
                unit = left.pop(waiting[future].identity)
                losses = 0
                yield unit
        except BrokenProcessPool as error:
            losses += 1
            if losses == LOSSES:
                raise LikenessError(
                    f"{LOSSES} workers in a row died (out of memory?); use fewer --workers and --resume"
                ) from error
            told("a worker process died; its work is done again")
            for future, unit in waiting.items():
                if unit.identity in left and future.done() and future.exception() is None:
                    del left[unit.identity]
                    yield unit
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """A worker's start: an interrupt is the parent's to answer, and the parent's end is the worker's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def follow() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class _Workshop:
    """What a worker loads once."""

    def __init__(self, job: Job) -> None:
        import msgspec
        import torch
        from threadpoolctl import threadpool_limits

        from backend.head.open_head import load_open_head
        from synthdata.light.panoramas import load

        # One thread, so that sums go in one order whatever the number of workers.
        torch.set_num_threads(1)
        threadpool_limits(1)

        self.recipe = msgspec.json.decode(job.recipe_json, type=Recipe)
        self.head = load_open_head()

        @functools.lru_cache(maxsize=_PANORAMAS_HELD)
        def panorama(number: int) -> Environment:
            return load(job.panoramas[number])

        self.panorama = panorama


@functools.lru_cache(maxsize=1)
def _workshop(job: Job) -> _Workshop:
    return _Workshop(job)
