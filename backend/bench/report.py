"""Records and comparisons as Markdown, as they are printed."""

from __future__ import annotations

import statistics

from backend.bench.against import Change, Comparison
from backend.bench.record import Figure, LeftOut, Machine, Record, Result, beside, spread
from backend.bench.registry import ALL, ELSEWHERE


def machine_text(machine: Machine) -> str:
    """The machine in two lines."""
    cores = f"{machine.cores} cores"
    if machine.cores != machine.cores_of_the_machine:
        cores += f" of {machine.cores_of_the_machine}"
    load = "not told" if machine.load_at_start is None else f"{machine.load_at_start:.1f}"
    return (
        f"{machine.cpu}, {cores}, {machine.memory_gib:.0f} GiB ({machine.memory_free_gib:.0f} free), "
        f"{machine.gpu or 'no GPU'}, {machine.system}, load {load} at start\n"
        + ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    )


def result_text(result: Result) -> str:
    """One benchmark: its table, what is left out and what failed."""
    known = {benchmark.name: benchmark for benchmark in ALL}
    title = known[result.name].title if result.name in known else result.name
    lines = [f"## {title} (`likeness bench --only {result.name}`)", ""]
    if result.workload:
        load = "" if result.load_at_start is None else f" Load {result.load_at_start:.1f} at start."
        lines += [f"{result.workload}.{load}", ""]
    if result.figures:
        rounds = statistics.mode(len(figure.values) for figure in result.figures)
        lines += [f"| | median (least to most) of {rounds} | beside baselines |", "|---|---|---|"]
        lines += [_row(figure, result, rounds) for figure in result.figures] + [""]
    lines += [f"Left out: {left.what} ({left.why})." for left in result.left_out]
    if result.failed:
        lines += [f"Failed: {result.failed}."]
    return "\n".join(lines).rstrip() + "\n"


def record_text(record: Record) -> str:
    """A whole run."""
    head = f"Measured {record.made_at}, {record.repeat} rounds{', quick: small work' if record.quick else ''}"
    head += ", interrupted" if record.interrupted else ""
    parts = [f"{head}\n{machine_text(record.machine)}\n"]
    parts += [result_text(result) for result in record.results]
    return "\n".join([*parts, left_out_text(ELSEWHERE)])


def left_out_text(left_out: tuple[LeftOut, ...]) -> str:
    """What no benchmark measures."""
    return "\n".join(["Not measured here:", *(f"- {left.what}: {left.why}" for left in left_out)])


def comparison_text(comparison: Comparison) -> str:
    """What changed, the worst first, then what could not be compared."""
    lines = ["## Against the earlier run", ""]
    if comparison.other_machine:
        differ = "; ".join(comparison.other_machine)
        lines += [f"Another machine ({differ}): only ratios to baselines are judged.", ""]
    if comparison.changes:
        lines += ["| | before | now | ratio | judged by | |", "|---|---|---|---|---|---|"]
        lines += [_change_row(change) for change in sorted(comparison.changes, key=_worst_first)] + [""]
    for words, names in (
        ("another workload, not compared", comparison.differing),
        ("only in the earlier run", comparison.only_before),
        ("only now", comparison.only_after),
    ):
        if names:
            lines.append(f"{words}: {', '.join(names)}")
    worse = comparison.with_verdict("worse")
    told = sum(change.verdict not in ("cannot tell", "baseline") for change in comparison.changes)
    if worse:
        slower = ", ".join(f"{c.benchmark}: {c.figure} ({c.ratio:.2f}×)" for c in worse)
        lines.append(f"Worse beyond the spread: {slower}.")
    else:
        lines.append(f"Nothing is worse beyond the spread ({told} figures judged).")
    return "\n".join(lines)


def _worst_first(change: Change) -> tuple[int, float]:
    order = ("worse", "better", "within the spread", "cannot tell", "baseline")
    return order.index(change.verdict), -abs(change.ratio - 1)


def _row(figure: Figure, result: Result, rounds: int) -> str:
    s = spread(figure.values)
    text = number(s.median)
    if s.count > 1:
        text += f" ({number(s.least)} to {number(s.most)})"
    text += f" {figure.unit}"
    if s.count != rounds:
        text += f", of {s.count}"
    ratios = []
    for baseline in figure.baselines:
        if values := beside(figure, baseline, result):
            r = spread(values)
            ends = f" ({number(r.least)} to {number(r.most)})" if r.count > 1 else ""
            ratios.append(f"{number(r.median)}{ends} × {baseline}")
    return f"| {figure.name} | {text} | {'; '.join(ratios)} |"


def _change_row(change: Change) -> str:
    verdict = f"**{change.verdict}**" if change.verdict in ("worse", "better") else change.verdict
    verdict += f": {change.why}" if change.why else ""
    before, now = f"{number(change.before)} {change.unit}", f"{number(change.after)} {change.unit}"
    judged = f"its ratio to {change.beside}" if change.beside else "itself"
    judged = "" if change.verdict == "baseline" else judged
    cells = (f"{change.benchmark}: {change.figure}", before, now, f"{change.ratio:.2f}", judged, verdict)
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """About three digits that matter."""
    size = abs(value)
    if 0 < size < 0.1:
        return f"{value:.2g}"
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2}f}"
