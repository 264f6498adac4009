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
from backend.head.open_head import load_open_head


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to make: cases by head and condition."""

    cases: tuple[tuple[int, str], ...]
    seed: int
    out: str
    material: str
    data: str
    hdris: tuple[str, ...]
    size: int
    samples: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A line of stdout."""

    case: str
    share: float  # of this case that is done; 1: it is whole
    error: str = ""


def main() -> None:
    """Make the cases of the job whose JSON is the one argument."""
    job = msgspec.json.decode(sys.argv[1].encode(), type=Job)
    # Blender prints to stdout; the caller reads the old one.
    wire = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for index, condition in job.cases:
        _make(job, index, condition, lambda told: wire.write(msgspec.json.encode(told) + b"\n"))


def _make(job: Job, index: int, condition: str, tell: Callable[[Told], object]) -> None:
    from synthdata.cases.case_set import plan_case, plan_heads
    from synthdata.cases.made_up import Quality, make_head_case
    from synthdata.cases.morphs import prepared

    plan = plan_case(plan_heads(index + 1, job.seed)[index], condition, job.seed)
    material = prepared(Path(job.data), Path(job.material))
    try:
        make_head_case(
            plan,
            material,
            load_open_head(),
            tuple(Path(path) for path in job.hdris),
            Quality(job.size, job.samples),
            Path(job.out) / plan.id,
            lambda share: tell(Told(case=plan.id, share=min(share, 0.99))),
        )
    except (LikenessError, OSError, RuntimeError) as error:
        tell(Told(case=plan.id, share=0.0, error=" ".join(str(error).split())))
    else:
        tell(Told(case=plan.id, share=1.0))


if __name__ == "__main__":
    main()
