"""What is measured: groups of metrics, each a function of a case and a reconstruction of it.

A module that measures lists its ``GROUPS``; its name stands in ``_MODULES``. A group's function may write
pictures (PNG) into the folder that it is handed: the report shows them beside the case.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from backend.errors import BadInput
from backend.evaluation.cases import Case
from backend.evaluation.prediction import Prediction

Values = Mapping[str, float | None]  # None: could not be measured on this case

_MODULES = (
    "backend.evaluation.geometry_metrics",
    "backend.evaluation.texture_groups",
    "backend.evaluation.skin_tone_groups",
    "backend.evaluation.material_metrics",
    "backend.evaluation.relighting",
    "backend.evaluation.invariance",
    "backend.evaluation.splat_metrics",
)


Measure = Callable[[Case, Prediction, Path], Values]


@dataclass(frozen=True)
class MetricInfo:
    """How a figure is to be read."""

    label: str  # as a table's head says it
    unit: str  # "mm", "dB", "" …
    better: Literal["lower", "higher"]
    decimals: int = 2


@dataclass(frozen=True)
class MetricGroup:
    """Figures that are measured together.

    ``measure(case, prediction, pictures)`` returns a value for every name in ``metrics``, None where this
    case does not tell. It is not called for a case that lacks one of ``needs`` (names of
    ``case_schema.PARTS``): its metrics are left out and the part is named.
    ``opened`` takes the place of ``measure`` where something dear, such as Blender, serves many cases: it is
    entered before the first of them and left after the last.
    ``over_cases`` is called once per method, with every case and its prediction, for figures that only
    several photographs together have (``set_metrics``).
    ``wants_splats``: engines are to make splats for it.
    ``lacks`` names what this machine or version has not got: the metrics are left out of every case then.
    """

    name: str
    metrics: Mapping[str, MetricInfo]
    measure: Measure | None = None
    opened: Callable[[], AbstractContextManager[Measure]] | None = None
    needs: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    wants_splats: bool = False
    set_metrics: Mapping[str, MetricInfo] = field(default_factory=dict)
    over_cases: Callable[[Sequence[tuple[Case, Prediction]]], Values] | None = None


@cache
def all_groups() -> tuple[MetricGroup, ...]:
    """Every group there is, in the order of the report."""
    return tuple(group for module in _MODULES for group in importlib.import_module(module).GROUPS)


def choose_groups(names: Sequence[str]) -> tuple[MetricGroup, ...]:
    """The groups called ``names``; all of them when none is named. Raises: BadInput."""
    groups = all_groups()
    known = [group.name for group in groups]
    for name in names:
        if name not in known:
            raise BadInput(f"there are no metrics called '{name}'; take of {', '.join(known)}")
    return tuple(group for group in groups if not names or group.name in names)


def info_of(metric: str) -> MetricInfo:
    """How ``metric`` is to be read; a metric of another version is shown under its bare name."""
    for group in all_groups():
        for infos in (group.metrics, group.set_metrics):
            if metric in infos:
                return infos[metric]
    return MetricInfo(metric, "", "lower")
