"""How long ``likeness --help`` takes, beside a Python that starts and imports nothing."""

from __future__ import annotations

import subprocess
import sys

from backend.bench.sheet import Setting, Sheet, in_turns, main

OURS, PYTHON = "likeness --help", "python -c pass"


def measure(setting: Setting, sheet: Sheet) -> None:
    """Both once a round, in processes of their own."""
    sheet.workload("seconds from the start of a process to its end")
    help_code = "import sys; from backend.cli import main; sys.exit(main(['--help']))"

    def run(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)

    works = {OURS: lambda: run(help_code), PYTHON: lambda: run("pass")}
    works[OURS]()  # its files are read once
    in_turns(sheet, works, setting.repeat, OURS, unit="s")


if __name__ == "__main__":
    sys.exit(main(measure))
