"""Benchmarks as processes: values kept, reasons told, one that fails does not stop the others."""

from __future__ import annotations

import _thread
import importlib.util
import os
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from backend.bench import registry, runner
from backend.bench.registry import ALL, SCRIPTS, Benchmark, choose
from backend.bench.report import result_text
from backend.bench.runner import Asked, Interrupted, run_all, run_one
from backend.errors import BadInput

HEAD = """
import os, sys, time
from pathlib import Path
from backend.bench.sheet import main
from backend.errors import Missing
def measure(setting, sheet):
    sheet.workload("made up")
    for number in range(setting.repeat):
        sheet.value("ours", number + 1, "ms", "theirs")
"""
TAIL = "\nsys.exit(main(measure))\n"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that makes a benchmark whose process goes on with ``then`` after its values."""
    monkeypatch.setattr(runner, "SCRIPTS", tmp_path)

    def make(name: str, then: str = "") -> Benchmark:
        (tmp_path / f"{name}.py").write_text(HEAD + textwrap.indent(textwrap.dedent(then), "    ") + TAIL)
        return Benchmark(name, name, "", script=f"{name}.py")

    return make


def quiet(*_: str) -> None:
    return None


def test_values_come_back_in_order(made) -> None:
    told: list[str] = []
    result = run_one(made("good"), Asked(repeat=3), told.append)
    assert result.failed is None
    assert result.workload == "made up"
    (figure,) = result.figures
    assert (figure.name, figure.values, figure.unit) == ("ours", (1.0, 2.0, 3.0), "ms")
    assert figure.baselines == ("theirs",)


@pytest.mark.parametrize(
    ("then", "says"),
    [
        ("raise ValueError('the picture\\nis black')", "ValueError: the picture is black"),
        ("print('driver lost', file=sys.stderr, flush=True); os.abort()", "it said last: driver lost"),
        ("time.sleep(600)", "it took longer than 2 s"),
    ],
)
def test_one_that_fails_says_why_and_the_others_go_on(made, then: str, says: str) -> None:
    asked = Asked(repeat=2, limit_s=2.0)
    bad, good = list(run_all([made("bad", then), made("good")], asked, quiet))
    assert bad.failed is not None
    assert says in bad.failed
    assert bad.figures[0].values == (1.0, 2.0)  # what was measured before stays
    assert good.failed is None
    assert says in result_text(bad)


def test_what_is_missing_is_left_out_and_not_a_failure(made) -> None:
    absent = run_one(made("absent", "import no_such_module"), Asked(repeat=1), quiet)
    assert absent.failed is None
    assert "'no_such_module' is not installed" in absent.left_out[0].why
    needing = Benchmark("needing", "", "", module="backend.bench.start", needs=("no_such_module",))
    assert "not installed" in run_one(needing, Asked(), quiet).left_out[0].why
    gone = Benchmark("gone", "", "", script="gone.py")
    assert "run from a checkout" in run_one(gone, Asked(), quiet).left_out[0].why


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_ctrl_c_keeps_what_was_measured_and_ends_what_was_started(made, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    then = f"""
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path({str(pid_file)!r}).write_text(str(child.pid))
        time.sleep(600)
    """

    def interrupt() -> None:
        until = time.monotonic() + 60
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted) as stopped:
        run_one(made("long", then), Asked(repeat=2), quiet)
    assert stopped.value.result.figures[0].values == (1.0, 2.0)
    assert stopped.value.result.failed == "interrupted"
    until = time.monotonic() + 20
    while _runs(int(pid_file.read_text())) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(int(pid_file.read_text()))


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_registry_is_whole() -> None:
    names = [benchmark.name for benchmark in ALL]
    assert len(set(names)) == len(names)
    assert set(names) >= {"rasteriser", "unwrap", "shader", "server", "path", "worker", "import", "splats"}
    for benchmark in ALL:
        assert bool(benchmark.module) != bool(benchmark.script), benchmark.name
        assert benchmark.title
        assert benchmark.beside
        if benchmark.module:
            assert importlib.util.find_spec(benchmark.module) is not None
        else:
            assert (SCRIPTS / benchmark.script).is_file()


def test_every_command_in_the_docs_is_known() -> None:
    """`likeness bench --only NAME` in docs/benchmarks.md names benchmarks, and each of them is named."""
    text = (SCRIPTS.parent / "docs" / "benchmarks.md").read_text()
    named = {word for part in text.split("likeness bench --only ")[1:] for word in _names(part)}
    assert named == {benchmark.name for benchmark in ALL}


def _names(text: str) -> list[str]:
    words = ""
    for letter in text:
        if not (letter.isalnum() or letter in "-,"):
            break
        words += letter
    return words.split(",")


def test_choosing() -> None:
    assert [b.name for b in choose(["shader", "rasteriser"])] == ["rasteriser", "shader"]
    assert choose([]) == registry.ALL
    with pytest.raises(BadInput, match="'nothing'; take of rasteriser"):
        choose(["nothing"])


def test_a_tiny_real_measurement() -> None:
    """The rasteriser beside its twin: both have values, ours has one for every round."""
    benchmark = next(b for b in ALL if b.name == "rasteriser")
    result = run_one(benchmark, Asked(repeat=2, quick=True), quiet)
    assert result.failed is None, result.failed
    figures = {figure.name: figure for figure in result.figures}
    assert len(figures["numba"].values) == 2
    assert all(value > 0 for figure in result.figures for value in figure.values)
    assert "plain twin (numpy)" in figures["numba"].baselines
    assert "% covered" in result.workload
    assert "× plain twin (numpy)" in result_text(result)
    assert sys.executable
