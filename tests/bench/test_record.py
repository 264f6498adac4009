"""Records: statistics on known samples, ratios round by round, files read and written whole."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from bench_records import figure, machine, record, result

from backend.bench.machine import describe
from backend.bench.record import beside, read_record, spread, write_record
from backend.errors import BadInput


def test_spread_of_known_samples() -> None:
    odd = spread((5.0, 1.0, 3.0))
    assert (odd.median, odd.least, odd.most, odd.count) == (3.0, 1.0, 5.0, 3)
    assert spread((4.0, 1.0, 2.0, 100.0)).median == 3.0  # one outlier moves the most, not the middle
    with pytest.raises(ValueError, match="nothing"):
        spread(())


def test_ratios_are_taken_round_by_round() -> None:
    ours, theirs = figure("ours", (10.0, 40.0, 20.0)), figure("theirs", (5.0, 20.0, 10.0))
    # The second round was slow for both: the ratio does not see it.
    assert beside(ours, "theirs", result(ours, theirs)) == (2.0, 2.0, 2.0)


def test_a_baseline_with_fewer_rounds_stands_with_its_median() -> None:
    ours, theirs = figure("ours", (10.0, 20.0, 40.0)), figure("theirs", (100.0,))
    assert beside(ours, "theirs", result(ours, theirs)) == (0.1, 0.2, 0.4)


def test_no_ratio_without_baseline_of_the_same_unit() -> None:
    ours = figure("ours", (10.0,))
    assert beside(ours, "theirs", result(ours)) == ()
    seconds = msgspec.structs.replace(figure("theirs", (1.0,)), unit="s")
    assert beside(ours, "theirs", result(ours, seconds)) == ()


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    made = record(result(figure("ours", (1.0, 2.0), "theirs"), figure("theirs", (3.0, 4.0))))
    write_record(path, made)
    assert read_record(path) == made
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "not a record"),
        ("no json", "not a record"),
        (msgspec.json.encode(msgspec.structs.replace(record(), schema=99)).decode(), "schema 99"),
    ],
)
def test_files_that_are_no_record(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=says):
        read_record(path)
    with pytest.raises(BadInput, match="does not exist"):
        read_record(tmp_path / "b.json")


def test_the_machine_is_described() -> None:
    found = describe()
    assert found.cpu
    assert 1 <= found.cores <= found.cores_of_the_machine
    assert found.memory_gib > 0.5
    assert found.memory_free_gib <= found.memory_gib
    assert found.versions["Python"].startswith("3.")
    assert {"Likeness", "numpy", "torch"} <= set(found.versions)
    import numpy as np

    assert found.versions["numpy"] == np.__version__
    assert "nodename" not in msgspec.to_builtins(found)
    import platform

    host = platform.node()
    assert len(host) < 4 or host not in msgspec.json.encode(found).decode()
    assert machine().cores == 2
