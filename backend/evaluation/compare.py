"""Two runs side by side: what changed, on the cases that both have, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from backend.errors import BadInput
from backend.evaluation.registry import info_of
from backend.evaluation.report import Estimate, as_estimate
from backend.evaluation.results import CaseResult, RunFolder
from backend.evaluation.statistics import paired_difference


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One metric in A and in B."""

    metric: str
    label: str
    unit: str
    better: str
    decimals: int
    mean_a: float
    mean_b: float
    difference: Estimate  # B − A
    better_cases: int  # where B is better
    worse_cases: int
    certain: bool  # the interval of the difference lies on one side of 0


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """``likeness evaluate compare A B`` for one pair of methods."""

    method_a: str
    method_b: str
    cases: int  # that both have with the same photo and truth
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    differing: tuple[str, ...]  # in both under one id, but not the same files
    failed_a: tuple[str, ...]
    failed_b: tuple[str, ...]
    changes: tuple[Change, ...]


def compare(
    a: RunFolder, b: RunFolder, method_a: str | None = None, method_b: str | None = None
) -> tuple[Comparison, ...]:
    """What differs between the runs ``a`` and ``b``: for every method that both have, or for the two named.

    Naming one alone means the same in both runs. Cases whose photo or truth differ are set aside and named.
    Raises: BadInput when a folder is no run, a method is not in it, or nothing is shared.
    """
    run_a, run_b = a.read_run(), b.read_run()
    for name, run, folder in ((method_a, run_a, a), (method_b, run_b, b)):
        if name is not None and name not in run.methods:
            raise BadInput(f"'{folder.root}' has no method '{name}'; it has {', '.join(run.methods)}")
    if method_a or method_b:
        pairs = [(method_a or method_b or "", method_b or method_a or "")]
        if pairs[0][0] not in run_a.methods or pairs[0][1] not in run_b.methods:
            raise BadInput(f"method '{method_a or method_b}' is not in both runs; name one for each")
    else:
        pairs = [(method, method) for method in run_a.methods if method in run_b.methods]
    if not pairs:
        raise BadInput("the two runs share no method; name one of each with --method-a and --method-b")
    digests_a = {case.id: case.digest for case in run_a.cases}
    digests_b = {case.id: case.digest for case in run_b.cases}
    same = [case for case in digests_a if digests_b.get(case) == digests_a[case]]
    if not same:
        raise BadInput("the two runs share no case with the same photo and truth; nothing can be paired")
    subjects = {case.id: case.subject for case in run_a.cases}
    results_a, results_b = a.results(run_a), b.results(run_b)
    return tuple(
        Comparison(
            method_a=first,
            method_b=second,
            cases=len(same),
            only_a=tuple(sorted(set(digests_a) - set(digests_b))),
            only_b=tuple(sorted(set(digests_b) - set(digests_a))),
            differing=tuple(sorted((set(digests_a) & set(digests_b)) - set(same))),
            failed_a=_failed(results_a[first], same),
            failed_b=_failed(results_b[second], same),
            changes=_changes(results_a[first], results_b[second], same, subjects),
        )
        for first, second in pairs
    )


def as_text(comparison: Comparison) -> str:
    """The comparison as a Markdown table."""
    same = comparison.method_a == comparison.method_b
    title = comparison.method_a if same else f"{comparison.method_a} (A), {comparison.method_b} (B)"
    lines = [f"## {title}", "", f"{comparison.cases} shared cases; **bold**: the interval leaves out 0.", ""]
    lines += ["| | A | B | B − A | B better | worse |", "|---|---|---|---|---|---|"]
    for change in comparison.changes:
        d, difference = change.decimals, change.difference
        text = f"{difference.mean:+.{d}f}"
        if difference.low is not None and difference.high is not None:
            text += f" [{difference.low:+.{d}f}, {difference.high:+.{d}f}]"
        text = f"**{text}**" if change.certain else text
        unit = f" [{change.unit}]" if change.unit else ""
        arrow = "↓" if change.better == "lower" else "↑"
        lines.append(
            f"| {change.label}{unit} {arrow} | {change.mean_a:.{d}f} | {change.mean_b:.{d}f} | {text} "
            f"| {change.better_cases} | {change.worse_cases} |"
        )
    for words, cases in (
        ("only in A", comparison.only_a),
        ("only in B", comparison.only_b),
        ("not the same files in A and B, left out", comparison.differing),
        ("no reconstruction in A", comparison.failed_a),
        ("no reconstruction in B", comparison.failed_b),
    ):
        if cases:
            lines += ["", f"{words}: {', '.join(cases)}"]
    return "\n".join(lines)


def _failed(results: Mapping[str, CaseResult], cases: list[str]) -> tuple[str, ...]:
    return tuple(case for case in cases if case in results and results[case].error is not None)


def _changes(
    a: Mapping[str, CaseResult],
    b: Mapping[str, CaseResult],
    cases: list[str],
    subjects: Mapping[str, str],
) -> tuple[Change, ...]:
    shared = [case for case in cases if case in a and case in b]
    names = dict.fromkeys(name for case in shared for name in a[case].metrics)
    changes = []
    for name in names:
        pairs = [
            (case, x, y)
            for case in shared
            if (x := a[case].metrics.get(name)) is not None and (y := b[case].metrics.get(name)) is not None
        ]
        if not pairs:
            continue
        before, after = [x for _, x, _ in pairs], [y for _, _, y in pairs]
        pair = paired_difference(before, after, [subjects[case] for case, _, _ in pairs])
        info = info_of(name)
        higher = len(pairs) - pair.lower_in_b - pair.equal
        better, worse = (pair.lower_in_b, higher) if info.better == "lower" else (higher, pair.lower_in_b)
        changes.append(
            Change(
                metric=name,
                label=info.label,
                unit=info.unit,
                better=info.better,
                decimals=info.decimals,
                mean_a=sum(before) / len(before),
                mean_b=sum(after) / len(after),
                difference=as_estimate(pair.difference),
                better_cases=better,
                worse_cases=worse,
                certain=pair.is_certain,
            )
        )
    return tuple(changes)
