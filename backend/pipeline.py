"""The whole program on one page: one photograph becomes a relightable head.

photo ─▶ observation ─▶ head fit ─▶ partial UV ─▶ complete UV ─▶ even-lit UV ─▶ materials ─▶ avatar
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from backend import engines
from backend.artifacts import (
    F32,
    HeadFit,
    Observation,
    OnHead,
    PartialUV,
    Photo,
    Reconstruction,
    Run,
    SplatNetworks,
    Splatted,
)
from backend.corrections import PINS_ARE_EMBEDDED, Corrections, Pin, excluding
from backend.engines import Engine, Given, Stage
from backend.errors import BadInput
from backend.gaussians.embedded import IMPLEMENTATION, STAGE, make_splats
from backend.gaussians.surface import BoundGaussians
from backend.geometry.joint import fit_same_person
from backend.geometry.pins import follow_pins
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.photo.decode import load_photo
from backend.photo.observe import observe, observe_all
from backend.stages import Cache, Stages, Watcher
from backend.texture.fuse import fuse

MAP_SIZES = (512, 1024, 2048, 4096)


def reconstruct(
    photo: Path | str,
    *,
    engine: str | Engine = "auto",
    head: str = "open",
    maps: int = 1024,
    face: int | None = None,
    name: str | None = None,
    corrections: Corrections | None = None,
    run: Run | None = None,
    cache: Cache | None = None,
    watcher: Watcher | None = None,
) -> Reconstruction:
    """Reconstruct the face ``face`` (the largest, most central when None) of one photograph.

    ``maps`` is the side of the material maps in texels, one of MAP_SIZES. ``name`` is what the photo is
    called (its file's name when None). ``run`` carries the seed, progress, cancel and collects warnings.
    With a ``cache`` only stages that read something new are run; ``watcher`` is told of every stage.
    Raises: BadInput (photo, face, options, corrections), Missing (weights, data), Cancelled.
    """
    run = run or Run()
    corrections = corrections or Corrections()
    chosen, model = _choose(engine, head, maps)
    if corrections.pins and chosen.head is not None:
        raise BadInput(PINS_ARE_EMBEDDED)
    do = Stages(run, cache, watcher)
    picture = do(_LOAD, Path(photo), run, name)
    observation = do(_OBSERVE, picture, run, face)
    return _from_observation(observation, chosen, model, maps, corrections, run, do)


def reconstruct_all(
    photo: Path | str,
    *,
    engine: str | Engine = "auto",
    head: str = "open",
    maps: int = 1024,
    run: Run | None = None,
) -> Iterator[Reconstruction]:
    """Reconstruct every face of one photograph, the best first. Arguments as for ``reconstruct``."""
    run = run or Run()
    chosen, model = _choose(engine, head, maps)
    do = Stages(run)
    picture = do(_LOAD, Path(photo), run, None)
    for observation in do(_OBSERVE_ALL, picture, run):
        # Warnings of one face must not appear in the next one's avatar.
        own = replace(run, warnings=list(run.warnings))
        yield _from_observation(observation, chosen, model, maps, Corrections(), own, do.continued(own))


def reconstruct_same_person(
    photos: Sequence[Path | str],
    *,
    engine: str | Engine = "auto",
    head: str = "open",
    maps: int = 1024,
    run: Run | None = None,
) -> Reconstruction:
    """Reconstruct one head from two or more photographs of one person.

    Camera, expression and light of the result are the first photograph's, texels as well where it shows
    them. Arguments as for ``reconstruct``. Raises as ``reconstruct``; BadInput for a single photograph and
    for one given twice.
    """
    run = run or Run()
    if len(photos) < 2:
        raise BadInput("one person's photographs are wanted together, at least two; give more of them")
    chosen, model = _choose(engine, head, maps)
    if chosen.head is not None:
        raise BadInput(f"--same-person is not for the {chosen.name} engine; use --engine embedded")
    do = Stages(run)
    observations: list[Observation] = []
    for photo in photos:
        picture = do(_LOAD, Path(photo), run, None)
        if any(picture.sha256 == one.photo.sha256 for one in observations):
            raise BadInput(f"{photo} was given twice; every photograph counts once")
        observations.append(do(_OBSERVE, picture, run, None))
    fits = do(_FIT_TOGETHER, observations, model, run)
    partials = [do(chosen.unwrap, one, fit, maps, run) for one, fit in zip(observations, fits, strict=True)]
    partial = do(_FUSE, partials, fits, run)
    made = _from_partial(observations[0], fits[0], partial, chosen, model, maps, run, do)
    return replace(made, others=tuple(observations[1:]))


def with_splats(
    made: Reconstruction, run: Run, watcher: Watcher | None = None, by: SplatNetworks | None = None
) -> Reconstruction:
    """``made`` with Gaussian splats of the whole head: by the embedded decoder, hair included, or ``by``
    learned networks.

    Raises: Cancelled, BadInput (a head that the networks cannot make).
    """
    do = Stages(run, watcher=watcher)
    if by is None:
        splatted = Splatted(do(_SPLATS, made, run))
    else:
        stage: Stage[[Reconstruction, Run], Splatted] = Stage(STAGE, by.implementation, by.make, kept=False)
        splatted = do(stage, made, run)
    stages = (*made.stages, *do.records)
    return replace(
        made,
        splats=splatted.bound,
        splat_keeper=splatted.keeper,
        stages=stages,
        warnings=tuple(run.warnings),
    )


def _choose(engine: str | Engine, head: str, maps: int) -> tuple[Engine, ParametricHead]:
    """What the options name; wrong ones are told before any work is done."""
    if maps not in MAP_SIZES:
        raise BadInput(f"map size {maps} is not offered; take one of {', '.join(map(str, MAP_SIZES))}")
    chosen = engines.choose(engine) if isinstance(engine, str) else engine
    if chosen.head is not None and head == chosen.head.name:
        return chosen, chosen.head  # its own head, as it is
    return chosen, load_head(head)


def _from_observation(
    observation: Observation,
    chosen: Engine,
    model: ParametricHead,
    maps: int,
    corrections: Corrections,
    run: Run,
    do: Stages,
) -> Reconstruction:
    if chosen.describe is not None and chosen.told is not None:
        chosen = chosen.told(do(chosen.describe, observation, run))
    fit = do(chosen.fit, observation, chosen.head or model, run)
    if corrections.pins:
        fit = do(_PIN, fit, observation, corrections.pins, run)
    if corrections.exclude is not None:  # after the fit: painting on the skin must not move the geometry
        observation = do(_EXCLUDE, observation, corrections.exclude, run)
    partial = do(chosen.unwrap, observation, fit, maps, run)
    return _from_partial(observation, fit, partial, chosen, model, maps, run, do)


def _from_partial(
    observation: Observation,
    fit: HeadFit,
    partial: PartialUV,
    chosen: Engine,
    model: ParametricHead,
    maps: int,
    run: Run,
    do: Stages,
) -> Reconstruction:
    complete = do(chosen.complete, partial, fit, run)
    even = do(chosen.homogenise, complete, fit, partial.chart, run)
    materials = do(chosen.materials, even, fit, partial.chart, maps, run)
    made = OnHead(fit, partial, complete, even, materials)
    if chosen.deliver is not None:
        made = do(chosen.deliver, observation, made, model, maps, run)

    return Reconstruction(
        observation=observation,
        fit=made.fit,
        partial=made.partial,
        complete=made.complete,
        even=made.even,
        materials=made.materials,
        engine=chosen.name,
        seed=run.seed,
        stages=tuple(do.records),
        warnings=tuple(run.warnings),
    )


def _observed(picture: Photo, run: Run, face: int | None) -> Given:
    return {"photo": lambda: picture}


_LOAD: Stage[[Path, Run, str | None], Photo] = Stage("photo", "Pillow", load_photo, kept=False)
_OBSERVE: Stage[[Photo, Run, int | None], Observation] = Stage(
    "observation", "MediaPipe Face Mesh", observe, given=_observed
)
_OBSERVE_ALL: Stage[[Photo, Run], tuple[Observation, ...]] = Stage(
    "observation", "MediaPipe Face Mesh", observe_all
)
_PIN: Stage[[HeadFit, Observation, tuple[Pin, ...], Run], HeadFit] = Stage(
    "pins", "Gauss-Newton about the fitted head", follow_pins, kept=False
)
_EXCLUDE: Stage[[Observation, F32, Run], Observation] = Stage(
    "mask", "painted by the artist", excluding, kept=False
)
_FIT_TOGETHER: Stage[[Sequence[Observation], ParametricHead, Run], tuple[HeadFit, ...]] = Stage(
    "head fit", "landmark and photometric Gauss-Newton, one identity for all photographs", fit_same_person
)
_SPLATS: Stage[[Reconstruction, Run], BoundGaussians] = Stage(STAGE, IMPLEMENTATION, make_splats, kept=False)
_FUSE: Stage[[Sequence[PartialUV], Sequence[HeadFit], Run], PartialUV] = Stage(
    "fused UV", "first photograph before the others, tints matched", fuse
)
