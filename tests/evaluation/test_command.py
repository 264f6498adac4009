"""``likeness evaluate`` from the outside."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from cli_runs import run_failing
from PIL import Image
from synthetic_cases import somebody, write_case

from backend.cli import main
from backend.entry_points import JoinedGroup
from backend.evaluation.results import RunFolder

DATA = Path(__file__).parents[1] / "data"


def test_bad_input_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    empty, file = tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    file.write_text("")
    cases = write_case(tmp_path / "cases", "one").parent
    out = tmp_path / "run"
    run = ["evaluate", "run"]
    for arguments, says in (
        ([*run, tmp_path / "none", "-o", out], "is not a folder of cases"),
        ([*run, empty, "-o", out], "holds no cases"),
        ([*run, cases, "-o", cases], "where the cases come from"),
        ([*run, cases, "-o", file], "is a file"),
        ([*run, cases, "-o", tmp_path / "a" / "b"], "does not exist"),
        ([*run, cases, "-o", out, "--method", "guess"], "method 'guess' is unknown"),
        ([*run, cases, "-o", out, "--metrics", "beauty"], "no metrics called 'beauty'"),
        ([*run, cases, "-o", out, "--maps", "100"], "map size 100"),
        ([*run, cases, "-o", out, "--head", "my"], "unknown head 'my'"),
        ([*run, cases], "Missing option"),
        (["evaluate", "report", empty], "is not a run"),
        (["evaluate", "compare", empty, empty], "is not a run"),
        (["evaluate", "import", "faces", empty, "-o", out], "benchmark 'faces' is unknown"),
        (["evaluate", "import", "realy", empty, "-o", out], "REALY_scan_region' is not there"),
        (["evaluate", "import", "now", empty, "-o", out], "iphone_pictures' is not there"),
        (["evaluate", "dance"], "No such command 'dance'"),
    ):
        run_failing(arguments, 2, capfd, says)
    assert not out.exists() or not any(out.iterdir())


def test_help_names_the_commands(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--help"]) == 0
    text = capfd.readouterr().out
    for name in ("run", "report", "compare", "import"):
        assert f"  {name} " in text


def test_help_needs_no_numpy() -> None:
    code = (
        "import sys; from backend.cli import main; main(['evaluate', '--help']); "
        "print([m for m in ('numpy', 'msgspec', 'scipy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_commands_of_other_packages_join(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    points = {
        "tell": EntryPoint("tell", "test_command:say_it", "likeness.evaluate"),
        "gone": EntryPoint("gone", "no_such_package:function", "likeness.evaluate"),
    }
    monkeypatch.setattr(JoinedGroup, "_entry_points", lambda group: points)
    monkeypatch.setitem(sys.modules, "test_command", sys.modules[__name__])
    assert main(["evaluate", "tell", "hello"]) == 0
    assert capfd.readouterr().out == "hello\n"
    run_failing(["evaluate", "gone"], 2, capfd, "cannot be loaded here")
    run_failing(["evaluate", "tell"], 2, capfd, "Missing argument")


def say_it(word: str) -> None:
    """Say a word."""
    print(word)


def test_failed_photos_are_reported_and_broken_cases_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A grey picture holds no face: the run goes on, the report says so; a broken case gives exit code 2."""
    cases, out = tmp_path / "cases", tmp_path / "run"
    write_case(cases, "grey", vertices=somebody())
    write_case(cases, "old", units="mm")
    assert main(["evaluate", "run", str(cases), "-o", str(out), "--maps", "512", "--metrics", "realy"]) == 2
    captured = capfd.readouterr()
    assert "case 'old' is in 'mm'" in captured.err
    assert "2 of 3: grey, mean-head\n" in captured.err  # a log tells how far it is
    assert "1 cases, 1 with failures" in captured.out
    report = json.loads((out / "report.json").read_text())
    assert "face" in report["cases"][0]["errors"]["engine:embedded"]
    assert report["metrics"] == []
    assert main(["evaluate", "report", str(out)]) == 0
    assert main(["evaluate", "compare", str(out), str(out), "--json"]) == 0


def test_processes_share_a_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A part measures its own cases only; the whole finds them done, and jobs give what one process gives."""
    cases, out = tmp_path / "cases", tmp_path / "run"
    for name in ("a", "b", "c"):
        write_case(cases, name, vertices=somebody())
    arguments = ["evaluate", "run", str(cases), "--maps", "512", "--metrics", "realy", "-o"]
    assert main([*arguments, str(out), "--part", "1/2"]) == 0
    first = RunFolder(out)
    done = sorted(path.stem for path in (out / "results" / "mean-head").iterdir())
    assert done == ["a", "c"]
    assert not (out / "report.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in (out / "results" / "mean-head").iterdir()}
    assert main([*arguments, str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert [case.id for case in first.read_run().cases] == ["a", "b", "c"]
    capfd.readouterr()
    for bad in ("3/2", "0/2", "2", "a/b"):
        run_failing([*arguments, str(out), "--part", bad], 2, capfd, "not of the form")


@pytest.mark.slow
def test_jobs_do_what_one_process_does(tmp_path: Path) -> None:
    """Pictures without a face: what every process says of them is in the one report."""
    cases = tmp_path / "cases"
    for name in ("a", "b", "c"):
        write_case(cases, name, vertices=somebody())
    arguments = ["evaluate", "run", str(cases), "--maps", "512", "--metrics", "realy", "-o"]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    assert main([*arguments, str(tmp_path / "two"), "--jobs", "2"]) == 0
    one, two = ((tmp_path / name / "report.json").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.slow
def test_a_portrait_from_photo_to_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The rendered portrait, whose person has the seed 11: the whole way once, and nothing twice."""
    with np.load(DATA / "portrait_front_truth.npz") as truth:
        points = truth["points_head"].astype(np.float64)
    folder = write_case(tmp_path / "cases", "front", vertices=somebody(11))
    np.savez(folder / "truth" / "landmarks.npz", points478_head=points)
    shutil.copy(DATA / "portrait_front.jpg", folder / "photo.jpg")
    width, height = Image.open(folder / "photo.jpg").size
    record = json.loads((folder / "case.json").read_text())
    record["photo"] = {"file": "photo.jpg", "width_px": width, "height_px": height}
    (folder / "case.json").write_text(json.dumps(record))
    out = tmp_path / "run"
    arguments = ["evaluate", "run", str(folder), "-o", str(out), "--maps", "512", "--metrics", "realy"]
    assert main(arguments) == 0
    (table,) = [
        t for t in json.loads((out / "report.json").read_text())["metrics"] if t["name"] == "realy_all_mm"
    ]
    assert set(table["overall"]) == {"engine:embedded", "mean-head", "no-delight"}
    assert table["overall"]["engine:embedded"]["mean"] < 0.8 * table["overall"]["mean-head"]["mean"]
    before = {p: p.stat().st_mtime_ns for p in RunFolder(out).avatars.rglob("avatar.json")}
    assert main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in RunFolder(out).avatars.rglob("avatar.json")} == before
