"""One job in the worker: photo in, avatar folder out, told as it goes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from backend import engines, pipeline
from backend.artifacts import (
    F32,
    CompleteUV,
    EvenUV,
    HeadFit,
    Observation,
    OnHead,
    PartialUV,
    Run,
    StageRecord,
)
from backend.corrections import Corrections, Pin, read_mask
from backend.engines import Engine
from backend.errors import BadInput
from backend.export.avatar import fill_avatar
from backend.export.bundle_writer import Fitted
from backend.export.map_files import shrunk
from backend.marcus.options import MarcusOptions
from backend.server.partial import PartialFolder
from backend.server.stage_cache import StageCache
from backend.server.stage_previews import half_made, stage_preview
from backend.server.worker_protocol import (
    FromWorker,
    JobDone,
    RunJob,
    StageFinished,
    StageProgress,
    StageStarted,
)
from backend.stages import Finished
from blender_addon.bundle import PROXY_SIDE
from blender_addon.protocol import Options

Send = Callable[[FromWorker], None]

# The stages in order with their usual share of the time; only the progress bar depends on it. A stage that a
# job does not have is left out of its plan.
_SHARES = {
    "photo": 1.0,
    "observation": 5.0,
    "description": 1.0,
    "head fit": 6.0,
    "pins": 2.0,
    "mask": 0.2,
    "partial UV": 4.0,
    "complete UV": 24.0,
    "even-lit UV": 28.0,
    "materials": 8.0,
    "delivered head": 3.0,
    "splats": 14.0,
    "maps": 4.0,
    "splat files": 0.5,
    "preview": 18.0,
}
_PROGRESS_SECONDS = 0.1  # least time between two reports
_PREVIEW_SECONDS = 0.5  # likewise, of pictures of what is half made


def run_job(order: RunJob, cache: Path, send: Send, is_cancelled: Callable[[], bool]) -> None:
    """Do ``order``, its stages kept under ``cache``; sends all its messages up to JobDone.

    Raises: LikenessError, OSError, MemoryError, whatever a bug raises; the partial folder is gone then.
    """
    directory = Path(order.directory)
    folder = PartialFolder(order.job, directory, send)
    corrections = Corrections(
        pins=tuple(Pin(pin.landmark, pin.x_px, pin.y_px) for pin in order.pins),
        exclude=None if order.exclude_path is None else read_mask(Path(order.exclude_path)),
    )
    told = _Telling(order, corrections, folder, send)
    run = Run(
        seed=order.options.seed,
        on_progress=told.progress,
        is_cancelled=is_cancelled,
        on_preview=told.preview,
    )
    told.run = run
    folder.make()
    try:
        engine = engines.choose(order.options.engine, marcus_options(order.options))
        told.follow(engine)
        made = pipeline.reconstruct(
            order.photo_path,
            engine=engine,
            head=order.options.head,
            maps=order.options.maps,
            face=order.options.face,
            name=order.photo_name,
            corrections=corrections,
            run=run,
            cache=StageCache(cache / _sha256(Path(order.photo_path))),
            watcher=told,
        )
        if order.options.splats:
            made = pipeline.with_splats(made, run, told)
        warnings = fill_avatar(
            made, folder.path, blender=None, run=run, written=folder.map_written, watcher=told
        )
        run.progress("preview", 1.0)
        files = folder.take_place()
    except BaseException:
        folder.discard()
        raise
    send(JobDone(job=order.job, warnings=warnings, files=files))


def marcus_options(options: Options) -> MarcusOptions:
    """Raises: BadInput where they are given to the embedded engine."""
    asked = MarcusOptions(
        caption=options.caption,
        turbo=options.turbo,
        guided=options.guidance_interval,
        fp8=options.fp8,
        compiled=options.compile,
    )
    if options.engine == "embedded" and not asked.is_plain:
        raise BadInput("caption, turbo, guidance, FP8 and compiling are the marcus engine's; leave them out")
    return asked


def _sha256(photo: Path) -> str:
    try:
        with photo.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"the photo cannot be read ({error.strerror}); give it again") from error


def _filled(partial: PartialUV) -> F32:
    """What the photo shows, and its median colour where it shows nothing ``(S', S', 3)``."""
    rgb, seen = shrunk(partial.rgb_linear, PROXY_SIDE), shrunk(partial.confidence, PROXY_SIDE)[..., None]
    sure = seen[..., 0] > 0.5
    typical = np.median(rgb[sure], axis=0) if sure.any() else rgb.mean((0, 1))
    return np.asarray(rgb * seen + typical * (1 - seen), np.float32)


class _Telling:
    """Turns what the pipeline reports (``stages.Watcher``, ``Run.on_progress``) into messages and files."""

    run: Run

    def __init__(self, order: RunJob, corrections: Corrections, folder: PartialFolder, send: Send) -> None:
        self._order = order
        self._folder = folder
        self._send = send
        self._absent = {"pins"} if not corrections.pins else set()
        if corrections.exclude is None:
            self._absent.add("mask")
        if not order.options.splats:
            self._absent |= {"splats", "splat files"}
        self._engine = ""
        self._plan = list(_SHARES)
        self._last_of_fit = "pins" if corrections.pins else "head fit"
        self._records: list[StageRecord] = []
        self._observation: Observation | None = None
        self._told_at = self._shown_at = 0.0
        self._fraction = 0.0  # of the stage at work
        self._is_delivered = False

    def follow(self, engine: Engine) -> None:
        """Plan the stages of ``engine``."""
        own = {stage.name for stage in (engine.describe, engine.deliver) if stage is not None}
        absent = self._absent | ({"description", "delivered head"} - own)
        self._plan = [name for name in _SHARES if name not in absent]
        self._engine = engine.name
        self._is_delivered = engine.deliver is not None

    def preview(self, stage: str, picture_srgb: F32) -> None:
        now = time.monotonic()
        if now - self._shown_at < _PREVIEW_SECONDS:
            return
        self._shown_at = now
        self._send(
            StageProgress(
                job=self._order.job,
                stage=stage,
                fraction=self._fraction,
                job_fraction=self._job_fraction(stage, self._fraction),
                preview=half_made(picture_srgb),
            )
        )

    def progress(self, stage: str, fraction: float) -> None:
        self._fraction = min(max(fraction, 0.0), 1.0)
        now = time.monotonic()
        if fraction in (0.0, 1.0) or now - self._told_at < _PROGRESS_SECONDS:  # started and finished say so
            return
        self._told_at = now
        self._send(
            StageProgress(
                job=self._order.job,
                stage=stage,
                fraction=min(max(fraction, 0.0), 1.0),
                job_fraction=self._job_fraction(stage, fraction),
            )
        )

    def started(self, stage: str, implementation: str) -> None:
        self._send(
            StageStarted(
                job=self._order.job,
                stage=stage,
                implementation=implementation,
                index=self._plan.index(stage),
                count=len(self._plan),
            )
        )
        self._send(
            StageProgress(
                job=self._order.job,
                stage=stage,
                fraction=0.0,
                job_fraction=self._job_fraction(stage, 0.0),
            )
        )

    def finished(self, stage: Finished) -> None:
        self._records.append(stage.record)
        value = stage.value
        if isinstance(value, Observation) and self._observation is None:
            self._observation = value
        if isinstance(value, OnHead):
            self._folder.fitted(self._fitted(value.fit))
            self._folder.preliminary_albedo(value.materials.albedo_linear)
        elif not self._is_delivered:  # else these are of the engine's own head, which nobody asked for
            self._show(stage)
        self._send(
            StageFinished(
                job=self._order.job,
                stage=stage.stage,
                seconds=stage.record.seconds,
                cached=stage.cached,
                preview=stage_preview(value, self._observation),
            )
        )

    def _show(self, stage: Finished) -> None:
        value = stage.value
        if isinstance(value, HeadFit) and stage.stage == self._last_of_fit:
            self._folder.fitted(self._fitted(value))
        if isinstance(value, PartialUV):
            self._folder.preliminary_albedo(_filled(value))
        if isinstance(value, CompleteUV | EvenUV) and not stage.cached:
            self._folder.preliminary_albedo(value.rgb_linear)

    def _fitted(self, fit: HeadFit) -> Fitted:
        if self._observation is None:
            raise RuntimeError("the fit came before the observation")
        return Fitted(
            observation=self._observation,
            fit=fit,
            engine=self._engine,
            seed=self._order.options.seed,
            stages=tuple(self._records),
            warnings=tuple(self.run.warnings),
        )

    def _job_fraction(self, stage: str, fraction: float) -> float:
        shares = [_SHARES[name] for name in self._plan]
        at = self._plan.index(stage)
        return (sum(shares[:at]) + fraction * shares[at]) / sum(shares)
