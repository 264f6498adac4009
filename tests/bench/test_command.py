"""``likeness bench`` from the outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_records import figure, record, result
from cli_runs import run_failing

from backend.bench.record import read_record, write_record
from backend.cli import main


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "nothing"], "there is no benchmark called 'nothing'"),
        (["--only", ","], "needs a name"),
        (["--against", "{folder}/none.json"], "does not exist"),
        (["-o", "{folder}/there.json"], "exists; give a new file"),
        (["-o", "{folder}/no/where.json"], "does not exist; create it"),
        (["--photo", "{folder}/none.jpg"], "photo"),
        (["--avatar", "{folder}"], "not an avatar folder"),
        (["--show", "{folder}/there.json", "--only", "path"], "measures nothing"),
        (["--repeat", "0"], "--repeat"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    write_record(tmp_path / "there.json", record())
    filled = [argument.replace("{folder}", str(tmp_path)) for argument in arguments]
    run_failing(["bench", *filled], 2, capfd, says)


def test_two_files_are_compared_without_measuring(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_record(tmp_path / "a.json", record(result(figure("ours", (1.0, 1.1, 1.2, 1.0, 1.2)))))
    write_record(tmp_path / "b.json", record(result(figure("ours", (2.0, 2.1, 2.2, 2.0, 2.2)))))
    assert main(["bench", "--show", str(tmp_path / "b.json"), "--against", str(tmp_path / "a.json")]) == 0
    printed = capfd.readouterr().out
    assert "2.10 (2.00 to 2.20) ms" in printed
    assert "Worse beyond the spread: rasteriser: ours (1.91×)." in printed


def test_a_measurement_is_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.json"
    assert main(["bench", "--only", "cli", "--repeat", "1", "-o", str(path)]) == 0
    kept = read_record(path)
    assert [r.name for r in kept.results] == ["cli"]
    assert {f.name for f in kept.results[0].figures} == {"likeness --help", "python -c pass"}
    assert "× python -c pass" in capfd.readouterr().out
