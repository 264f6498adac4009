"""What a run found: tables with intervals, every case worst first, what was left out and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from backend.errors import BadInput
from backend.evaluation.methods import BASELINE
from backend.evaluation.registry import info_of
from backend.evaluation.results import (
    CaseFacts,
    CaseResult,
    RunFolder,
    RunRecord,
    SetResult,
    set_key,
    write_json,
    write_whole,
)
from backend.evaluation.statistics import Interval, mean_interval, paired_difference


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A mean with its 95 % interval (None with fewer than 3 subjects)."""

    mean: float
    low: float | None
    high: float | None
    cases: int


class Versus(msgspec.Struct, frozen=True, kw_only=True):
    """A method less the mean head, on the cases that both have."""

    difference: Estimate
    better_cases: int
    certain: bool  # the interval lies on one side of 0


class MetricTable(msgspec.Struct, frozen=True, kw_only=True):
    """One metric over all cases, and by group of cases."""

    name: str
    label: str
    unit: str
    better: str
    decimals: int
    overall: dict[str, Estimate]  # by method
    by_group: dict[str, dict[str, Estimate]]  # by group, then method
    versus_baseline: dict[str, Versus]


class SetTable(msgspec.Struct, frozen=True, kw_only=True):
    """One figure over all photographs together."""

    name: str
    label: str
    unit: str
    better: str
    decimals: int
    values: dict[str, float | None]  # by method


class CaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """One case, by every method."""

    id: str
    subject: str
    group: str
    values: dict[str, dict[str, float | None]]  # by method, then metric
    pictures: dict[str, tuple[str, ...]]  # by method, relative to the run folder
    errors: dict[str, str]
    notes: dict[str, tuple[str, ...]]
    missing: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``report.json``."""

    schema: int
    created_by: str
    code_version: str
    options: dict[str, str | int]
    methods: tuple[str, ...]
    sorted_by: str | None  # the metric that puts the worst case first, by the first method
    metrics: tuple[MetricTable, ...]
    set_metrics: tuple[SetTable, ...]
    set_notes: dict[str, tuple[str, ...]]  # by method: figures over all photographs that failed, and why
    cases: tuple[CaseRow, ...]
    unfinished: tuple[str, ...]  # "case by method" without a result
    unusable: tuple[str, ...]
    left_out: dict[str, tuple[str, ...]]  # part of the truth: cases that lack it
    weights: tuple[str, ...]
    sources: tuple[str, ...]


def write_report(folder: RunFolder, sort: str | None = None) -> Report:
    """Write ``report.json``, ``report.md`` and ``report.html`` into the run folder; returns the report.

    ``sort`` names the metric that puts the worst case first (by the first method); by default the first
    metric that was measured. The same results give the same bytes. Raises: BadInput (no run, nothing
    measured yet, no such metric).
    """
    from backend.evaluation.report_html import as_html
    from backend.evaluation.report_markdown import as_markdown

    report = build_report(folder, sort)
    write_json(folder.root / "report.json", report)
    write_whole(folder.root / "report.md", as_markdown(report).encode())
    write_whole(folder.root / "report.html", as_html(report, folder).encode())
    return report


def build_report(folder: RunFolder, sort: str | None = None) -> Report:
    """The report of a run folder; arguments and errors as ``write_report``."""
    run = folder.read_run()
    results = folder.results(run)
    if not any(results.values()):
        raise BadInput(f"'{folder.root}' has no finished case yet; run `likeness evaluate run` again")
    sets = {
        method: found
        for method in run.methods
        if (found := folder.read_set(method, set_key(results[method].values()))) is not None
    }
    tables = tuple(_table(name, run, results) for name in _measured(run, results))
    names = [table.name for table in tables]
    if sort is not None and sort not in names:
        raise BadInput(f"nothing was measured called '{sort}'; take of {', '.join(names)}")
    sort = sort or (names[0] if names else None)
    return Report(
        schema=1,
        created_by=run.created_by,
        code_version=run.code_version,
        options=run.options,
        methods=run.methods,
        sorted_by=sort,
        metrics=tables,
        set_metrics=_set_tables(sets),
        set_notes={method: found.notes for method, found in sets.items() if found.notes},
        cases=_rows(run, results, sort),
        unfinished=tuple(
            f"{case.id} by {method}"
            for method in run.methods
            for case in run.cases
            if case.id not in results[method]
        ),
        unusable=run.unusable,
        left_out=_left_out(results),
        weights=tuple(f"{w.name} ({w.licence}), sha256 {w.sha256 or 'unknown'}" for w in run.weights),
        sources=tuple(sorted({f"{s.name} ({s.licence})" for case in run.cases for s in case.sources})),
    )


Results = Mapping[str, Mapping[str, CaseResult]]


def _measured(run: RunRecord, results: Results) -> list[str]:
    """Metrics that at least one result has a value for, in the order in which they were measured."""
    names: dict[str, None] = {}
    for method in run.methods:
        for result in results[method].values():
            names |= {name: None for name, value in result.metrics.items() if value is not None}
    return list(names)


def _table(name: str, run: RunRecord, results: Results) -> MetricTable:
    info = info_of(name)
    groups = tuple(dict.fromkeys(case.group for case in run.cases))
    overall: dict[str, Estimate] = {}
    by_group: dict[str, dict[str, Estimate]] = {group: {} for group in groups}
    versus: dict[str, Versus] = {}
    for method in run.methods:
        found = _values(name, run.cases, results[method])
        if not found:
            continue
        overall[method] = _estimate(found)
        for group in groups:
            own = [(case, value) for case, value in found if case.group == group]
            if own:
                by_group[group][method] = _estimate(own)
        base = {case.id: value for case, value in _values(name, run.cases, results.get(BASELINE, {}))}
        shared = [(case, value) for case, value in found if case.id in base]
        if method != BASELINE and shared:
            versus[method] = _versus(shared, base, info.better)
    return MetricTable(
        name=name,
        label=info.label,
        unit=info.unit,
        better=info.better,
        decimals=info.decimals,
        overall=overall,
        by_group={group: found for group, found in by_group.items() if found},
        versus_baseline=versus,
    )


def _set_tables(sets: Mapping[str, SetResult]) -> tuple[SetTable, ...]:
    """Figures over all photographs that at least one method has a value for."""
    tables = []
    for name in dict.fromkeys(name for found in sets.values() for name in found.metrics):
        values = {method: found.metrics.get(name) for method, found in sets.items()}
        if any(value is not None for value in values.values()):
            info = info_of(name)
            tables.append(
                SetTable(
                    name=name,
                    label=info.label,
                    unit=info.unit,
                    better=info.better,
                    decimals=info.decimals,
                    values=values,
                )
            )
    return tuple(tables)


def _versus(shared: Sequence[tuple[CaseFacts, float]], base: Mapping[str, float], better: str) -> Versus:
    pair = paired_difference(
        [base[case.id] for case, _ in shared],
        [value for _, value in shared],
        [case.subject for case, _ in shared],
    )
    higher = len(shared) - pair.lower_in_b - pair.equal
    return Versus(
        difference=as_estimate(pair.difference),
        better_cases=pair.lower_in_b if better == "lower" else higher,
        certain=pair.is_certain,
    )


def _values(
    name: str, cases: Sequence[CaseFacts], results: Mapping[str, CaseResult]
) -> list[tuple[CaseFacts, float]]:
    return [
        (case, value)
        for case in cases
        if case.id in results and (value := results[case.id].metrics.get(name)) is not None
    ]


def _estimate(found: Sequence[tuple[CaseFacts, float]]) -> Estimate:
    return as_estimate(mean_interval([value for _, value in found], [case.subject for case, _ in found]))


def as_estimate(interval: Interval) -> Estimate:
    """An interval as the report's files hold it."""
    return Estimate(mean=interval.mean, low=interval.low, high=interval.high, cases=interval.count)


def _rows(run: RunRecord, results: Results, sort: str | None) -> tuple[CaseRow, ...]:
    rows = []
    for case in run.cases:
        own = {method: results[method][case.id] for method in run.methods if case.id in results[method]}
        if not own:
            continue
        missing = dict.fromkeys(part for result in own.values() for part in result.missing)
        rows.append(
            CaseRow(
                id=case.id,
                subject=case.subject,
                group=case.group,
                values={method: result.metrics for method, result in own.items()},
                pictures={method: result.pictures for method, result in own.items()},
                errors={method: result.error for method, result in own.items() if result.error},
                notes={method: result.notes for method, result in own.items() if result.notes},
                missing=tuple(missing),
            )
        )
    main = run.methods[0]
    sign = -1.0 if sort is not None and info_of(sort).better == "lower" else 1.0

    def worst_first(row: CaseRow) -> tuple[int, float, str]:
        if main in row.errors:
            return 0, 0.0, row.id  # nothing is worse than no reconstruction
        value = row.values.get(main, {}).get(sort or "")
        return (1, sign * value, row.id) if value is not None else (2, 0.0, row.id)

    return tuple(sorted(rows, key=worst_first))


def _left_out(results: Results) -> dict[str, tuple[str, ...]]:
    parts: dict[str, dict[str, None]] = {}
    for by_case in results.values():
        for result in by_case.values():
            for part in result.missing:
                parts.setdefault(part, {})[result.case] = None
    return {part: tuple(sorted(cases)) for part, cases in sorted(parts.items())}
