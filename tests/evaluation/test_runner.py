"""Cases × methods: what is kept, what is made again, what a failure leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image
from synthetic_avatar import make_reconstruction
from synthetic_cases import somebody, write_case

from backend.artifacts import Run
from backend.errors import BadInput
from backend.evaluation.cases import Case, read_cases
from backend.evaluation.methods import BASELINE, Options
from backend.evaluation.prediction import Prediction, read_prediction
from backend.evaluation.registry import Measure, MetricGroup, MetricInfo
from backend.evaluation.report import build_report
from backend.evaluation.results import RunFolder
from backend.evaluation.runner import Job, Progress, run_cases
from backend.export.bundle_writer import write_bundle
from backend.head.registry import load_head


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small avatar of the open head."""
    made = make_reconstruction(load_head("open"), size=64, expression={})
    return write_bundle(made, tmp_path_factory.mktemp("avatar") / "avatar")


@dataclass
class FakeMethods:
    """Answers with one avatar, and remembers what it was asked."""

    avatar: Path
    fails_on: str = ""
    stops_on: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def predict(self, case: Case, method: str, run: Run) -> Prediction:
        self.asked.append((case.id, method))
        if case.id == self.stops_on:
            raise KeyboardInterrupt
        if case.id == self.fails_on:
            raise BadInput("no face was found;\nis the photo upright?")
        run.progress("head fit", 0.5)
        return read_prediction(method, self.avatar)


def _size(case: Case, prediction: Prediction, pictures: Path) -> dict[str, float | None]:
    Image.new("RGB", (4, 4)).save(pictures / "size.png")
    return {"letters": float(len(case.id)), "unknown": None, "strange": float("nan")}


LOWER = {name: MetricInfo(name, "mm", "lower") for name in ("letters", "unknown", "strange")}
SIZE = MetricGroup(name="size", metrics=LOWER, measure=_size)
NEEDY = MetricGroup(
    name="needy",
    metrics={"needed": MetricInfo("needed", "", "higher")},
    measure=lambda case, prediction, pictures: {"needed": 1.0},
    needs=("mesh", "map albedo"),
)


def _breaks(case: Case, prediction: Prediction, pictures: Path) -> dict[str, float | None]:
    raise ValueError("the crop is empty")


BROKEN = MetricGroup(name="broken", metrics={"never": MetricInfo("never", "", "lower")}, measure=_breaks)
COUNT = MetricGroup(
    name="count",
    metrics={},
    set_metrics={"photographs": MetricInfo("photographs", "", "higher")},
    over_cases=lambda pairs: {"photographs": float(len(pairs))},
)


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    root = tmp_path / "cases"
    write_case(root, "one")
    write_case(root, "three", vertices=somebody())
    return root


def _job(cases: Path, *groups: MetricGroup, seed: int = 0) -> Job:
    found, unusable = read_cases(cases)
    return Job(found, ("engine:embedded",), groups or (SIZE,), Options(maps=512, seed=seed), unusable)


def _silent(progress: Progress) -> None:
    return None


def test_every_case_by_every_method_and_the_mean_head(tmp_path: Path, cases: Path, avatar: Path) -> None:
    folder, methods = RunFolder(tmp_path / "run"), FakeMethods(avatar)
    seen: list[Progress] = []
    run = run_cases(_job(cases), folder, methods, seen.append)
    assert run.methods == ("engine:embedded", BASELINE)  # added, though nobody asked
    assert methods.asked == [(c, m) for c in ("one", "three") for m in run.methods]
    results = folder.results(run)
    assert results["engine:embedded"]["three"].metrics == {"letters": 5.0, "unknown": None, "strange": None}
    assert results[BASELINE]["one"].pictures == ("pictures/mean-head/one/size.png",)
    assert (folder.root / results[BASELINE]["one"].pictures[0]).is_file()
    assert folder.photo("one").is_file()
    assert [(p.done, p.total) for p in seen if "head fit" in p.what] == [(i, 4) for i in range(4)]
    assert json.loads((folder.root / "run.json").read_text())["weights"][0]["licence"]


def test_a_second_run_makes_nothing_again(tmp_path: Path, cases: Path, avatar: Path) -> None:
    folder, again = RunFolder(tmp_path / "run"), FakeMethods(avatar)
    first = run_cases(_job(cases), folder, FakeMethods(avatar), _silent)
    files = {path: path.read_bytes() for path in folder.root.rglob("*.json")}
    assert run_cases(_job(cases), folder, again, _silent) == first
    assert again.asked == []
    assert {path: path.read_bytes() for path in folder.root.rglob("*.json")} == files


@pytest.mark.parametrize("changed", ["photo", "seed", "groups", "damage"])
def test_what_changed_is_made_again(tmp_path: Path, cases: Path, avatar: Path, changed: str) -> None:
    folder, again = RunFolder(tmp_path / "run"), FakeMethods(avatar)
    run_cases(_job(cases), folder, FakeMethods(avatar), _silent)
    job = _job(cases)
    if changed == "photo":
        Image.new("RGB", (64, 48), "red").save(cases / "one" / "photo.png")
        job = _job(cases)
    elif changed == "seed":
        job = _job(cases, seed=1)
    elif changed == "groups":
        job = _job(cases, SIZE, NEEDY)
    else:
        folder.result_path(BASELINE, "one").write_text('{"schema": 1, "key"')
    run_cases(job, folder, again, _silent)
    expected = {
        "photo": {("one", "engine:embedded"), ("one", BASELINE)},
        "damage": {("one", BASELINE)},
    }.get(changed, {(c, m) for c in ("one", "three") for m in ("engine:embedded", BASELINE)})
    assert set(again.asked) == expected


def test_stopped_in_the_middle_it_goes_on(tmp_path: Path, cases: Path, avatar: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run_cases(_job(cases), folder, FakeMethods(avatar, stops_on="three"), _silent)
    run = folder.read_run()  # already a run that can be reported
    results = folder.results(run)
    assert set(results["engine:embedded"]) == {"one"}
    assert not [path for path in folder.root.rglob("*") if path.name.startswith(".")]
    again = FakeMethods(avatar)
    run_cases(_job(cases), folder, again, _silent)
    assert {case for case, _ in again.asked} == {"three"}


def test_results_of_other_options_are_not_of_this_run(tmp_path: Path, cases: Path, avatar: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_cases(_job(cases), folder, FakeMethods(avatar), _silent)
    with pytest.raises(KeyboardInterrupt):
        run_cases(_job(cases, seed=1), folder, FakeMethods(avatar, stops_on="one"), _silent)
    assert not any(folder.results(folder.read_run()).values())


def test_a_photo_that_fails_does_not_end_the_run(tmp_path: Path, cases: Path, avatar: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run = run_cases(_job(cases, SIZE, COUNT), folder, FakeMethods(avatar, fails_on="one"), _silent)
    failed = folder.results(run)["engine:embedded"]["one"]
    assert failed.error == "no face was found; is the photo upright?"
    assert failed.metrics["letters"] is None
    assert folder.results(run)["engine:embedded"]["three"].error is None
    (table,) = build_report(folder).set_metrics
    assert table.values == {"engine:embedded": 1.0, BASELINE: 1.0}


def test_a_figure_over_all_cases_that_fails_is_noted(tmp_path: Path, cases: Path, avatar: Path) -> None:
    def breaks(pairs: object) -> dict[str, float | None]:
        raise ValueError("one photograph is not enough")

    folder = RunFolder(tmp_path / "run")
    group = MetricGroup(name="spread", metrics={}, over_cases=breaks)
    run_cases(_job(cases, SIZE, group, COUNT), folder, FakeMethods(avatar), _silent)
    report = build_report(folder)
    assert report.set_notes[BASELINE] == ("spread: one photograph is not enough",)
    assert report.set_metrics[0].values[BASELINE] == 2.0


def test_figures_over_other_cases_are_not_shown(tmp_path: Path, cases: Path, avatar: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_cases(_job(cases, SIZE, COUNT), folder, FakeMethods(avatar), _silent)
    folder.result_path(BASELINE, "one").unlink()
    (table,) = build_report(folder).set_metrics
    assert set(table.values) == {"engine:embedded"}


def test_missing_truth_leaves_its_metrics_out_by_name(tmp_path: Path, cases: Path, avatar: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run = run_cases(_job(cases, SIZE, NEEDY), folder, FakeMethods(avatar), _silent)
    one, three = (folder.results(run)[BASELINE][case] for case in ("one", "three"))
    assert one.missing == ("mesh", "map albedo")
    assert three.missing == ("map albedo",)
    assert one.metrics["needed"] is None
    assert one.metrics["letters"] == 3.0


def test_a_metric_that_fails_is_noted(tmp_path: Path, cases: Path, avatar: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run = run_cases(_job(cases, BROKEN, SIZE), folder, FakeMethods(avatar), _silent)
    result = folder.results(run)[BASELINE]["one"]
    assert result.notes == ("broken: the crop is empty",)
    assert result.metrics == {"never": None, "letters": 3.0, "unknown": None, "strange": None}


def test_a_metric_under_another_name_is_our_mistake(tmp_path: Path, cases: Path, avatar: Path) -> None:
    group = MetricGroup(name="typo", metrics={}, measure=lambda *_: {"lettrs": 1.0})
    folder = RunFolder(tmp_path / "run")
    run = run_cases(_job(cases, group), folder, FakeMethods(avatar), _silent)
    assert "lettrs" in folder.results(run)[BASELINE]["one"].notes[0]


@pytest.mark.parametrize("stops_on", ["", "three"])
def test_what_is_dear_is_opened_once_and_closed(
    tmp_path: Path, cases: Path, avatar: Path, stops_on: str
) -> None:
    """A group that brings Blender has it for all cases; it is closed when the run is stopped as well."""
    told: list[str] = []

    @contextmanager
    def opened() -> Iterator[Measure]:
        told.append("opened")
        try:
            yield measure
        finally:
            told.append("closed")

    def measure(case: Case, prediction: Prediction, pictures: Path) -> dict[str, float | None]:
        told.append(case.id)
        return {"letters": 1.0}

    group = MetricGroup(name="dear", metrics={"letters": LOWER["letters"]}, opened=opened)
    stopped = pytest.raises(KeyboardInterrupt) if stops_on else nullcontext()
    with stopped:
        run_cases(
            _job(cases, group), RunFolder(tmp_path / "run"), FakeMethods(avatar, stops_on=stops_on), _silent
        )
    done = ["one", "one"] if stops_on else ["one", "one", "three", "three"]
    assert told == ["opened", *done, "closed"]
