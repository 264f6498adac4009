"""The command line from the outside, for the tests: run it, expect one line, list what it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.cli import main


def run_failing(
    arguments: list[str | Path], code: int, capfd: pytest.CaptureFixture[str], says: str = ""
) -> str:
    """Run the command line; it must exit with ``code`` and ONE line on stderr that holds ``says``."""
    assert main([str(a) for a in arguments]) == code
    captured = capfd.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("likeness: ")
    assert says in lines[0], lines[0]
    assert "Traceback" not in lines[0]
    return lines[0]


def files_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
