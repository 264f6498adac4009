"""Verdicts on made-up runs whose answer is known."""

from __future__ import annotations

import msgspec
import pytest
from bench_records import figure, machine, record, result

from backend.bench.against import compare, judge
from backend.bench.record import Record
from backend.bench.report import comparison_text

QUIET = (10.0, 10.2, 10.4, 10.1, 10.3)
SLOW, FAST = (12.0, 12.1, 12.5, 12.2, 12.3), (8.0, 8.1, 8.5, 8.2, 8.3)


def verdict_of(before: Record, after: Record, name: str = "ours") -> str:
    return next(c.verdict for c in compare(before, after).changes if c.figure == name)


@pytest.mark.parametrize(
    ("after", "better", "verdict"),
    [
        (SLOW, "lower", "worse"),
        (SLOW, "higher", "better"),
        (FAST, "lower", "better"),
        (FAST, "higher", "worse"),
        ((10.35, 12.1, 14.0, 14.1, 14.2), "lower", "within the spread"),  # slower, but the ranges meet
        ((10.41, 10.42, 10.43, 10.44, 10.45), "lower", "within the spread"),  # apart, by too little to matter
        (SLOW * 4, "lower", "worse"),
        ((*SLOW * 4, 10.0), "lower", "worse"),  # one lucky round in many
        ((*SLOW, 10.0), "lower", "within the spread"),  # one in few
        ((99.0,) * 4, "lower", "cannot tell"),
    ],
)
def test_judge(after: tuple[float, ...], better: str, verdict: str) -> None:
    assert judge(QUIET, after, better)[0] == verdict


def test_without_baseline_the_figure_itself_is_judged() -> None:
    slow = [2 * value for value in QUIET]
    assert verdict_of(record(result(figure("ours", QUIET))), record(result(figure("ours", slow)))) == "worse"


def test_a_busier_machine_is_not_called_a_regression() -> None:
    """Everything takes twice as long now, the baseline too."""
    slow = [2 * value for value in QUIET]
    before = record(result(figure("ours", QUIET, "theirs"), figure("theirs", QUIET)))
    after = record(result(figure("ours", slow, "theirs"), figure("theirs", slow)))
    compared = compare(before, after)
    ours = compared.changes[0]
    assert (ours.verdict, ours.beside, ours.ratio) == ("within the spread", "theirs", 1.0)
    assert ours.after == pytest.approx(2 * ours.before)
    assert compared.changes[1].verdict == "baseline"
    assert "Nothing is worse" in comparison_text(compared)


def test_a_regression_behind_a_faster_machine_is_seen() -> None:
    """The machine became twice as fast, we did not."""
    fast = [value / 2 for value in QUIET]
    before = record(result(figure("ours", QUIET, "theirs"), figure("theirs", QUIET)))
    after = record(result(figure("ours", QUIET, "theirs"), figure("theirs", fast)), on=machine("another"))
    compared = compare(before, after)
    assert compared.changes[0].verdict == "worse"
    assert compared.changes[0].ratio == pytest.approx(2.0)
    text = comparison_text(compared)
    assert "Worse beyond the spread: rasteriser: ours (2.00×)." in text
    assert "processor: a processor, now another" in text


def test_a_busy_machine_is_told_beside_the_verdict() -> None:
    slow = result(figure("ours", SLOW))
    after = record(msgspec.structs.replace(slow, load_at_start=9.3))
    change = compare(record(result(figure("ours", QUIET))), after).changes[0]
    assert (change.verdict, change.why) == ("worse", "busy machine, load 9 on 2 cores")
    calm = record(msgspec.structs.replace(slow, load_at_start=1.9))
    assert compare(record(result(figure("ours", QUIET))), calm).changes[0].why == ""


def test_another_machine_says_nothing_of_bare_times() -> None:
    slow = [2 * value for value in QUIET]
    before = record(result(figure("ours", QUIET)))
    after = record(result(figure("ours", slow)), on=machine(cores=64))
    change = compare(before, after).changes[0]
    assert (change.verdict, change.why) == ("cannot tell", "another machine, and no baseline")


def test_a_baseline_measured_once_does_not_judge() -> None:
    """One value of a slow twin would put its own chance into every ratio."""
    before = record(result(figure("ours", QUIET, "twin"), figure("twin", (1000.0,))))
    after = record(result(figure("ours", QUIET, "twin"), figure("twin", (3000.0,))))
    change = compare(before, after).changes[0]
    assert (change.beside, change.verdict) == (None, "within the spread")


def test_the_next_baseline_judges_where_the_first_is_gone() -> None:
    ours = figure("ours", QUIET, "embree", "plain")
    before = record(result(ours, figure("embree", QUIET), figure("plain", QUIET)))
    after = record(result(ours, figure("plain", QUIET)))
    compared = compare(before, after)
    assert compared.changes[0].beside == "plain"
    assert compared.only_before == ("rasteriser: embree",)


def test_other_workloads_and_lone_figures_are_named() -> None:
    before = record(result(figure("ours", QUIET)), result(figure("old", QUIET), name="path"))
    after = record(
        result(figure("ours", QUIET), workload="a cube"), result(figure("new", QUIET), name="path")
    )
    compared = compare(before, after)
    assert compared.changes == ()
    assert compared.differing == ("rasteriser",)
    assert compared.only_before == ("path: old",)
    assert compared.only_after == ("path: new",)
    text = comparison_text(compared)
    assert "another workload, not compared: rasteriser" in text
    assert "only now: path: new" in text


def test_the_worst_stands_first() -> None:
    half, double = [v / 2 for v in QUIET], [v * 2 for v in QUIET]
    before = record(result(figure("a", QUIET), figure("b", QUIET), figure("c", QUIET)))
    after = record(result(figure("a", QUIET), figure("b", half), figure("c", double)))
    rows = [line for line in comparison_text(compare(before, after)).splitlines() if "rasteriser: " in line]
    assert [row.split("|")[1].strip() for row in rows[:3]] == [
        "rasteriser: c",
        "rasteriser: b",
        "rasteriser: a",
    ]
