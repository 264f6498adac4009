"""The figures of a run as a page of the documentation holds them: chosen tables, the worst cases, pictures.

They stand between two marks, so that another run replaces them and leaves the words around them alone.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.errors import BadInput
from backend.evaluation.methods import BASELINE
from backend.evaluation.report import CaseRow, MetricTable, Report
from backend.evaluation.report_markdown import estimate_text, head_of, number_text, table_lines
from backend.evaluation.report_pictures import picture_order
from backend.evaluation.results import RunFolder, write_whole

BEGIN, END = "<!-- figures of a run: likeness evaluate document -->", "<!-- end of the figures -->"
WORST = 5
# What a case is judged by: the mean of its ranks in these.
JUDGED = ("realy_all_mm", "skin_delta_e_2000_pixels", "relit_psnr_db")

_LINK = re.compile(r"!\[[^]]*\]\(([^)]+)\)")
_STRIP_PX = 190  # the height of a case's pictures
_QUALITY = 80


@dataclass(frozen=True)
class _Section:
    """One table: metrics whose names begin with one of ``prefixes``."""

    title: str
    prefixes: tuple[str, ...]


_SECTIONS = (
    _Section("Geometry", ("realy_", "now_")),
    _Section("Texture", ("albedo_", "bs_", "seam_", "occluder_")),
    _Section("Skin tone", ("skin_",)),
    _Section("Relighting", ("relit_",)),
    _Section("As captured: splats beside the photo's texture on the mesh", ("novel",)),
)
# What was made beside what every face gets without looking at it.
_PRIORS = (
    ("normal_degrees", "normal_smooth_degrees", "the mesh's own normals"),
    ("roughness_error", "roughness_prior_error", "the regional prior"),
    ("specular_error", "specular_prior_error", "the regional prior"),
    ("displacement_rmse_mm", "displacement_flat_rmse_mm", "no relief"),
)
_BY_CONDITION = (
    "realy_all_mm",
    "realy_noscale_all_mm",
    "now_median_mm",
    "albedo_rmse",
    "albedo_rmse_one_scale",
    "skin_delta_e_2000_pixels",
    "relit_psnr_db",
    "relit_turned_psnr_db",
    "normal_degrees",
    "novel30_head_psnr_db",
)


def write_document(report: Report, folder: RunFolder, page: Path, images: Path) -> tuple[str, ...]:
    """Put the run's figures between the marks of the Markdown ``page``; returns the worst cases' ids.

    Pictures of the worst cases go into ``images``; those there that the old figures showed are removed.
    Raises: BadInput (no marks, nothing written), OSError.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"'{page}' cannot be read ({error.strerror})") from error
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise BadInput(f"'{page}' lacks the two lines '{BEGIN}' and '{END}', between which figures go")
    worst = worst_cases(report)
    shown = []
    for row in worst:
        strip = _strip(row, report.methods[0], folder)
        if strip is not None:
            path = images / f"{row.id}.jpg"
            write_whole(path, strip)
            shown.append((row.id, Path(os.path.relpath(path, page.parent)).as_posix()))
    kept = {name for _, name in shown}
    for name in set(_LINK.findall(old)) - kept:  # of the figures that go
        path = page.parent / name
        if path.resolve().parent == images.resolve():
            path.unlink(missing_ok=True)
    lines = "\n".join([*figures(report), *_worst(report, worst, dict(shown))])
    write_whole(page, f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}".encode())
    return tuple(row.id for row in worst)


def figures(report: Report) -> list[str]:
    """The tables as lines of Markdown."""
    # Where a file lay is nobody's business, and not to be repeated.
    options = ", ".join(f"{name} {_without_folder(str(value))}" for name, value in report.options.items())
    subjects = len({row.subject for row in report.cases})
    lines = [
        f"{report.created_by}, {len(report.cases)} cases of {subjects} heads; {options};",
        f"code `{report.code_version[:12]}`. Means with 95 % intervals (BCa bootstrap over heads). **Bold**:",
        "differs from the mean head, the interval of the paired differences lies on one side of 0.",
    ]
    by_name = {table.name: table for table in report.metrics}
    for section in _SECTIONS:
        found = [t for t in report.metrics if t.name.startswith(section.prefixes)]
        sets = [t for t in report.set_metrics if t.name.startswith(section.prefixes)]
        methods = [
            m
            for m in report.methods
            if any(t.overall.get(m) is not None for t in found)
            or any(t.values.get(m) is not None for t in sets)
        ]
        rows = [[head_of(t), *(_cell(t, m) for m in methods)] for t in found]
        rows += [[head_of(t), *(number_text(t.values.get(m), t.decimals) for m in methods)] for t in sets]
        if methods:
            lines += ["", f"### {section.title}", "", *table_lines(["", *methods], rows)]
    main = report.methods[0]
    rows = []
    for name, prior, what in _PRIORS:
        if name in by_name and prior in by_name:
            own, other = by_name[name], by_name[prior]
            rows.append([head_of(own), _plain(own, main), f"{_plain(other, main)} ({what})"])
    if rows:
        lines += ["", "### Materials beside doing nothing", "", *table_lines(["", main, "nothing"], rows)]
    spreads = [t for t in report.set_metrics if t.name.startswith("spread_")]
    if spreads:
        rows = [
            [head_of(t), *(number_text(t.values.get(m), t.decimals) for m in report.methods)] for t in spreads
        ]
        lines += ["", "### One head, many photographs", "", *table_lines(["", *report.methods], rows)]
    groups = sorted({group for table in report.metrics for group in table.by_group})
    if len(groups) > 1:
        rows = [
            [head_of(t), *(estimate_text(t.by_group.get(g, {}).get(main), t) for g in groups)]
            for t in (by_name[name] for name in _BY_CONDITION if name in by_name)
        ]
        lines += ["", f"### By condition: {main}", "", *table_lines(["", *groups], rows)]
    return lines


def _without_folder(value: str) -> str:
    """``open:/somewhere/head.safetensors`` without the folder."""
    kind, colon, path = value.partition(":")
    return f"{kind}{colon}{Path(path).name}" if colon else value


def worst_cases(report: Report, count: int = WORST) -> tuple[CaseRow, ...]:
    """The ``count`` cases that the first method does worst, the worst first.

    One without a reconstruction is worst of all; others by the mean of their ranks in JUDGED.
    """
    main = report.methods[0]
    ranks: dict[str, list[float]] = {row.id: [] for row in report.cases}
    for table in report.metrics:
        if table.name not in JUDGED:
            continue
        sign = 1 if table.better == "lower" else -1
        known = [
            (sign * value, row.id)
            for row in report.cases
            if (value := row.values.get(main, {}).get(table.name)) is not None
        ]
        for rank, (_, case) in enumerate(sorted(known)):
            ranks[case].append(rank / len(known))

    def badness(row: CaseRow) -> tuple[bool, float, str]:
        own = ranks[row.id]
        return main in row.errors, sum(own) / len(own) if own else 0.0, row.id

    judged = [row for row in report.cases if main in row.errors or ranks[row.id]]
    return tuple(sorted(judged, key=badness, reverse=True)[:count])


def _worst(report: Report, worst: Sequence[CaseRow], pictures: dict[str, str]) -> list[str]:
    main = report.methods[0]
    judged = [table for table in report.metrics if table.name in JUDGED]
    if not judged or not worst:
        return []
    rows = []
    for row in worst:
        own, base = row.values.get(main, {}), row.values.get(BASELINE, {})
        cells = [
            f"{number_text(own.get(t.name), t.decimals)} ({number_text(base.get(t.name), t.decimals)})"
            for t in judged
        ]
        rows.append([row.id, row.group, *cells])
    lines = ["", f"### The {len(worst)} worst", ""]
    lines += [
        f"By the mean of their ranks in these; {BASELINE} in brackets. Pictures: photo, error of the shape"
    ]
    lines += ["(red: 4 mm), albedo and relit face (each truth, made, twice the difference).", ""]
    lines += table_lines(["case", "condition", *(head_of(t) for t in judged)], rows)
    for row in worst:
        if row.id in pictures:
            words = f"Photo, shape, albedo and relit face of {row.id}"
            lines += ["", f"`{row.id}`", "", f"![{words}]({pictures[row.id]})"]
    return lines


def _strip(row: CaseRow, method: str, folder: RunFolder) -> bytes | None:
    """The case's photo and pictures beside each other as a JPEG; None where there are none."""
    from PIL import Image

    names = row.pictures.get(method, ())
    wanted = [name for name in names if Path(name).stem in ("geometry", "albedo")]
    wanted += [name for name in names if Path(name).stem.startswith("relit_") and "_photo" in name][:1]
    paths = (folder.photo(row.id), *(folder.root / name for name in sorted(wanted, key=picture_order)))
    pictures = []
    for path in paths:
        if path.is_file():
            with Image.open(path) as image:
                whole = image.convert("RGB")
            size = (max(1, round(whole.width * _STRIP_PX / whole.height)), _STRIP_PX)
            pictures.append(whole.resize(size, Image.Resampling.LANCZOS))
    if not pictures:
        return None
    gap = 6
    strip = Image.new("RGB", (sum(p.width + gap for p in pictures) - gap, _STRIP_PX), "white")
    left = 0
    for picture in pictures:
        strip.paste(picture, (left, 0))
        left += picture.width + gap
    data = io.BytesIO()
    strip.save(data, "JPEG", quality=_QUALITY, optimize=True)
    return data.getvalue()


def _cell(table: MetricTable, method: str) -> str:
    text = _plain(table, method)
    versus = table.versus_baseline.get(method)
    return f"**{text}**" if versus is not None and versus.certain else text


def _plain(table: MetricTable, method: str) -> str:
    return estimate_text(table.overall.get(method), table)
