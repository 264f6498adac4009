"""Making units elsewhere: who makes them, and how many at once, changes nothing but the time it takes."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Protocol

from backend.errors import LikenessError
from backend.training.schema import Kind
from synthdata.run.plan import Unit
from synthdata.run.sources import Job, Sources

UNITS_PER_PROCESS = 64  # then a fresh one: no library's leak adds up
LOSSES = 3  # of workers over one unit, until it is given up

Made = dict[Kind, bytes]  # a unit's records, joined as they go into the shards
Work = Callable[[Job, Unit], Made]


class Crew(Protocol):
    """Workers, on this machine or on many."""

    @property
    def room(self) -> int:
        """How many units may be under way at once."""
        ...

    def begin(self, unit: Unit) -> None:
        """Have ``unit`` made."""
        ...

    def finished(self) -> list[tuple[Unit, Made | None]]:
        """Wait for some of what was begun; None for a unit whose worker was lost. Raises what work raised."""
        ...

    def close(self) -> None:
        """Drop what is under way."""
        ...


def run_units(crew: Crew, units: Sequence[Unit], told: Callable[[str], None]) -> Iterator[tuple[Unit, Made]]:
    """Each unit once it is made. A lost worker's units are made by another.

    Raises: LikenessError when workers die over the same unit again and again, and whatever the work raises.
    """
    left = deque(units)
    under_way, losses = 0, Counter[int]()
    try:
        while left or under_way:
            while left and under_way < crew.room:
                crew.begin(left.popleft())
                under_way += 1
            for unit, made in crew.finished():
                under_way -= 1
                if made is not None:
                    yield unit, made
                    continue
                losses[unit.identity] += 1
                if losses[unit.identity] == LOSSES:
                    raise LikenessError(
                        f"{LOSSES} workers died while they made person {unit.identity} (out of memory?); "
                        "use fewer --workers and --resume"
                    )
                told(f"a worker died; person {unit.identity} is made again")
                left.appendleft(unit)
    finally:
        crew.close()


def make(job: Job, unit: Unit) -> Made:
    """In a worker: the records of ``unit``. Raises: LikenessError, OSError."""
    sources = _sources(job)
    if sources.recipe.cameras and unit.renderer == "cycles":
        from synthdata.views.rendered import make_rendered_moments

        return make_rendered_moments(unit, sources.recipe, sources)
    if sources.recipe.cameras:
        from synthdata.views.unit import make_moments

        return make_moments(unit, sources.recipe, sources)
    if unit.renderer == "cycles":
        from synthdata.cycles.unit import make_rendered

        return make_rendered(unit, sources.recipe, sources)
    from synthdata.run.unit import make_unit

    return make_unit(unit, sources.recipe, sources)


class LocalCrew:
    """Processes of this machine."""

    def __init__(self, job: Job, workers: int, work: Work = make) -> None:
        self._job, self._workers, self._work = job, workers, work
        self._pool = self._fresh_pool()
        self._under_way: dict[Future[Made], Unit] = {}

    @property
    def room(self) -> int:
        """One unit in advance, so that no process waits."""
        return self._workers + 1

    def begin(self, unit: Unit) -> None:
        """See Crew."""
        try:
            self._under_way[self._pool.submit(self._work, self._job, unit)] = unit
        except BrokenProcessPool:  # it died idle
            self._pool = self._fresh_pool()
            self._under_way[self._pool.submit(self._work, self._job, unit)] = unit

    def finished(self) -> list[tuple[Unit, Made | None]]:
        """See Crew."""
        done, _ = wait_for(self._under_way, return_when=FIRST_COMPLETED)
        broken = any(isinstance(future.exception(), BrokenProcessPool) for future in done)
        if broken:  # then all are done for, but some may be made already
            done, _ = wait_for(self._under_way)
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = self._fresh_pool()
        out: list[tuple[Unit, Made | None]] = []
        for future in sorted(done, key=lambda f: self._under_way[f].identity):
            unit = self._under_way.pop(future)
            lost = isinstance(future.exception(), BrokenProcessPool)
            out.append((unit, None if lost else future.result()))
        return out

    def close(self) -> None:
        """See Crew."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _fresh_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            max_tasks_per_child=UNITS_PER_PROCESS,
        )


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


@functools.lru_cache(maxsize=1)
def _sources(job: Job) -> Sources:
    import numba
    import torch
    from threadpoolctl import threadpool_limits

    # One thread, so that sums go in one order whatever the number of workers.
    torch.set_num_threads(1)
    threadpool_limits(1)
    numba.config.NUMBA_NUM_THREADS = 1
    return Sources(job)
