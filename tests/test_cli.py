"""The command line: usage errors, exit codes, one line per error."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from backend.cli import main
from backend.errors import BadInput, Cancelled, Missing, OutOfResources
from backend.failures import exit_code_of, one_line


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["reconstruct"],
        ["reconstruct", "a.jpg"],
        ["render", "avatar", "-o", "x.png", "--size", "many"],
        ["reconstruct", "a.jpg", "-o", "out", "--face", "-1"],
    ],
)
def test_usage_errors_are_one_line_and_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.err.startswith("likeness: ")


def test_help_needs_no_heavy_library() -> None:
    heavy = "numpy torch cv2 mediapipe numba scipy bpy rich.progress"
    code = (
        "import sys; from backend.cli import main; main(['--help']); "
        f"loaded = [m for m in '{heavy}'.split() if m in sys.modules]; sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "reconstruct" in done.stdout


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("x"), 2),
        (Missing("x"), 3),
        (OutOfResources("x"), 4),
        (Cancelled("x"), 130),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 4),
        (OSError(errno.ENOSPC, "No space left on device", "avatar.json"), 4),
        (ValueError("x"), 1),
    ],
)
def test_exit_codes(error: BaseException, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where a bug's report goes
    assert exit_code_of(error) == code
    assert "\n" not in one_line(error)
    assert len(list(tmp_path.iterdir())) == (1 if code == 1 else 0)


def test_a_bug_leaves_a_report_with_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try:
        raise ValueError("the cause")
    except ValueError as error:
        line = one_line(error)
    (report,) = tmp_path.iterdir()
    assert str(report) in line
    assert "the cause" in report.read_text(encoding="utf-8")


def test_a_missing_photo_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["reconstruct", str(tmp_path / "nobody.jpg"), "-o", str(out)]) == 2
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 1
    assert "nobody.jpg" in captured.err
    assert not out.exists() or not list(out.iterdir())
