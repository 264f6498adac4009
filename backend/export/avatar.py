"""A reconstruction as a whole avatar folder: bundle, preview, .blend and .glb, all or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from backend.artifacts import Reconstruction, Run, StageRecord
from backend.export.blender_process import BlenderProcess, export_avatar
from backend.export.bundle_writer import Fitted, amend_manifest, manifest_of, write_fit, write_rest
from backend.export.preview import preview
from backend.export.staging import check_destination, staged_folder
from backend.gaussians.files import write_splats
from backend.stages import Finished, Watcher
from backend.weights.used import fetched_weights, photo_weights
from blender_addon import bundle

__all__ = ["check_destination", "fill_avatar", "write_avatar"]


def write_avatar(
    reconstruction: Reconstruction,
    directory: Path,
    *,
    blender: BlenderProcess | None,
    overwrite: bool,
    run: Run,
) -> tuple[str, ...]:
    """Write ``directory``: maps, mesh, preview, and .blend and .glb by ``blender`` unless it is None.

    Returns all warnings.

    Raises: BadInput (destination), Missing (bpy), OutOfResources, Cancelled; nothing is left behind then.
    """
    with staged_folder(directory, overwrite=overwrite) as folder:
        write_fit(Fitted.of(reconstruction), folder)
        return fill_avatar(reconstruction, folder, blender=blender, run=run)


def fill_avatar(
    reconstruction: Reconstruction,
    folder: Path,
    *,
    blender: BlenderProcess | None,
    run: Run,
    written: Callable[[str], None] = lambda name: None,
    watcher: Watcher | None = None,
) -> tuple[str, ...]:
    """Make ``folder``, which holds what ``bundle_writer.write_fit`` writes, a whole avatar.

    ``written`` is told the name of each map when it lies in its place, ``watcher`` of each step.
    Returns all warnings.
    Raises: Missing (bpy), OSError, Cancelled; the manifest says partial until everything else is there.
    """
    from PIL import Image

    stages: list[StageRecord] = []
    done: list[str] = []

    def map_written(name: str) -> None:
        done.append(name)
        written(name)
        run.progress("maps", len(done) / len(bundle.MAP_NAMES))

    with _Timed("maps", "PNG", stages, run, watcher):
        write_rest(reconstruction, folder, map_written)
    record = None
    if reconstruction.splats is not None:
        with _Timed("splat files", "3DGS PLY", stages, run, watcher):
            record = write_splats(
                reconstruction.splats, reconstruction.fit, folder, reconstruction.splat_keeper
            )
    with _Timed("preview", "own rasteriser", stages, run, watcher):
        Image.fromarray(preview(reconstruction)).save(folder / "preview.png", compress_level=3)
    whole = replace(
        reconstruction,
        stages=(*reconstruction.stages, *stages),
        warnings=tuple(dict.fromkeys((*reconstruction.warnings, *run.warnings))),
    )
    weights = (*photo_weights(), *fetched_weights(whole.engine))
    manifest = msgspec.structs.replace(manifest_of(whole, weights), splats=record)
    bundle.write_manifest(folder, manifest)
    if blender is not None:
        stages.clear()
        with _Timed("blender", "bpy in its own process", stages, run, watcher):
            export_avatar(folder, run, blender=blender)
        amend_manifest(folder, stages=stages, warnings=run.warnings)
    return tuple(dict.fromkeys((*whole.warnings, *run.warnings)))


class _Timed:
    """Reports a step's start and end and adds its line to ``stages``."""

    def __init__(
        self, name: str, implementation: str, stages: list[StageRecord], run: Run, watcher: Watcher | None
    ) -> None:
        self._name, self._implementation, self._stages, self._run = name, implementation, stages, run
        self._watcher = watcher

    def __enter__(self) -> None:
        self._run.progress(self._name, 0.0)
        if self._watcher is not None:
            self._watcher.started(self._name, self._implementation)
        self._start = time.perf_counter()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            seconds = time.perf_counter() - self._start
            record = StageRecord(self._name, self._implementation, seconds)
            self._stages.append(record)
            if self._watcher is not None:
                self._watcher.finished(Finished(self._name, None, record, cached=False))
            self._run.progress(self._name, 1.0)
