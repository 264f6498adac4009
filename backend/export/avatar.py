"""A reconstruction as a whole avatar folder: bundle, preview, .blend and .glb, all or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from backend.artifacts import Reconstruction, Run, StageRecord
from backend.export.blender_process import BlenderProcess, export_avatar
from backend.export.bundle_writer import amend_manifest, write_bundle
from backend.export.preview import preview
from backend.export.staging import check_destination
from backend.weights.used import photo_weights

__all__ = ["check_destination", "write_avatar"]


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
    stages: list[StageRecord] = []

    def write_preview(folder: Path) -> None:
        from PIL import Image

        with _Timed("preview", "own rasteriser", stages, run):
            Image.fromarray(preview(reconstruction)).save(folder / "preview.png", compress_level=3)

    def write_blend(folder: Path) -> None:
        with _Timed("blender", "bpy in its own process", stages, run):
            export_avatar(folder, run, blender=blender)

    def finish_manifest(folder: Path) -> None:
        amend_manifest(folder, stages=stages, warnings=run.warnings)

    finish: list[Callable[[Path], None]] = [write_preview]
    if blender is not None:
        finish.append(write_blend)
    finish.append(finish_manifest)
    write_bundle(
        reconstruction, directory, overwrite=overwrite, weights=photo_weights(), finish=tuple(finish)
    )
    return tuple(dict.fromkeys((*reconstruction.warnings, *run.warnings)))


class _Timed:
    """Reports a step's start and end and adds its line to ``stages``."""

    def __init__(self, name: str, implementation: str, stages: list[StageRecord], run: Run) -> None:
        self._name, self._implementation, self._stages, self._run = name, implementation, stages, run

    def __enter__(self) -> None:
        self._run.progress(self._name, 0.0)
        self._start = time.perf_counter()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            seconds = time.perf_counter() - self._start
            self._stages.append(StageRecord(self._name, self._implementation, seconds))
            self._run.progress(self._name, 1.0)
