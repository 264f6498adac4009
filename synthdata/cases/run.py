"""Making many cases: which are missing, a fresh Blender for every few, progress, cancel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import msgspec

from backend.errors import BadInput, LikenessError
from backend.evaluation.case_schema import CASE_NAME
from backend.evaluation.cases import read_case
from synthdata.cases.case_set import CasePlan, Cover, plan_case, plan_heads
from synthdata.cases.morphs import prepared
from synthdata.cases.worker import ScanJob, SetJob, Told

CASES_PER_PROCESS = 4
MATERIAL_NAME = ".material.npz"
Heard = Callable[[Told], None]


@dataclass(frozen=True)
class SetOptions:
    """What ``make-cases`` was asked for."""

    data: Path
    out: Path
    hdris: tuple[Path, ...]  # that relight the truth
    heads: int
    conditions: tuple[str, ...]
    size: int
    samples: int
    seed: int
    covers: tuple[Cover, ...] = ("",)  # every photograph once with each of these


def missing_cases(options: SetOptions) -> tuple[CasePlan, ...]:
    """The cases that are not, or not wholly, in ``options.out``.

    Raises: BadInput for one that is there, but damaged.
    """
    found = []
    for head in plan_heads(options.heads, options.seed):
        for condition, cover in product(options.conditions, options.covers):
            plan = plan_case(head, condition, options.seed, cover)
            folder = options.out / plan.id
            if not (folder / CASE_NAME).is_file():
                if folder.exists():
                    raise BadInput(f"'{folder}' is in the way: it is not a case; delete it")
                found.append(plan)
                continue
            case = read_case(folder)
            if case.record.provenance.seed != head.seed:
                raise BadInput(f"'{folder}' is a case of another seed; choose another output folder")
            if not case.has("novel pictures"):  # stopped before its end, or older than these
                found.append(plan)
    return tuple(found)


def make_set(options: SetOptions, heard: Heard) -> tuple[str, ...]:
    """Make what is missing; returns a line for each case that failed.

    Raises: BadInput, Missing; KeyboardInterrupt passes through, and what is whole stays.
    """
    todo = missing_cases(options)
    material = options.out / MATERIAL_NAME
    if todo:
        prepared(options.data, material)
    failures: list[str] = []
    for start in range(0, len(todo), CASES_PER_PROCESS):
        chunk = todo[start : start + CASES_PER_PROCESS]
        job = SetJob(
            cases=tuple((plan.head.index, plan.condition, plan.cover) for plan in chunk),
            seed=options.seed,
            out=str(options.out.resolve()),
            material=str(material.resolve()),
            data=str(options.data.resolve()),
            hdris=tuple(str(path.resolve()) for path in options.hdris),
            size=options.size,
            samples=options.samples,
        )
        failures += run_worker(job, tuple(plan.id for plan in chunk), options.out, heard)
    return tuple(failures)


def run_worker(job: SetJob | ScanJob, cases: Sequence[str], out: Path, heard: Heard) -> list[str]:
    """Run ``job`` in a Blender of its own; returns a line for each of ``cases`` that failed.

    Half-written cases are deleted, however the process ends.
    """
    failed: dict[str, str] = {}
    whole: set[str] = set()
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "synthdata.cases.worker", msgspec.json.encode(job).decode()],
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(Path(home)),
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                told = msgspec.json.decode(line, type=Told)
                heard(told)
                if told.error:
                    failed[told.case] = told.error
                elif told.share >= 1:
                    whole.add(told.case)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            for case in cases:
                shutil.rmtree(out / f".{case}.part", ignore_errors=True)
                shutil.rmtree(out / case / "truth" / ".novel.part", ignore_errors=True)
        if code != 0 or set(cases) - whole - set(failed):
            log.seek(0)
            last = log.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            for case in cases:
                if case not in whole and not failed:
                    failed[case] = f"Blender's process ended with {code} ({last[0].strip()})"
    return [f"{case}: {error}" for case, error in failed.items()]


def make_scan_cases(job: ScanJob, heard: Heard) -> tuple[Path, ...]:
    """Photograph a scan. Raises: BadInput or LikenessError with the worker's line."""
    from synthdata.cases.scan_names import scan_case_id

    out = Path(job.out)
    names = [scan_case_id(Path(job.scan), yaw) for yaw in job.yaws_degrees]
    for name in names:
        if (out / name).exists():
            raise BadInput(f"'{out / name}' is there already; delete it or choose another output folder")
    failures = run_worker(job, names, out, heard)
    if failures:
        raise LikenessError(failures[0].partition(": ")[2])
    return tuple(out / name for name in names)


def _environment(home: Path) -> dict[str, str]:

    return {**os.environ, "BLENDER_USER_RESOURCES": str(home), "PYTHONUNBUFFERED": "1"}
