"""The report as Markdown, for a repository or a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from backend.evaluation.methods import BASELINE
from backend.evaluation.report import CaseRow, Estimate, MetricTable, Report, SetTable

_WORST = 10


def as_markdown(report: Report) -> str:
    """The whole report as Markdown."""
    lines = ["# Evaluation", ""]
    lines += [
        f"{report.created_by}, {len(report.cases)} cases. Means over cases with 95 % intervals",
        "(BCa bootstrap over subjects); ↓ lower is better, ↑ higher. **Bold**: differs from the mean",
        "head with an interval of the paired differences on one side of 0.",
        "",
    ]
    lines += _overall(report)
    groups = sorted({group for table in report.metrics for group in table.by_group})
    if len(groups) > 1:
        main = report.methods[0]
        rows = []
        for table in report.metrics:
            cells = [estimate_text(table.by_group.get(group, {}).get(main), table) for group in groups]
            rows.append([head_of(table), *cells])
        lines += ["", f"## By condition: {main}", "", *table_lines(["", *groups], rows)]
    if report.set_metrics:
        rows = [
            [head_of(t), *(number_text(t.values.get(method), t.decimals) for method in report.methods)]
            for t in report.set_metrics
        ]
        lines += ["", "## Over all photographs together", "", *table_lines(["", *report.methods], rows)]
    lines += _worst(report)
    lines += _absent(report)
    lines += ["", "## Made from", ""]
    lines += [f"- {line}" for line in (*report.sources, *report.weights)] or ["- nothing of others"]
    options = ", ".join(f"{name} {value}" for name, value in report.options.items())
    return "\n".join([*lines, "", f"Options: {options}. Code {report.code_version}.", ""])


def head_of(table: MetricTable | SetTable) -> str:
    """A metric as the head of a row."""
    unit = f" [{table.unit}]" if table.unit else ""
    return f"{table.label}{unit} {'↓' if table.better == 'lower' else '↑'}"


def estimate_text(estimate: Estimate | None, table: MetricTable) -> str:
    """``1.23 [1.10, 1.40]``, – where nothing was measured."""
    if estimate is None:
        return "–"
    mean = f"{estimate.mean:.{table.decimals}f}"
    if estimate.low is None or estimate.high is None:
        return mean
    return f"{mean} [{estimate.low:.{table.decimals}f}, {estimate.high:.{table.decimals}f}]"


def _overall(report: Report) -> list[str]:
    rows = []
    for table in report.metrics:
        cells = []
        for method in report.methods:
            text = estimate_text(table.overall.get(method), table)
            versus = table.versus_baseline.get(method)
            cells.append(f"**{text}**" if versus is not None and versus.certain else text)
        rows.append([head_of(table), *cells, str(max((e.cases for e in table.overall.values()), default=0))])
    return table_lines(["", *report.methods, "cases"], rows)


def _worst(report: Report) -> list[str]:
    table = next((t for t in report.metrics if t.name == report.sorted_by), None)
    if table is None:
        return []
    main = report.methods[0]
    lines = ["", f"## Worst {min(_WORST, len(report.cases))} by {table.label} ({main})", ""]
    rows = []
    for row in report.cases[:_WORST]:
        value = row.values.get(main, {}).get(table.name)
        base = row.values.get(BASELINE, {}).get(table.name)
        shown = _error_text(row, main) if main in row.errors else number_text(value, table.decimals)
        rows.append([row.id, row.group, shown, number_text(base, table.decimals)])
    return lines + table_lines(["case", "condition", head_of(table), BASELINE], rows)


def _error_text(row: CaseRow, method: str) -> str:
    return "no reconstruction: " + row.errors[method].replace("|", "/")


def _absent(report: Report) -> list[str]:
    lines: list[str] = []
    for part, cases in report.left_out.items():
        some = ", ".join(cases[:5]) + (f" and {len(cases) - 5} more" if len(cases) > 5 else "")
        some = "all cases" if len(cases) == len(report.cases) > 1 else some
        lines.append(f"- no {part}: {some}")
    lines += [f"- {row.id}, {m}: {e}" for row in report.cases for m, e in row.errors.items()]
    lines += [
        f"- {row.id}, {m}: {n}" for row in report.cases for m, notes in row.notes.items() for n in notes
    ]
    lines += [f"- over all cases, {m}: {n}" for m, notes in report.set_notes.items() for n in notes]
    lines += [f"- cannot be used: {line}" for line in report.unusable]
    if report.unfinished:
        lines.append(f"- not finished: {len(report.unfinished)} (the first: {report.unfinished[0]})")
    return ["", "## Left out", "", *lines] if lines else []


def number_text(value: float | None, decimals: int = 2) -> str:
    """A bare figure, – where there is none."""
    return "–" if value is None else f"{value:.{decimals}f}"


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]
