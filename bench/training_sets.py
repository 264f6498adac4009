"""Instances of a training set per second by one worker and by two, their bytes, and the workers' memory.

    likeness bench --only training-sets

The fast path of the preset `smoke` in procedural light, through the same processes that `likeness synth run`
starts. Needs embree (extra `train`) and a machine that does nothing else.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

from backend.bench.sheet import Setting, Sheet, main
from synthdata.run.inputs import Asked, gather
from synthdata.run.plan import PRESETS, Unit, plan_units
from synthdata.run.sources import Job
from synthdata.run.workers import LocalCrew, Made, make

PEOPLE, PER_PERSON = 50, 4  # 200 instances
SPENT = "spent"
ONE, TWO = "instances a second, one worker", "instances a second, two workers"


def measure(setting: Setting, sheet: Sheet) -> None:
    """Workers that have made one person each are timed over the others."""
    people = 4 if setting.quick else PEOPLE
    sizes = PRESETS["smoke"]
    if setting.quick:
        sizes = replace(sizes, texels=64, portrait_px=64)
    count = people * PER_PERSON
    asked = Asked("smoke", count, renderer="transfer")
    inputs = gather(asked, replace(sizes, instances_per_person=PER_PERSON), setting.folder)
    units = plan_units(inputs.recipe)
    size = f"{sizes.texels}² texels, {sizes.portrait_px}² pixels"
    sheet.workload(f"{count} instances of {people} persons, {size}")
    one, made = _made(inputs.job, units, 1)
    sheet.value(ONE, one, "1/s", better="higher")
    _told(sheet, made, count)
    two, _ = _made(inputs.job, units, 2)
    sheet.value(TWO, two, "1/s", ONE, better="higher")


def _told(sheet: Sheet, made: list[Made], count: int) -> None:
    spent = [tuple(float(part) for part in one[SPENT].split()) for one in made]
    sheet.value("processor time an instance", (spent[-1][0] - spent[0][0]) / (count - PER_PERSON), "s")
    for kind in ("instances", "heads"):
        sheet.value(f"bytes an instance, {kind}", sum(len(one[kind]) for one in made) / count, "B")
    sheet.value("worker's memory after a quarter of the persons", spent[len(spent) // 4][1], "MB")
    sheet.value("worker's memory at the end", spent[-1][1], "MB")


def _made(job: Job, units: tuple[Unit, ...], workers: int) -> tuple[float, list[Made]]:
    """Instances a second once every worker has made a person, and everything that was made."""
    crew, left = LocalCrew(job, workers, _make), deque(units)
    made: list[Made] = []
    start, first, under_way = 0.0, 0, 0
    try:
        while left or under_way:
            while left and under_way < crew.room:
                crew.begin(left.popleft())
                under_way += 1
            for unit, one in crew.finished():
                under_way -= 1
                if one is None:
                    raise RuntimeError(f"the worker that made person {unit.identity} died")
                made.append(one)
            if not start and len(made) >= workers:
                start, first = time.perf_counter(), len(made)
        return PER_PERSON * (len(made) - first) / (time.perf_counter() - start), made
    finally:
        crew.close()


def _make(job: Job, unit: Unit) -> Made:
    """In a worker: the unit, with the processor time and the memory that the process has taken."""
    made = dict(make(job, unit))
    rows = Path("/proc/self/statm")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    now = int(rows.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if rows.is_file() else peak
    made[SPENT] = f"{time.process_time()} {now}".encode()
    return made


if __name__ == "__main__":
    sys.exit(main(measure))
