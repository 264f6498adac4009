"""``python -m synthdata.cases.worker JOB``: a few cases in one Blender; progress lines go to stdout.

Long loops in one Blender degrade, and a crash must not take the whole set with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from backend.errors import LikenessError
from synthdata.cases.case_set import Cover


class SetJob(msgspec.Struct, frozen=True, kw_only=True, tag="set"):
    """Cases of the seeded set, by head, condition and cover."""

    cases: tuple[tuple[int, str, Cover], ...]
    seed: int
    out: str
    material: str
    data: str
    hdris: tuple[str, ...]
    size: int
    samples: int


class ScanJob(msgspec.Struct, frozen=True, kw_only=True, tag="scan"):
    """One scan, photographed from several sides."""

    scan: str
    albedo: str
    normal: str | None
    hdri: str
    relit_hdris: tuple[str, ...]
    yaws_degrees: tuple[float, ...]
    units: str
    up: str
    turn_degrees: float
    licence: str
    out: str
    size: int
    samples: int
    seed: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A line of stdout."""

    case: str
    share: float  # of this case that is done; 1: it is whole
    error: str = ""


Tell = Callable[[Told], object]


def main() -> None:
    """Do the job whose JSON is the one argument."""
    job = msgspec.json.decode(sys.argv[1].encode(), type=SetJob | ScanJob)
    # Blender prints to stdout; the caller reads the old one.
    wire = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(told: Told) -> None:
        wire.write(msgspec.json.encode(told) + b"\n")

    if isinstance(job, SetJob):
        for index, condition, cover in job.cases:
            _of_set(job, index, condition, cover, tell)
    else:
        _of_scan(job, tell)


def _of_set(job: SetJob, index: int, condition: str, cover: Cover, tell: Tell) -> None:
    from backend.head.open_head import load_open_head
    from synthdata.cases.case_set import plan_case, plan_heads
    from synthdata.cases.made_up import Quality, make_head_case
    from synthdata.cases.morphs import prepared

    plan = plan_case(plan_heads(index + 1, job.seed)[index], condition, job.seed, cover)

    def make(told: Callable[[float], object]) -> None:
        make_head_case(
            plan,
            prepared(Path(job.data), Path(job.material)),
            load_open_head(),
            tuple(Path(path) for path in job.hdris),
            Quality(job.size, job.samples),
            Path(job.out) / plan.id,
            told,
        )

    _told(plan.id, make, tell)


def _of_scan(job: ScanJob, tell: Tell) -> None:
    from synthdata.cases.scan_case import make_scan_case
    from synthdata.cases.scan_names import scan_case_id

    for yaw in job.yaws_degrees:

        def make(told: Callable[[float], object], yaw: float = yaw) -> None:
            make_scan_case(job, yaw, told)

        if not _told(scan_case_id(Path(job.scan), yaw), make, tell):
            return  # the next side would fail alike


def _told(case: str, make: Callable[[Callable[[float], object]], None], tell: Tell) -> bool:
    try:
        make(lambda share: tell(Told(case=case, share=min(share, 0.99))))
    except (LikenessError, OSError, RuntimeError) as error:
        tell(Told(case=case, share=0.0, error=" ".join(str(error).split())))
        return False
    tell(Told(case=case, share=1.0))
    return True


if __name__ == "__main__":
    main()
