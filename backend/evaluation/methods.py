"""What is compared: the engines, and two baselines that a reconstruction has to beat.

``engine:NAME`` the pipeline with that engine
``mean-head``   nothing learned from the face: the head model's mean shape and colour, placed by the engine's
                camera, with the regional priors as materials
``no-delight``  the engine's head with the photo's own shading left in: the completed photo texture is the
                albedo, roughness and specular are the regional priors, there is no relief
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from backend import pipeline
from backend.artifacts import F32, ChartMaps, Materials, PartialUV, Reconstruction, Run
from backend.engines import ENGINE_NAMES
from backend.errors import BadInput
from backend.evaluation.cases import Case
from backend.evaluation.prediction import Prediction, read_prediction
from backend.evaluation.results import folder_name
from backend.evaluation.version import avatar_version
from backend.export.bundle_writer import write_bundle
from backend.head.base import ParametricHead
from backend.texture.grid import fill_unknown
from backend.texture.reflectance import regional
from backend.texture.regions import to_chart
from backend.uvspace.chart import chart_maps

BASELINE = "mean-head"  # always in the table: a fit that is not well under it has learned nothing
DEFAULT_METHODS = ("engine:embedded", BASELINE, "no-delight")


@dataclass(frozen=True)
class Options:
    """What all methods of one run share."""

    head: str = "open"
    maps: int = 1024  # texels
    seed: int = 0
    splats: bool = False  # engines make them, the baselines have none


class Methods:
    """Makes reconstructions into ``folder``; a case's engine result is shared by the methods built on it."""

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder, self._options = folder, options
        self._last: tuple[tuple[str, str], Reconstruction] | None = None

    def predict(self, case: Case, method: str, run: Run) -> Prediction:
        """What ``method`` makes of ``case``'s photo: read where it lies already, made otherwise.

        Raises: as ``pipeline.reconstruct``; nothing half-written is left behind.
        """
        directory = self.directory(case, method)
        if not directory.exists():
            directory.parent.mkdir(parents=True, exist_ok=True)
            write_bundle(self._make(case, method, run), directory)
            self._forget_others(case, directory)
        return read_prediction(method, directory, self._options.head)

    def directory(self, case: Case, method: str) -> Path:
        """The avatar folder of ``case`` by ``method``; another photo, code or option has another folder."""
        photo = blake2b(case.photo.read_bytes(), digest_size=16).hexdigest()
        options = self._options
        key = f"{photo} {method} {options.head} {options.maps} {options.seed} {avatar_version(options.head)}"
        if options.splats:
            key += " splats"
        return (
            self._folder
            / folder_name(method)
            / f"{case.id}-{blake2b(key.encode(), digest_size=6).hexdigest()}"
        )

    @staticmethod
    def _forget_others(case: Case, directory: Path) -> None:
        """Remove what older code or other options made of the same case."""
        own = re.compile(re.escape(case.id) + "-[0-9a-f]{12}")
        for other in directory.parent.iterdir():
            if other != directory and own.fullmatch(other.name):
                shutil.rmtree(other, ignore_errors=True)

    def _make(self, case: Case, method: str, run: Run) -> Reconstruction:
        engine = method.partition(":")[2] or "embedded"
        key = (case.id, engine)
        if self._last is None or self._last[0] != key:
            options = self._options
            made = pipeline.reconstruct(
                case.photo, engine=engine, head=options.head, maps=options.maps, name=case.id, run=run
            )
            self._last = (key, made)
        made = self._last[1]
        if method in _CHANGES:
            return _CHANGES[method](made)
        return pipeline.with_splats(made, run) if self._options.splats else made


def check_method(name: str) -> str:
    """``name`` if there is such a method. Raises: BadInput."""
    engines = [f"engine:{engine}" for engine in ENGINE_NAMES if engine != "auto"]
    if name not in (*engines, *_CHANGES):
        raise BadInput(f"method '{name}' is unknown; take of {', '.join((*engines, *_CHANGES))}")
    return name


def as_mean_head(made: Reconstruction) -> Reconstruction:
    """The mean head in ``made``'s place."""
    fit, head = made.fit, made.fit.head
    mean = head.shape(np.zeros(0, np.float32))
    chart = chart_maps(head, mean, made.partial.chart.size)
    albedo = to_chart(head.albedo(np.zeros(0, np.float32)), head.triangles, chart.face_id, chart.barycentric)
    return replace(
        made,
        fit=replace(
            fit,
            identity=np.zeros_like(fit.identity),
            expression=np.zeros_like(fit.expression),
            albedo_coefficients=np.zeros_like(fit.albedo_coefficients),
            vertices_head=mean,
            neutral_head=mean,
        ),
        partial=PartialUV(
            chart,
            np.zeros_like(albedo),
            np.zeros(albedo.shape[:2], np.float32),
            made.partial.texels_per_pixel,
        ),
        materials=prior_materials(head, chart, albedo),
    )


def without_delighting(made: Reconstruction) -> Reconstruction:
    """``made`` with the photo's texture as its albedo and priors for the rest."""
    chart = made.partial.chart
    return replace(made, materials=prior_materials(made.fit.head, chart, made.complete.rgb_linear))


def prior_materials(head: ParametricHead, chart: ChartMaps, albedo_linear: F32) -> Materials:
    """``albedo_linear`` with the regional priors of roughness and specular, and no relief."""
    albedo = np.clip(albedo_linear, 0, 1).astype(np.float32)
    priors = to_chart(regional(head)[:, :2], head.triangles, chart.face_id, chart.barycentric)
    fill_unknown(albedo, chart.inside)
    fill_unknown(priors, chart.inside)
    up = np.zeros((chart.size, chart.size, 3), np.float32)
    up[..., 2] = 1
    return Materials(
        albedo_linear=albedo,
        normal_tangent=up,
        roughness=np.ascontiguousarray(priors[..., 0]),
        specular=np.ascontiguousarray(priors[..., 1]),
        displacement_m=np.zeros((chart.size, chart.size), np.float32),
    )


_CHANGES: dict[str, Callable[[Reconstruction], Reconstruction]] = {
    BASELINE: as_mean_head,
    "no-delight": without_delighting,
}
