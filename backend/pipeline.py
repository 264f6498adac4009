"""The whole program on one page: one photograph becomes a relightable head.

photo ─▶ observation ─▶ head fit ─▶ partial UV ─▶ complete UV ─▶ even-lit UV ─▶ materials ─▶ avatar
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from backend import engines
from backend.artifacts import Observation, Photo, Reconstruction, Run, StageRecord
from backend.engines import Engine, Stage
from backend.errors import BadInput
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.photo.decode import load_photo
from backend.photo.observe import observe, observe_all

P = ParamSpec("P")
R = TypeVar("R")

MAP_SIZES = (512, 1024, 2048, 4096)


def reconstruct(
    photo: Path | str,
    *,
    engine: str = "auto",
    head: str = "open",
    maps: int = 1024,
    face: int | None = None,
    run: Run | None = None,
) -> Reconstruction:
    """Reconstruct the face ``face`` (the largest, most central when None) of one photograph.

    ``maps`` is the side of the material maps in texels, one of MAP_SIZES. ``run`` carries the seed,
    progress, cancel and collects warnings.
    Raises: BadInput (photo, face, options), Missing (weights, data), Cancelled.
    """
    run = run or Run()
    chosen, model = _choose(engine, head, maps)
    stages: list[StageRecord] = []
    picture = _timed(_LOAD, stages, run)(Path(photo), run)
    observation = _timed(_OBSERVE, stages, run)(picture, run, face)
    return _from_observation(observation, chosen, model, maps, run, stages)


def reconstruct_all(
    photo: Path | str,
    *,
    engine: str = "auto",
    head: str = "open",
    maps: int = 1024,
    run: Run | None = None,
) -> Iterator[Reconstruction]:
    """Reconstruct every face of one photograph, the best first. Arguments as for ``reconstruct``."""
    run = run or Run()
    chosen, model = _choose(engine, head, maps)
    stages: list[StageRecord] = []
    picture = _timed(_LOAD, stages, run)(Path(photo), run)
    for observation in _timed(_OBSERVE_ALL, stages, run)(picture, run):
        # Warnings of one face must not appear in the next one's avatar.
        own = Run(run.seed, run.on_progress, run.is_cancelled, list(run.warnings))
        yield _from_observation(observation, chosen, model, maps, own, list(stages))


def _choose(engine: str, head: str, maps: int) -> tuple[Engine, ParametricHead]:
    """What the options name; wrong ones are told before any work is done."""
    if maps not in MAP_SIZES:
        raise BadInput(f"map size {maps} is not offered; take one of {', '.join(map(str, MAP_SIZES))}")
    return engines.choose(engine), load_head(head)


def _from_observation(
    observation: Observation,
    chosen: Engine,
    model: ParametricHead,
    maps: int,
    run: Run,
    stages: list[StageRecord],
) -> Reconstruction:
    fit = _timed(chosen.fit, stages, run)(observation, model, run)
    partial = _timed(chosen.unwrap, stages, run)(observation, fit, maps, run)
    complete = _timed(chosen.complete, stages, run)(partial, fit, run)
    even = _timed(chosen.homogenise, stages, run)(complete, fit, partial.chart, run)
    materials = _timed(chosen.materials, stages, run)(even, fit, partial.chart, maps, run)

    return Reconstruction(
        observation=observation,
        fit=fit,
        partial=partial,
        complete=complete,
        even=even,
        materials=materials,
        engine=chosen.name,
        seed=run.seed,
        stages=tuple(stages),
        warnings=tuple(run.warnings),
    )


_LOAD: Stage[[Path, Run], Photo] = Stage("photo", "Pillow", load_photo)
_OBSERVE: Stage[[Photo, Run, int | None], Observation] = Stage("observation", "MediaPipe Face Mesh", observe)
_OBSERVE_ALL: Stage[[Photo, Run], tuple[Observation, ...]] = Stage(
    "observation", "MediaPipe Face Mesh", observe_all
)


def _timed(stage: Stage[P, R], stages: list[StageRecord], run: Run) -> Callable[P, R]:
    """``stage`` as a function that reports its start and end and adds its line to ``stages``."""

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        run.progress(stage.name, 0.0)
        start = time.perf_counter()
        result = stage(*args, **kwargs)
        stages.append(StageRecord(stage.name, stage.implementation, time.perf_counter() - start))
        run.progress(stage.name, 1.0)
        return result

    return call
