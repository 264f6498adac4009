"""Made-up records."""

from __future__ import annotations

from collections.abc import Sequence

from backend.bench.record import SCHEMA, Better, Figure, Machine, Record, Result


def figure(name: str, values: Sequence[float], *baselines: str, better: Better = "lower") -> Figure:
    return Figure(name=name, unit="ms", values=tuple(values), baselines=baselines, better=better)


def result(*figures: Figure, name: str = "rasteriser", workload: str = "a ball") -> Result:
    return Result(name=name, workload=workload, figures=figures)


def machine(cpu: str = "a processor", cores: int = 2) -> Machine:
    return Machine(
        cpu=cpu,
        cores=cores,
        cores_of_the_machine=cores,
        memory_gib=16.0,
        memory_free_gib=8.0,
        load_at_start=0.5,
        system="a system",
        gpu=None,
        versions={"Python": "3.11.0"},
    )


def record(*results: Result, on: Machine | None = None) -> Record:
    return Record(
        schema=SCHEMA,
        made_at="2026-01-01T00:00:00+00:00",
        repeat=5,
        quick=False,
        machine=on or machine(),
        results=results,
    )
