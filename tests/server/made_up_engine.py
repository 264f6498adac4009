"""An engine whose stages make something up from what they read, at once: for tests of worker and cache."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_avatar import make_camera, make_head, make_materials, make_reconstruction

import backend.export.avatar
from backend import engines, pipeline
from backend.artifacts import Observation, Photo, Run
from backend.engines import Engine, Stage

SIZE = 32  # texels of every map, whatever is asked for


class MadeUp:
    """Stands in for the engine; ``calls`` lists the stages that were really run."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.during: dict[str, Callable[[], None]] = defaultdict(lambda: lambda: None)
        self.head = make_head()
        self.base = make_reconstruction(self.head, size=SIZE)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        observe = Stage("observation", "made up", self._observe, given=pipeline._observed)
        monkeypatch.setattr(pipeline, "_OBSERVE", observe)
        monkeypatch.setattr(pipeline, "_PIN", replace(pipeline._PIN, function=self._pin))
        monkeypatch.setattr(pipeline, "load_head", lambda name: self.head)
        monkeypatch.setattr(engines, "choose", lambda name, marcus=None: self.engine())
        tiny = np.zeros((4, 4, 3), np.uint8)
        monkeypatch.setattr(backend.export.avatar, "preview", lambda made: self._work("preview") or tiny)

    def engine(self) -> Engine:
        return Engine(
            name="embedded",
            reason="made up",
            fit=Stage("head fit", "made up", self._fit, given=lambda o, head, run: {"head": lambda: head}),
            unwrap=Stage(
                "partial UV",
                "made up",
                self._unwrap,
                given=lambda o, f, size, run: {"chart": lambda: self.base.partial.chart},
            ),
            complete=Stage("complete UV", "made up", self._complete, reads_seed=True),
            homogenise=Stage("even-lit UV", "made up", self._homogenise),
            materials=Stage("materials", "made up", self._materials, reads_seed=True),
        )

    def _work(self, name: str, run: Run | None = None) -> None:
        self.calls.append(name)
        self.during[name]()
        if run is not None:
            run.progress(name, 0.5)

    def _observe(self, photo: Photo, run: Run, face: int | None) -> Observation:
        self._work("observation", run)
        run.warn("made up from nothing")
        grey = float(photo.rgb_srgb.mean())
        return replace(self.base.observation, photo=photo, face_index=0, focal_px=100.0 + grey)

    def _fit(self, observation, head, run):
        self._work("head fit", run)
        return replace(
            self.base.fit, landmark_error_px=float("nan"), photometric_psnr_db=observation.focal_px
        )

    def _pin(self, fit, observation, pins, run):
        self._work("pins", run)
        return replace(fit, neutral_head=fit.neutral_head + np.float32(len(pins) * 1e-3))

    def _unwrap(self, observation, fit, size, run):
        self._work("partial UV", run)
        share = np.float32(observation.skin_mask.mean() + fit.neutral_head.mean() + size * 1e-6)
        return replace(self.base.partial, rgb_linear=self.base.partial.rgb_linear * share)

    def _complete(self, partial, fit, run):
        self._work("complete UV", run)
        return replace(self.base.complete, rgb_linear=partial.rgb_linear + np.float32(run.seed * 1e-3))

    def _homogenise(self, complete, fit, chart, run):
        self._work("even-lit UV", run)
        return replace(self.base.even, rgb_linear=complete.rgb_linear * np.float32(0.9))

    def _materials(self, even, fit, chart, size, run):
        self._work("materials", run)
        made = make_materials(SIZE, run.seed)
        return replace(made, albedo_linear=np.clip(even.rgb_linear, 0, 1))


def picture(path: Path, grey: int = 90) -> Path:
    """A photo of the made-up camera's size."""
    from PIL import Image

    camera = make_camera()
    Image.new("RGB", (camera.width_px, camera.height_px), (grey, grey, grey)).save(path, "PNG")
    return path
