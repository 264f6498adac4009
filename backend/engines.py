"""Engines: named choices of one implementation for every stage of ``backend.pipeline``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from backend.artifacts import (
    ChartMaps,
    CompleteUV,
    Description,
    EvenUV,
    HeadFit,
    Materials,
    Observation,
    OnHead,
    PartialUV,
    Run,
)
from backend.errors import BadInput
from backend.head.base import ParametricHead
from backend.marcus.options import MarcusOptions
from backend.marcus.presence import why_not_marcus

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


Given = Mapping[str, Callable[[], object]]  # fields of a stage's result, by name, and how to have them


def _nothing(*args: object, **kwargs: object) -> Given:
    return {}


@dataclass(frozen=True)
class Stage(Generic[P, R]):
    """One arrow of the pipeline: a typed function with the name that ``avatar.json`` records.

    What else it says is for the cache (``backend.stages``).
    """

    name: str
    implementation: str
    function: Callable[P, R]
    reads_seed: bool = False  # of its Run; nothing else of a Run may change a result
    kept: bool = True  # dearer to make again than to read back
    given: Callable[P, Given] = _nothing  # fields that need no keeping, had from the stage's input

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class Engine:
    """One implementation per stage, and why ``auto`` took it."""

    name: str
    reason: str
    fit: Stage[[Observation, ParametricHead, Run], HeadFit]
    unwrap: Stage[[Observation, HeadFit, int, Run], PartialUV]
    complete: Stage[[PartialUV, HeadFit, Run], CompleteUV]
    homogenise: Stage[[CompleteUV, HeadFit, ChartMaps, Run], EvenUV]
    materials: Stage[[EvenUV, HeadFit, ChartMaps, int, Run], Materials]
    # An engine that works in a head of its own, whatever the user asked for, and brings it over at the end.
    head: ParametricHead | None = None
    deliver: Stage[[Observation, OnHead, ParametricHead, int, Run], OnHead] | None = None
    # An engine led by text: what it says of a photograph, and the engine that has been told so.
    describe: Stage[[Observation, Run], Description] | None = None
    told: Callable[[Description], Engine] | None = None


ENGINE_NAMES = ("auto", "embedded", "marcus")


def choose(name: str, marcus: MarcusOptions | None = None) -> Engine:
    """The engine called ``name``; ``auto`` takes the best one whose needs are met.

    Raises: BadInput for a name that this version does not have; Missing, OutOfResources where the engine
    asked for cannot run here.
    """
    if name not in ENGINE_NAMES:
        raise BadInput(f"engine '{name}' is unknown; this version has: {', '.join(ENGINE_NAMES)}")
    options = marcus or MarcusOptions()
    if name == "marcus":
        from backend.marcus.engine import marcus_engine

        return marcus_engine(options, "asked for")
    if name == "embedded":
        return _embedded("asked for")
    wants = why_not_marcus(options)
    if wants is None:
        from backend.marcus.engine import marcus_engine

        return marcus_engine(options, "its weights are here, and a GPU that holds it")
    return _embedded(f"needs no GPU; marcus cannot run: {wants}")


def _embedded(reason: str) -> Engine:
    # Imported here: numba and scipy are paid for only when a reconstruction starts.
    from backend.geometry.fit import fit_head
    from backend.texture.complete import complete
    from backend.texture.homogenise import homogenise
    from backend.texture.materials import materials
    from backend.uvspace.chart import chart_maps
    from backend.uvspace.unwrap import unwrap

    def fitted(observation: Observation, head: ParametricHead, run: Run) -> Given:
        return {"head": lambda: head}

    def charted(observation: Observation, fit: HeadFit, size: int, run: Run) -> Given:
        return {"chart": lambda: chart_maps(fit.head, fit.vertices_head, size)}

    return Engine(
        name="embedded",
        reason=reason,
        fit=Stage("head fit", "landmark and photometric Gauss-Newton", fit_head, given=fitted),
        unwrap=Stage("partial UV", "z-buffered unwrap", unwrap, given=charted),
        complete=Stage(
            "complete UV", "mirror and albedo-basis fill, Poisson blend", complete, reads_seed=True
        ),
        homogenise=Stage("even-lit UV", "spherical-harmonic shading division", homogenise),
        materials=Stage("materials", "regional priors, relief from shading", materials, reads_seed=True),
    )
