"""Reports and comparisons of runs whose figures are made up."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from backend.errors import BadInput
from backend.evaluation.compare import as_text, compare
from backend.evaluation.report import build_report, write_report
from backend.evaluation.results import CaseFacts, CaseResult, RunFolder, RunRecord, write_json

METHODS = ("engine:embedded", "mean-head")
METRIC = "realy_all_mm"  # lower is better


def made_up_run(root: Path, shift: float = 0.0, **changes: object) -> RunFolder:
    """Eight heads in two conditions: the engine about 1.0, the mean head 0.6 above it."""
    folder = RunFolder(root)
    rng = np.random.default_rng(0)
    facts, keys = [], {method: {} for method in METHODS}
    for head in range(8):
        for group in ("front", "turned"):
            name = f"h{head}-{group}"
            facts.append(CaseFacts(id=name, subject=f"h{head}", group=group, digest=f"d{name}", missing=()))
            base = 1.0 + 0.3 * rng.normal()
            for method in METHODS:
                value = base + (0.6 if method == "mean-head" else shift) + 0.02 * rng.normal()
                failed = name == "h3-turned" and method != "mean-head"
                picture = folder.pictures(method, name) / "geometry.png"
                picture.parent.mkdir(parents=True)
                Image.new("RGB", (8, 8), "teal").save(picture)
                keys[method][name] = "k"
                write_json(
                    folder.result_path(method, name),
                    CaseResult(
                        schema=1,
                        key="k",
                        case=name,
                        method=method,
                        metrics={METRIC: None if failed else value, "now_median_mm": None},
                        missing=("neutral mesh",),
                        pictures=() if failed else (picture.relative_to(root).as_posix(),),
                        seconds=rng.random(),
                        error="no face <found> & lost" if failed else None,
                    ),
                )
    run = RunRecord(
        schema=1,
        created_by="likeness 0",
        methods=METHODS,
        groups=("realy",),
        options={"maps": 512},
        code_version="c0de",
        cases=tuple(facts),
        keys=keys,
        unusable=("case 'x' is in 'mm'",),
    )
    write_json(root / "run.json", msgspec.structs.replace(run, **changes))
    return folder


def test_figures_by_method_and_condition(tmp_path: Path) -> None:
    report = build_report(made_up_run(tmp_path / "run"))
    (table,) = report.metrics  # what was never measured has no row
    assert table.name == METRIC
    engine, mean = (table.overall[method] for method in METHODS)
    values = [row.values["engine:embedded"][METRIC] for row in report.cases]
    assert engine.mean == pytest.approx(np.mean([v for v in values if v is not None]))
    assert engine.low < engine.mean < engine.high
    assert (engine.cases, mean.cases) == (15, 16)
    assert set(table.by_group) == {"front", "turned"}
    assert table.by_group["turned"]["engine:embedded"].cases == 7


def test_against_the_mean_head_in_pairs(tmp_path: Path) -> None:
    report = build_report(made_up_run(tmp_path / "run"))
    versus = report.metrics[0].versus_baseline["engine:embedded"]
    assert versus.difference.mean == pytest.approx(-0.6, abs=0.02)
    assert versus.certain
    assert versus.better_cases == 15
    assert "mean-head" not in report.metrics[0].versus_baseline


def test_worst_first_and_no_reconstruction_before_all(tmp_path: Path) -> None:
    report = build_report(made_up_run(tmp_path / "run"))
    assert report.cases[0].id == "h3-turned"
    values = [row.values["engine:embedded"][METRIC] for row in report.cases[1:]]
    assert values == sorted(values, reverse=True)
    with pytest.raises(BadInput, match=f"take of {METRIC}"):
        build_report(RunFolder(tmp_path / "run"), sort="nothing")


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    folder = made_up_run(tmp_path / "run")
    write_report(folder)
    names = ("report.json", "report.md", "report.html")
    first = [(folder.root / name).read_bytes() for name in names]
    write_report(folder)
    assert [(folder.root / name).read_bytes() for name in names] == first


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    folder = made_up_run(tmp_path / "run")
    folder.result_path("mean-head", "h0-front").unlink()
    report = write_report(folder)
    assert report.unfinished == ("h0-front by mean-head",)
    text = (folder.root / "report.md").read_text()
    for line in (
        "no neutral mesh",
        "h3-turned, engine:embedded: no face",
        "case 'x' is in 'mm'",
        "not finished: 1",
    ):
        assert line in text
    assert report.left_out["neutral mesh"][0] == "h0-front"
    assert "no neutral mesh: all cases" in text


def test_the_page_stands_alone(tmp_path: Path) -> None:
    folder = made_up_run(tmp_path / "run")
    write_report(folder)
    page = (folder.root / "report.html").read_text()
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    assert "http" not in page
    assert "@import" not in page
    assert page.count("data:image/jpeg;base64,") == 31  # one for each result but the one that failed
    assert "no face &lt;found&gt; &amp; lost" in page
    order = re.findall(r'data-id="([^"]+)"', page)
    assert order == [row.id for row in build_report(folder).cases]
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page).group(1)
    assert set(json.loads(data)) == set(order)


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no run\.json"):
        build_report(RunFolder(tmp_path))
    folder = made_up_run(tmp_path / "run", keys={})
    with pytest.raises(BadInput, match="no finished case"):
        build_report(folder)
    (folder.root / "run.json").write_text("{}")
    with pytest.raises(BadInput, match="cannot be read"):
        build_report(folder)


def test_comparison_finds_a_small_gain(tmp_path: Path) -> None:
    """0.05 better in every case, under a spread of 0.3 between cases."""
    a, b = made_up_run(tmp_path / "a"), made_up_run(tmp_path / "b", shift=-0.05)
    engine, mean = compare(a, b)
    (change,) = engine.changes
    assert change.difference.mean == pytest.approx(-0.05)
    assert change.certain
    assert (change.better_cases, change.worse_cases) == (15, 0)
    assert engine.failed_a == engine.failed_b == ("h3-turned",)
    (same,) = mean.changes
    assert same.difference.mean == 0
    assert not same.certain
    assert "**-0.05" in as_text(engine)


def test_two_methods_of_one_run_can_be_compared(tmp_path: Path) -> None:
    a = made_up_run(tmp_path / "a")
    (only,) = compare(a, a, "mean-head", "engine:embedded")
    assert only.changes[0].difference.mean == pytest.approx(-0.6, abs=0.02)
    assert "engine:embedded (B)" in as_text(only)


def test_only_the_same_photo_and_truth_are_paired(tmp_path: Path) -> None:
    a, b = made_up_run(tmp_path / "a"), made_up_run(tmp_path / "b")
    run = b.read_run()
    cases = list(run.cases[1:])
    cases[0] = msgspec.structs.replace(cases[0], digest="other")
    write_json(b.root / "run.json", msgspec.structs.replace(run, cases=tuple(cases)))
    engine, _ = compare(a, b)
    assert engine.only_a == ("h0-front",)
    assert engine.differing == ("h0-turned",)
    assert engine.cases == 14
    none = msgspec.structs.replace(run, cases=())
    write_json(b.root / "run.json", none)
    with pytest.raises(BadInput, match="share no case"):
        compare(a, b)
    with pytest.raises(BadInput, match="has no method 'x'; it has engine:embedded"):
        compare(a, b, "x")
