"""The report as one HTML page that needs nothing beside itself: tables, and every case with its pictures."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from pathlib import Path

from backend.evaluation.error_picture import FULL_SCALE_MM, css_gradient
from backend.evaluation.methods import BASELINE
from backend.evaluation.report import CaseRow, Estimate, MetricTable, Report, SetTable
from backend.evaluation.report_markdown import head_of
from backend.evaluation.report_page import SCRIPT, STYLE
from backend.evaluation.report_pictures import TURNED, picture_order
from backend.evaluation.results import RunFolder

_PICTURE_HEIGHT = 240  # pixels kept of a picture: sixty cases have a thousand


def as_html(report: Report, folder: RunFolder) -> str:
    """The whole page; pictures of ``folder`` are inside it."""
    values = {row.id: row.values for row in report.cases}
    data = json.dumps(values, sort_keys=True).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Likeness evaluation</title><style>{STYLE}</style></head><body><main>
<h1>Evaluation</h1>
<p class="soft">{escape(report.created_by)} · {_cases(len(report.cases))} · {_options(report)}</p>
<p>Means over cases with 95&nbsp;% intervals (BCa bootstrap over subjects). <span class="sure">▾ better</span>
or <span class="worse">▴ worse</span> than the mean head where the interval of the paired differences lies on
one side of 0.</p>
<h2>All cases</h2>{_overall(report)}
{_by_group(report)}{_set_metrics(report)}
<h2>Case by case</h2>{_chooser(report)}
<div id="cases">{"".join(_case(row, report, folder) for row in report.cases)}</div>
<h2>All figures</h2>{_figures(report)}
{_left_out(report)}{_sources(report)}
<script type="application/json" id="data">{data}</script><script>{SCRIPT}</script>
</main></body></html>
"""


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"


def _options(report: Report) -> str:
    return escape(", ".join(f"{name} {value}" for name, value in report.options.items()))


def _overall(report: Report) -> str:
    head = "".join(f'<th class="n">{escape(method)}</th>' for method in report.methods)
    rows = []
    for table in report.metrics:
        best = _best(table)
        cells = "".join(_estimate_cell(table, method, best) for method in report.methods)
        count = max((e.cases for e in table.overall.values()), default=0)
        rows.append(
            f'<tr class="metric"><td>{escape(head_of(table))}</td>{cells}'
            f'<td>{_plot(table, report.methods)}</td><td class="n">{count}</td></tr>'
        )
    return (
        f'<div class="panel"><table><thead><tr><th>metric</th>{head}<th>'
        + " / ".join(escape(method) for method in report.methods)
        + f'</th><th class="n">cases</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _best(table: MetricTable) -> str | None:
    if len(table.overall) < 2:
        return None
    sign = 1 if table.better == "lower" else -1
    return min(table.overall, key=lambda method: sign * table.overall[method].mean)


def _estimate_cell(table: MetricTable, method: str, best: str | None) -> str:
    estimate = table.overall.get(method)
    if estimate is None:
        return '<td class="n">–</td>'
    mark = ""
    versus = table.versus_baseline.get(method)
    if versus is not None and versus.certain:
        better = (versus.difference.mean < 0) == (table.better == "lower")
        words = f"{versus.difference.mean:+.{table.decimals}f} against the mean head"
        colour, sign = ("sure", "▾") if better else ("worse", "▴")
        mark = f' <span class="{colour}" title="{words}">{sign}</span>'
    kind = "n best" if method == best else "n"
    return f'<td class="{kind}">{_number(estimate.mean, table)}{mark}{_range(estimate, table)}</td>'


def _number(value: float | None, table: MetricTable | SetTable) -> str:
    return "–" if value is None else f"{value:.{table.decimals}f}"


def _range(estimate: Estimate, table: MetricTable) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f'<span class="range">{_number(estimate.low, table)} – {_number(estimate.high, table)}</span>'


def _plot(table: MetricTable, methods: tuple[str, ...]) -> str:
    """Means and intervals as dots on bars, one line per method; from 0 on unless all lie far from it."""
    shown = [(method, table.overall[method]) for method in methods if method in table.overall]
    ends = [v for _, e in shown for v in (e.mean, e.low, e.high) if v is not None]
    if not ends:
        return ""
    low, high = min(ends), max(ends)
    low = low - 0.15 * max(high - low, 1e-9) if low > 0.75 * high else min(0.0, low)
    span = max(high - low, 1e-9) * 1.05
    lines = []
    step = 34 / len(methods)
    for row, method in enumerate(methods):
        estimate = table.overall.get(method)
        if estimate is None:
            continue
        y = step * (row + 0.5)
        known = [v for v in (estimate.mean, estimate.low, estimate.high) if v is not None]
        at = [4 + 182 * (v - low) / span for v in known]
        if len(at) == 3:
            width = max(at[2] - at[1], 1)
            lines.append(
                f'<rect x="{at[1]:.1f}" y="{y - 2.5:.1f}" width="{width:.1f}" height="5" rx="2" '
                'fill="var(--range)"/>'
            )
        lines.append(
            f'<circle cx="{at[0]:.1f}" cy="{y:.1f}" r="3.2" fill="var(--dot)"><title>{escape(method)}</title>'
            "</circle>"
        )
    return f'<svg class="plot" viewBox="0 0 190 34" role="img">{"".join(lines)}</svg>'


def _by_group(report: Report) -> str:
    groups = sorted({group for table in report.metrics for group in table.by_group})
    if len(groups) < 2:
        return ""
    parts = []
    for index, method in enumerate(report.methods):
        head = "".join(f'<th class="n">{escape(group)}</th>' for group in groups)
        rows = []
        for table in report.metrics:
            cells = []
            for group in groups:
                found = table.by_group.get(group, {}).get(method)
                text = "–" if found is None else _number(found.mean, table) + _range(found, table)
                cells.append(f'<td class="n">{text}</td>')
            rows.append(f"<tr><td>{escape(head_of(table))}</td>{''.join(cells)}</tr>")
        parts.append(
            f"<details{' open' if index == 0 else ''}><summary>{escape(method)}</summary>"
            f'<div class="panel"><table class="dense"><thead><tr><th>metric</th>{head}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table></div></details>"
        )
    return "<h2>By condition</h2>" + "".join(parts)


def _set_metrics(report: Report) -> str:
    if not report.set_metrics:
        return ""
    head = "".join(f'<th class="n">{escape(method)}</th>' for method in report.methods)
    rows = []
    for table in report.set_metrics:
        cells = "".join(
            f'<td class="n">{_number(table.values.get(method), table)}</td>' for method in report.methods
        )
        rows.append(f"<tr><td>{escape(head_of(table))}</td>{cells}</tr>")
    return (
        '<h2>Over all photographs together</h2><div class="panel"><table class="dense"><thead><tr>'
        f"<th>figure</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _chooser(report: Report) -> str:
    options = []
    for method in report.methods:
        inner = []
        for table in report.metrics:
            if method not in table.overall:
                continue
            chosen = method == report.methods[0] and table.name == report.sorted_by
            value = "|".join((method, table.name, table.better))
            inner.append(
                f'<option value="{escape(value)}" data-unit="{escape(table.unit)}" '
                f'data-decimals="{table.decimals}"{" selected" if chosen else ""}>'
                f"{escape(table.label)}</option>"
            )
        options.append(f'<optgroup label="{escape(method)}">{"".join(inner)}</optgroup>')
    legend = (
        f'<span class="legend">geometry: 0 <i style="background:{css_gradient()}"></i> '
        f"{FULL_SCALE_MM:g} mm and more</span>"
        '<span class="legend">triples: truth, reconstruction, twice their difference</span>'
    )
    return (
        f'<div class="bar"><label>Worst first by <select id="by">{"".join(options)}</select></label>'
        f"{legend}</div>"
    )


def _case(row: CaseRow, report: Report, folder: RunFolder) -> str:
    table = next((t for t in report.metrics if t.name == report.sorted_by), None)
    value = row.values.get(report.methods[0], {}).get(report.sorted_by or "")
    shown = f"{_number(value, table)} {table.unit}" if table is not None and value is not None else "–"
    photo = _figure(folder.photo(row.id), "photo")
    strip = f'<div class="split"><small>input</small><div class="row">{photo}</div></div>'
    for method in report.methods:
        pictures = "".join(
            _figure(folder.root / path, Path(path).stem.replace("_", " "))
            for path in sorted(row.pictures.get(method, ()), key=picture_order)
            if method == report.methods[0] or not Path(path).stem.endswith(TURNED)
        )
        error = row.errors.get(method)
        if error:
            pictures = f'<p class="error">no reconstruction: {escape(error)}</p>'
        if pictures:
            strip += (
                f'<div class="split"><small>{escape(method)}</small><div class="row">{pictures}</div></div>'
            )
    notes = "".join(
        f'<p class="error">{escape(method)}: {escape(note)}</p>'
        for method, lines in row.notes.items()
        for note in lines
    )
    # What every case lacks is said once, at the end of the page.
    own = [part for part in row.missing if len(report.left_out.get(part, ())) < len(report.cases)]
    lacks = f"<small>left out for lack of: {escape(', '.join(own))}</small>" if own else ""
    failed = escape("|".join(sorted(row.errors)))
    subject = f'<span class="tag">{escape(row.subject)}</span>' if row.subject != row.id else ""
    return (
        f'<article class="case" data-id="{escape(row.id)}" data-failed="{failed}">'
        f"<header><h3>{escape(row.id)}</h3>"
        f'<span class="tag">{escape(row.group)}</span>{subject}<span class="value">{shown}</span></header>'
        f'<div class="strip">{strip}</div>{notes}{lacks}</article>'
    )


def _figure(path: Path, caption: str) -> str:
    """A picture inside the page; nothing where the file is gone."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
    except OSError:
        return ""
    small.thumbnail((3 * _PICTURE_HEIGHT, _PICTURE_HEIGHT))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=80)
    text = base64.b64encode(data.getvalue()).decode()
    return (
        f'<figure><img loading="lazy" width="{small.width * 210 // small.height}" height="210" '
        f'alt="{escape(caption)}" src="data:image/jpeg;base64,{text}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _figures(report: Report) -> str:
    main = report.methods[0]
    tables = [table for table in report.metrics if main in table.overall]
    columns = [(main, table) for table in tables]
    columns += [(BASELINE, table) for table in tables if table.name == report.sorted_by and main != BASELINE]
    head = "".join(
        f'<th class="sorts n">{escape(table.label)}{"" if method == main else f" ({escape(method)})"}</th>'
        for method, table in columns
    )
    rows = []
    for row in report.cases:
        cells = []
        for method, table in columns:
            value = row.values.get(method, {}).get(table.name)
            cells.append(
                f'<td class="n" data-v="{"" if value is None else repr(value)}">{_number(value, table)}</td>'
            )
        rows.append(f"<tr><td>{escape(row.id)}</td><td>{escape(row.group)}</td>{''.join(cells)}</tr>")
    return (
        f'<p class="soft">{escape(main)}; click a head to sort.</p>'
        '<div class="panel"><table id="cases-table">'
        f'<thead><tr><th class="sorts">case</th><th class="sorts">condition</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _left_out(report: Report) -> str:
    lines = []
    for part, cases in report.left_out.items():
        everywhere = len(cases) == len(report.cases) > 1
        lines.append(f"no {part}: {'all cases' if everywhere else ', '.join(cases)}")
    lines += [f"over all cases, {m}: {n}" for m, notes in report.set_notes.items() for n in notes]
    lines += [f"cannot be used: {line}" for line in report.unusable]
    if report.unfinished:
        lines.append(f"not finished: {len(report.unfinished)} (the first: {report.unfinished[0]})")
    if not lines:
        return ""
    return "<h2>Left out</h2><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _sources(report: Report) -> str:
    lines = [*report.sources, *report.weights]
    if not lines:
        return ""
    inner = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>Made from</h2><ul>{inner}</ul><p><small>Code {escape(report.code_version)}</small></p>"
