"""From photographs to avatar folders: what ``likeness reconstruct`` does for each picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from backend.artifacts import Reconstruction, Run, SplatNetworks
from backend.engines import Engine
from backend.errors import BadInput, Cancelled, Missing
from backend.export.blender_process import BlenderProcess
from backend.marcus.options import MarcusOptions


@dataclass(frozen=True)
class Job:
    """The options shared by every photograph of one call."""

    out: Path
    engine: str = "auto"
    head: str = "open"
    maps: int = 1024
    face: int | None = None
    all_faces: bool = False
    same_person: bool = False  # all photographs show one person and make one avatar
    seed: int = 0
    blend: bool = True
    splats: bool = False
    splats_by: Path | None = None  # a folder of FiCA's networks; None: the embedded decoder
    overwrite: bool = False
    marcus: MarcusOptions = field(default_factory=MarcusOptions)


@dataclass(frozen=True)
class Outcome:
    """One avatar written."""

    photo: Path
    directory: Path
    engine: str
    landmark_error_iod: float
    seconds: float
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "photo": str(self.photo),
            "avatar": str(self.directory),
            "engine": self.engine,
            "landmark_error_iod": self.landmark_error_iod,
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
        }


def run_jobs(
    photos: list[Path], job: Job, on_progress: Callable[[str, float], None]
) -> Iterator[tuple[Path, Outcome | Exception]]:
    """Reconstruct each photograph in turn; one that fails does not stop the others, unless all are of one
    person.

    Yields the photo with its Outcome, or with the exception that stopped it. KeyboardInterrupt and
    Cancelled go through to the caller.
    """
    from backend import engines

    chosen = engines.choose(job.engine, job.marcus)  # once: an engine holds its networks for all photographs
    networks = _networks(job)
    made_out = _make_folder(job.out)
    taken: set[str] = set()
    blender = BlenderProcess() if job.blend else None
    try:
        if blender is not None:
            blender.start()  # bpy loads while the first photo is worked on; a missing bpy is told at once
        if job.same_person:
            try:
                yield photos[0], _reconstruct_same_person(photos, job, chosen, networks, blender, on_progress)
            except Cancelled:
                raise
            except Exception as error:
                yield photos[0], error
            return
        for photo in photos:
            try:
                if photo.stem in taken:
                    raise BadInput(
                        f"{photo}: two photographs of this call are called '{photo.stem}'; rename one"
                    )
                taken.add(photo.stem)
                for outcome in _reconstruct(photo, job, chosen, networks, blender, on_progress):
                    yield photo, outcome
            except Cancelled:
                raise
            except Exception as error:
                yield photo, error
    finally:
        if blender is not None:
            blender.close()
        if made_out and not any(job.out.iterdir()):
            job.out.rmdir()


def _make_folder(folder: Path) -> bool:
    """Make the output folder where only its last part is missing (a longer path is likely a typo)."""
    if folder.exists() or not folder.parent.is_dir():
        return False  # check_destination says what is wrong with it
    try:
        folder.mkdir()
    except OSError as error:
        raise BadInput(
            f"output folder '{folder}' cannot be made ({error.strerror}); choose another"
        ) from error
    return True


def _networks(job: Job) -> SplatNetworks | None:
    """Read once for all photographs. Raises: Missing, BadWeights, BadInput."""
    if job.splats_by is None:
        return None
    try:
        from backend.fica.splats import FicaSplats
    except ImportError as error:
        raise Missing(f"{error.name} is not installed; pip install 'likeness[gpu]'") from error
    return FicaSplats(job.splats_by)


def _reconstruct(
    photo: Path,
    job: Job,
    engine: Engine,
    networks: SplatNetworks | None,
    blender: BlenderProcess | None,
    on_progress: Callable[[str, float], None],
) -> Iterator[Outcome]:
    from backend import pipeline
    from backend.export.avatar import check_destination, write_avatar

    start = time.perf_counter()
    run = Run(seed=job.seed, on_progress=on_progress)
    check_destination(job.out / photo.stem, overwrite=job.overwrite)
    options: dict[str, Any] = {"engine": engine, "head": job.head, "maps": job.maps, "run": run}
    made: Iterator[Reconstruction]
    if job.all_faces:
        made = pipeline.reconstruct_all(photo, **options)
    else:
        made = iter([pipeline.reconstruct(photo, face=job.face, **options)])
    for reconstruction in made:
        name = photo.stem
        if job.all_faces and len(reconstruction.observation.faces) > 1:
            name += f"-face{reconstruction.observation.face_index}"
        own = replace(run, warnings=list(reconstruction.warnings))
        if job.splats:
            reconstruction = pipeline.with_splats(reconstruction, own, by=networks)
        directory = job.out / name
        warnings = write_avatar(reconstruction, directory, blender=blender, overwrite=job.overwrite, run=own)
        yield Outcome(
            photo=photo,
            directory=directory,
            engine=reconstruction.engine,
            landmark_error_iod=reconstruction.fit.landmark_error_iod,
            seconds=time.perf_counter() - start,
            warnings=warnings,
        )
        start = time.perf_counter()


def _reconstruct_same_person(
    photos: list[Path],
    job: Job,
    engine: Engine,
    networks: SplatNetworks | None,
    blender: BlenderProcess | None,
    on_progress: Callable[[str, float], None],
) -> Outcome:
    """One avatar of all ``photos``, named after the first."""
    from backend import pipeline
    from backend.export.avatar import check_destination, write_avatar

    start = time.perf_counter()
    run = Run(seed=job.seed, on_progress=on_progress)
    directory = job.out / photos[0].stem
    check_destination(directory, overwrite=job.overwrite)
    made = pipeline.reconstruct_same_person(photos, engine=engine, head=job.head, maps=job.maps, run=run)
    own = replace(run, warnings=list(made.warnings))
    if job.splats:
        made = pipeline.with_splats(made, own, by=networks)
    warnings = write_avatar(made, directory, blender=blender, overwrite=job.overwrite, run=own)
    return Outcome(
        photo=photos[0],
        directory=directory,
        engine=made.engine,
        landmark_error_iod=made.fit.landmark_error_iod,
        seconds=time.perf_counter() - start,
        warnings=warnings,
    )
