"""A run held against an earlier one: what got slower beyond the spread of the measurements.

A figure with a baseline is judged by its ratio to that baseline, round by round, because a machine that is
busier or another one slows both; one without is judged by itself, on the same kind of machine alone.
Baselines themselves are not judged: they are not ours.
Beyond the spread means that the two ranges, least to most, do not meet: with five values each that happens by
chance once in 126 times. Of ten values or more a tenth is left out at either end, else one hiccup in many
rounds would hide everything. A ratio does not make a busy machine quiet (threads that wait for each other
suffer more than one alone), so a load above the number of cores is told beside the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from backend.bench.record import Figure, Machine, Record, Result, beside, spread

LEAST_ROUNDS = 5  # with fewer, ranges that do not meet are too often chance
# Ranges of a quiet machine are narrower than what a restart or another layout of memory changes.
LEAST_CHANGE = 0.03

Verdict = Literal["worse", "better", "within the spread", "cannot tell", "baseline"]


_TOLD = ("worse", "better")


@dataclass(frozen=True)
class Change:
    """One figure in both runs."""

    benchmark: str
    figure: str
    before: float  # medians, in ``unit``
    after: float
    unit: str
    ratio: float  # after / before: of the figure, or of its ratio to the baseline
    beside: str | None  # the baseline that it was judged by
    verdict: Verdict
    why: str = ""  # it cannot be told, or what to keep in mind


@dataclass(frozen=True)
class Comparison:
    """Two runs."""

    changes: tuple[Change, ...]
    only_before: tuple[str, ...]  # "benchmark: figure"
    only_after: tuple[str, ...]
    differing: tuple[str, ...]  # benchmarks with another workload, not compared
    other_machine: tuple[str, ...]  # in what the machines differ

    def with_verdict(self, verdict: Verdict) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.verdict == verdict)


def compare(before: Record, after: Record) -> Comparison:
    """What changed between two runs, figure by figure; what only one of them has is named."""
    earlier = {result.name: result for result in before.results}
    machines = differences(before.machine, after.machine)
    changes: list[Change] = []
    only_after: list[str] = []
    differing: list[str] = []
    seen: set[tuple[str, str]] = set()
    for result in after.results:
        old = earlier.get(result.name)
        if old is not None and old.figures and result.figures and old.workload != result.workload:
            differing.append(result.name)
            seen |= {(old.name, figure.name) for figure in old.figures}
            continue
        old_figures = {figure.name: figure for figure in old.figures} if old is not None else {}
        for figure in result.figures:
            was = old_figures.get(figure.name)
            seen.add((result.name, figure.name))
            if old is None or was is None or was.unit != figure.unit:
                only_after.append(f"{result.name}: {figure.name}")
            else:
                change = _change(old, was, result, figure, bool(machines))
                busy = _busy((old, before.machine), (result, after.machine))
                changes.append(replace(change, why=busy) if busy and change.verdict in _TOLD else change)
    only_before = [
        f"{result.name}: {figure.name}"
        for result in before.results
        for figure in result.figures
        if (result.name, figure.name) not in seen
    ]
    return Comparison(tuple(changes), tuple(only_before), tuple(only_after), tuple(differing), machines)


def _busy(*runs: tuple[Result, Machine]) -> str:
    """The highest load of a benchmark that had less than a core for every process; empty otherwise."""
    high = [(load, on.cores) for result, on in runs if (load := result.load_at_start) and load > on.cores]
    return f"busy machine, load {max(high)[0]:.0f} on {max(high)[1]} cores" if high else ""


def differences(before: Machine, after: Machine) -> tuple[str, ...]:
    """In what two machines differ so that bare times cannot be compared."""
    pairs = (
        ("processor", before.cpu, after.cpu),
        ("cores", before.cores, after.cores),
        ("system", before.system, after.system),
        ("GPU", before.gpu or "none", after.gpu or "none"),
    )
    return tuple(f"{name}: {was}, now {now}" for name, was, now in pairs if was != now)


def _change(old: Result, was: Figure, new: Result, now: Figure, other_machine: bool) -> Change:
    before, after = spread(was.values).median, spread(now.values).median
    by = next((name for name in now.baselines if _in_every_round(name, was, old, now, new)), None)
    values = (was.values, now.values) if by is None else (beside(was, by, old), beside(now, by, new))
    verdict, why = judge(values[0], values[1], now.better)
    if any(now.name in figure.baselines for figure in new.figures):
        verdict, why = "baseline", ""
    elif other_machine and by is None:
        verdict, why = "cannot tell", "another machine, and no baseline"
    first = spread(values[0]).median
    return Change(
        benchmark=new.name,
        figure=now.name,
        before=before,
        after=after,
        unit=now.unit,
        ratio=spread(values[1]).median / first if first else float("inf"),
        beside=by,
        verdict=verdict,
        why=why,
    )


def _in_every_round(baseline: str, was: Figure, old: Result, now: Figure, new: Result) -> bool:
    """Whether both runs measured ``baseline`` in every round of the figure."""
    for figure, result in ((was, old), (now, new)):
        other = next((f for f in result.figures if f.name == baseline), None)
        if other is None or len(other.values) < len(figure.values) or not beside(figure, baseline, result):
            return False
    return True


def judge(before: Sequence[float], after: Sequence[float], better: str) -> tuple[Verdict, str]:
    """Whether ``after`` lies beyond the spread of both samples, and why that cannot be told."""
    if min(len(before), len(after)) < LEAST_ROUNDS:
        return "cannot tell", f"fewer than {LEAST_ROUNDS} rounds"
    a, b = (spread(_without_ends(values)) for values in (before, after))
    small = abs(b.median - a.median) <= LEAST_CHANGE * abs(a.median)
    if small or (b.least <= a.most and a.least <= b.most):
        return "within the spread", ""
    return ("worse" if (b.median > a.median) == (better == "lower") else "better"), ""


def _without_ends(values: Sequence[float]) -> Sequence[float]:
    """``values`` without the least and the most tenth."""
    ends = len(values) // 10
    return sorted(values)[ends : len(values) - ends]
