"""The MARCUS engine: its stages, with one set of networks in memory for all photographs of a call."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from backend.artifacts import (
    F32,
    ChartMaps,
    CompleteUV,
    Description,
    EvenUV,
    HeadFit,
    Materials,
    Observation,
    PartialUV,
    Run,
)
from backend.engines import Engine, Given, Stage
from backend.errors import BadInput, BadWeights
from backend.head.base import ParametricHead
from backend.head.hifi3dpp import load_hifi3dpp
from backend.marcus.arithmetic import Passes, Size, cascade_flop
from backend.marcus.cascade import Cascade, Sampling, turbo
from backend.marcus.deliver import deliver
from backend.marcus.geometry.alignment import standard_points
from backend.marcus.geometry.fit import fit_head, load_regressor
from backend.marcus.inspection import green_is_up
from backend.marcus.models import Models
from backend.marcus.options import MarcusOptions
from backend.marcus.placement import place
from backend.marcus.release import LONGCAT, Release, identity, require
from backend.marcus.superres.enlarge import enlarge
from backend.marcus.superres.maps import enlarged_materials, resized_materials
from backend.marcus.superres.networks import load_checkpoint
from backend.marcus.superres.package import is_importable, packaged
from backend.marcus.texture import chart_linear, evened, incomplete, materials_of, picture_srgb
from backend.uvspace.chart import chart_maps, chart_raster
from backend.uvspace.seams import seam_pairs
from backend.uvspace.unwrap import unwrap
from backend.weights.components import read_json
from backend.weights.licences import require_accepted
from backend.weights.places import weights_folder

COMPLETE, EVEN, MATERIALS = "complete UV", "even-lit UV", "materials"
_FACE_MARGIN = 0.4  # of the face's box, around it, for the captioner


def release_of(options: MarcusOptions) -> Release:
    """The weights that ``options`` name."""
    return Release(options.weights or weights_folder())


def marcus_engine(options: MarcusOptions, reason: str) -> Engine:
    """The engine on this machine. LongCat's networks are read from disk when a stage first needs them.

    Raises: Missing (weights, GPU, a licence not accepted), BadWeights, OutOfResources (GPU memory).
    """
    release = release_of(options)
    require(release)
    require_accepted(release.root, "marcus")
    return _made(options, reason, release, identity(release.marcus, release.base(options.turbo)))


@lru_cache(maxsize=1)  # a server asks for every photograph anew, and the networks are large
def _made(options: MarcusOptions, reason: str, release: Release, files: str) -> Engine:
    base = release.base(options.turbo)
    distilled = base.name != LONGCAT
    sampling = _sampling(options, distilled)
    chart = release.chart()
    cost = cascade_flop(_size(base, chart), _passes(sampling))
    placement = place(options.device, sum(cost.values()), options.fp8)
    models = Models(base, placement, options.compiled)
    label = ("turbo (distilled), " if distilled else "turbo, ") if options.turbo else ""
    label += "FP8, " if placement.fp8 else "8-bit weights, " if placement.eight_bit else ""
    networks = _Networks(
        options.caption,
        chart,
        release,
        models,
        Cascade(models, release, sampling),
        _head(release),
        f"LongCat-Image-Edit with LoRA, {label}{sampling.label}, weights {files}",
    )
    regressor, regressor_name = load_regressor(release)
    standard = standard_points(release.landmark_template)

    def fit(observation: Observation, asked: ParametricHead, run: Run) -> HeadFit:
        return fit_head(observation, networks.head, regressor, standard, run)

    def fitted(observation: Observation, asked: ParametricHead, run: Run) -> Given:
        return {"head": lambda: networks.head}

    enlarging = ""
    if release.super_resolution() is not None:
        enlarging = (
            f", Real-ESRGAN ({'package realesrgan' if is_importable() else 'own modules'}) above {chart}"
        )

    def told(description: Description) -> Engine:
        label = f"{networks.label}, captions {_digest(description)}"
        return replace(
            engine,
            complete=Stage(COMPLETE, label, partial(networks.complete, description), reads_seed=True),
            homogenise=Stage(EVEN, label, partial(networks.homogenise, description), reads_seed=True),
            materials=Stage(
                MATERIALS,
                f"{label}, cross-intrinsic attention{enlarging}",
                partial(networks.materials, description),
                reads_seed=True,
            ),
            told=None,
            describe=None,
        )

    nothing = Description("", "")
    engine = Engine(
        name="marcus",
        reason=reason,
        head=networks.head,
        fit=Stage("head fit", regressor_name, fit, given=fitted),
        unwrap=Stage("partial UV", "z-buffered unwrap", networks.unwrap, given=networks.charted),
        complete=Stage(COMPLETE, networks.label, partial(networks.complete, nothing), reads_seed=True),
        homogenise=Stage(EVEN, networks.label, partial(networks.homogenise, nothing), reads_seed=True),
        materials=Stage(MATERIALS, networks.label, partial(networks.materials, nothing), reads_seed=True),
        describe=Stage("description", _describer(options), networks.describe),
        told=told,
        deliver=Stage("delivered head", "non-rigid registration", deliver, kept=False),
    )
    return engine


@dataclass(frozen=True)
class _Networks:
    """The stages' functions on one set of networks."""

    caption: str | None  # the user's
    chart: int  # side of the charts that the diffusion stages work on
    release: Release
    models: Models
    cascade: Cascade
    head: ParametricHead
    label: str

    def describe(self, observation: Observation, run: Run) -> Description:
        if self.caption is not None:
            return Description(self.caption, self.caption)
        return self.cascade.describe(_face(observation))

    def unwrap(self, observation: Observation, fit: HeadFit, size: int, run: Run) -> PartialUV:
        return unwrap(observation, fit, self.chart, run)

    def charted(self, observation: Observation, fit: HeadFit, size: int, run: Run) -> Given:
        return {"chart": lambda: chart_maps(fit.head, fit.vertices_head, self.chart)}

    def complete(self, description: Description, seen: PartialUV, fit: HeadFit, run: Run) -> CompleteUV:
        drawn = self.cascade.inpaint(
            incomplete(seen),
            description,
            run.seed,
            lambda fraction: run.progress(COMPLETE, fraction),
            lambda picture: run.on_preview(COMPLETE, picture),
        )
        return CompleteUV(chart_linear(drawn, seen.chart.inside), seen.confidence, self.label)

    def homogenise(
        self, description: Description, lit: CompleteUV, fit: HeadFit, chart: ChartMaps, run: Run
    ) -> EvenUV:
        drawn = self.cascade.homogenise(
            picture_srgb(lit.rgb_linear, chart.inside),
            description,
            run.seed,
            lambda fraction: run.progress(EVEN, fraction),
            lambda picture: run.on_preview(EVEN, picture),
        )
        even = chart_linear(drawn, chart.inside)
        return EvenUV(even, evened(lit.rgb_linear, even))

    def materials(
        self, description: Description, even: EvenUV, fit: HeadFit, chart: ChartMaps, size: int, run: Run
    ) -> Materials:
        drawn = self.cascade.materials(
            picture_srgb(even.rgb_linear, chart.inside),
            description,
            run.seed,
            lambda fraction: run.progress(MATERIALS, 0.9 * fraction),
            lambda picture: run.on_preview(MATERIALS, picture),
        )
        made = materials_of(drawn, chart, green_is_up(self.release))
        return made if size <= self.chart else self._enlarged(made, fit, chart, size, run)

    def _enlarged(self, made: Materials, fit: HeadFit, chart: ChartMaps, size: int, run: Run) -> Materials:
        path = self.release.super_resolution()
        if path is None:
            run.warn(
                f"Maps above {self.chart} are interpolated: Real-ESRGAN is not fetched "
                "(likeness weights fetch real-esrgan)."
            )
            return resized_materials(made, size)
        own = load_checkpoint(path)
        network = (packaged(own) or own).to(self.models.placement.device)
        large = network.scale * self.chart
        grown = enlarged_materials(
            made,
            partial(enlarge, network, device=self.models.placement.device),
            chart.inside,
            chart_raster(fit.head, large).covered,
            seam_pairs(fit.head, large),
            lambda fraction: run.progress(MATERIALS, 0.9 + 0.1 * fraction),
        )
        return resized_materials(grown, size)


def _sampling(options: MarcusOptions, distilled: bool) -> Sampling:
    """Raises: BadInput (an interval of noise levels that is none, or turbo's own is taken)."""
    low, high = options.guided
    if not 0 <= low < high <= 1:
        raise BadInput(f"noise levels {low:g} to {high:g} are no interval; take 0 ≤ LOW < HIGH ≤ 1")
    if options.turbo:
        if options.guided != (0.0, 1.0):
            raise BadInput("--turbo has an interval of guidance of its own; leave out --guidance-interval")
        return turbo(Sampling(), distilled)
    return Sampling(guided_from=low, guided_to=high)


def _describer(options: MarcusOptions) -> str:
    return "Qwen2.5-VL" if options.caption is None else f"the user's: {json.dumps(options.caption)}"


def _digest(description: Description) -> str:
    text = f"{description.lit}\0{description.unlit}"
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _head(release: Release) -> ParametricHead:
    """The fetched HiFi3D++. Raises: Missing, BadWeights."""
    try:
        return load_hifi3dpp(release.head_model)
    except BadInput as error:  # what the user gives as --head hifi3dpp:PATH is input; this is not
        raise BadWeights(f"{error}; fetch it again") from error


def _size(base: Path, chart: int) -> Size:
    config = read_json(base / "transformer" / "config.json")
    return Size(
        layers=int(config.get("num_layers", Size.layers)),
        single_layers=int(config.get("num_single_layers", Size.single_layers)),
        width=int(config.get("num_attention_heads", 24)) * int(config.get("attention_head_dim", 128)),
        image_tokens=(chart // 16) ** 2,
    )


def _passes(sampling: Sampling) -> Passes:
    guidance = (sampling.inpaint_guidance, sampling.homogenise_guidance, sampling.materials_guidance)
    return Passes(*(sampling.steps * (2 if g > 1 else 1) for g in guidance))


def _face(observation: Observation) -> F32:
    """The photographed face with a margin, for the captioner."""
    box, photo = observation.face_box, observation.photo
    dx, dy = _FACE_MARGIN * (box.x1 - box.x0), _FACE_MARGIN * (box.y1 - box.y0)
    x0, y0 = max(0, int(box.x0 - dx)), max(0, int(box.y0 - dy))
    x1, y1 = min(photo.width, int(box.x1 + dx) + 1), min(photo.height, int(box.y1 + dy) + 1)
    return np.ascontiguousarray(photo.rgb_srgb[y0:y1, x0:x1])
