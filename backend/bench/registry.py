"""Every benchmark there is, and every figure of ``docs/benchmarks.md`` that none of them makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.bench.record import LeftOut
from backend.errors import BadInput

SCRIPTS = Path(__file__).resolve().parents[2] / "bench"  # in a checkout only


@dataclass(frozen=True)
class Benchmark:
    """One process that measures; exactly one of ``module`` and ``script``."""

    name: str
    title: str
    beside: str  # the baselines, in words
    module: str = ""  # run with ``python -m``
    script: str = ""  # in SCRIPTS: what needs Blender's module, which the backend does not import
    variant: str = ""
    needs: tuple[str, ...] = ()  # modules without which nothing can be measured


ALL = (
    Benchmark(
        "rasteriser",
        "Rasteriser",
        "embree, OpenGL (moderngl; llvmpipe without a GPU), nvdiffrast, the plain twin",
        module="backend.bench.rasteriser",
    ),
    Benchmark("unwrap", "Unwrap", "a bake by Cycles", script="unwrap.py", needs=("bpy",)),
    Benchmark(
        "transfer",
        "Relighting a head's chart",
        "a bake by Cycles",
        script="transfer.py",
        needs=("bpy", "embreex"),
    ),
    Benchmark(
        "training-sets",
        "Training sets by the fast path",
        "one worker",
        script="training_sets.py",
        needs=("embreex",),
    ),
    Benchmark(
        "cycles-instances",
        "A training instance by Cycles",
        "nothing; its steps beside each other",
        script="cycles_instances.py",
        needs=("bpy", "embreex"),
    ),
    Benchmark("shader", "Shader", "mitsuba, the plain twin", module="backend.bench.shader"),
    Benchmark(
        "server",
        "Server",
        "memcpy, plain ZeroMQ",
        module="backend.bench.server",
    ),
    Benchmark(
        "server-wheel",
        "Server with the libsodium of the pyzmq wheel",
        "memcpy, plain ZeroMQ",
        module="backend.bench.server",
        variant="wheel",
    ),
    Benchmark(
        "path",
        "The path, stage by stage",
        "a fixed piece of work on one core",
        module="backend.bench.path",
    ),
    Benchmark(
        "path-4k",
        "The path with maps of 4K",
        "a fixed piece of work on one core",
        module="backend.bench.path",
        variant="4k",
    ),
    Benchmark(
        "worker",
        "The server's worker",
        "the same job without cache, a fixed piece of work",
        module="backend.bench.worker",
    ),
    Benchmark(
        "import",
        "Import of a head into Blender",
        "a fixed piece of work on one core",
        script="import.py",
        needs=("bpy",),
    ),
    Benchmark(
        "gaussians",
        "Splats without Blender: expression to picture, and gradients",
        "the plain twin in torch",
        module="backend.bench.gaussians",
    ),
    Benchmark("splats", "Import of splats", "Blender's PLY reader", script="splats.py", needs=("bpy",)),
    Benchmark("cli", "The command line's help", "Python starting with nothing", module="backend.bench.start"),
)

ELSEWHERE = (
    LeftOut(
        what="accuracy: unwrap, tangents, shader, rendered truth",
        why="measured and held by tests; `pytest tests/uvspace tests/shading tests/test_fixtures.py`",
    ),
    LeftOut(
        what="fit on photographs",
        why="needs photographs that are not shipped; `likeness reconstruct PHOTO… -o DIR --json`",
    ),
    LeftOut(
        what="import in a Blender window",
        why="needs a Blender with a window; `python bench/import.py AVATAR --window OUT`",
    ),
    LeftOut(
        what="the open head",
        why="needs ICT-FaceKit and MakeHuman data; `python -m synthdata.headmodel`",
    ),
    LeftOut(
        what="cancelling through the server, stuck workers",
        why="held by tests; `pytest -m 'slow or not slow' tests/server`",
    ),
    LeftOut(
        what="pictures of splats",
        why="takes up to an hour in software; `python bench/splats.py pictures`",
    ),
)


def choose(only: Sequence[str]) -> tuple[Benchmark, ...]:
    """The benchmarks named, in the order of ``ALL``; all of them when none is named. Raises: BadInput."""
    known = [benchmark.name for benchmark in ALL]
    for name in only:
        if name not in known:
            raise BadInput(f"there is no benchmark called '{name}'; take of {', '.join(known)}")
    return tuple(benchmark for benchmark in ALL if not only or benchmark.name in only)
