"""The command itself with the makers that users run: killed, resumed, shared between workers."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.training.schema import SHARD_FOLDER
from backend.training.verify import verify

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PEOPLE = 4


def _begun(folder: Path, *options: str) -> subprocess.Popen[str]:
    run = "import sys; from backend.cli import main; sys.exit(main())"
    sizes = ("--preset", "smoke", "--path", "transfer", "--count", str(PEOPLE), "--per-person", "1")
    return subprocess.Popen(
        [sys.executable, "-c", run, "synth", "run", *sizes, "--seed", "3", "-o", str(folder), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def _digests(folder: Path) -> dict[str, str]:
    files = [folder / "manifest.json", *sorted((folder / SHARD_FOLDER).iterdir())]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_one_worker_killed_and_resumed_and_two_workers_make_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("embreex")
    killed, together = tmp_path / "killed", tmp_path / "together"
    process = _begun(killed)
    limit = time.monotonic() + 300
    while not any(p.name.isdigit() for p in killed.glob(".parts/*")):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert verify(killed).problems != ()
    for folder, options in ((killed, ("--resume",)), (together, ("--workers", "2"))):
        process = _begun(folder, *options)
        _, said = process.communicate(timeout=600)
        assert process.returncode == 0, said
    assert _digests(killed) == _digests(together)
    assert verify(killed).problems == ()
    assert verify(killed).records == {"instances": PEOPLE, "heads": PEOPLE}
