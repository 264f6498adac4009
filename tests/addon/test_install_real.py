"""The installer with nothing faked: a tiny wheel into a real environment of a real Python."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from fake_runner import DOCTOR, make_wheel

from blender_addon.environment import Environment
from blender_addon.install import Installation, InstallError, Progress, Request
from blender_addon.pythons import this_host
from blender_addon.runner import SystemRunner

BODY = f"import json\ndef main():\n    print(json.dumps({DOCTOR!r}))\n    return 3\n"


def offline_torch(folder: Path) -> None:
    """A package that calls itself torch 2.13.0, where pip is told to look."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "torch-2.13.0-py3-none-any.whl", "w") as archive:
        archive.writestr("torch.py", "version = 'none'\n")
        info = "torch-2.13.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def fetched_pip(folder: Path) -> Path:
    """The newest pip's wheel, from wherever this machine's pip gets packages."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), "pip>=24.1"]
    subprocess.run(command, check=False, timeout=120)
    found = list(folder.glob("pip-*.whl"))
    if not found:
        pytest.skip("no package index can be reached")
    return found[0]


@pytest.mark.slow
def test_from_nothing_to_uninstalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_pip = fetched_pip(tmp_path / "pip")
    offline_torch(tmp_path / "packages")
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_FIND_LINKS": str(tmp_path / "packages"),
    }.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "an artist's folder" / "backend"
    place, wheel = Environment(folder), make_wheel(tmp_path / "wheel", body=BODY)
    seen: list[Progress] = []

    def install() -> None:
        installation = Installation(
            Request(folder, wheel, True, sys.executable), host=this_host(), on_progress=seen.append
        )
        installation.start()
        installation.wait(300)

    # without an index there is no newer pip
    with pytest.raises(InstallError, match="package server cannot be reached"):
        install()
    assert place.state(wheel) == "partial"
    new_pip.rename(tmp_path / "packages" / new_pip.name)
    install()
    assert place.state(wheel) == "ready"
    assert seen[-1].fraction == 1.0
    versions = subprocess.run(
        [str(place.python), "-c", "import torch, dummy_backend; print(torch.version)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert versions.stdout.strip() == "none"
    wheel = make_wheel(tmp_path / "newer", body=BODY + "marker = 2\n")
    assert place.state(wheel) == "outdated"
    install()
    assert "marker" in next(place.venv.rglob("dummy_backend.py")).read_text()
    assert place.uninstall() > 1_000_000
    assert place.state(wheel) == "absent"


def test_cancel_kills_the_program_at_once(tmp_path: Path) -> None:
    runner = SystemRunner()
    lines: list[str] = []
    code: list[int] = []
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )

    def run() -> None:
        code.append(runner.run([sys.executable, "-c", script], {}, tmp_path, lines.append))

    thread = threading.Thread(target=run)
    thread.start()
    end = time.monotonic() + 20
    while not lines and time.monotonic() < end:
        time.sleep(0.01)
    runner.kill()
    thread.join(10)  # not before the child's end of the pipe is closed too
    assert not thread.is_alive()
    assert code == [-9]
    with pytest.raises(FileNotFoundError):
        runner.run([sys.executable, "-c", ""], {}, tmp_path, lines.append)


def test_short_commands(tmp_path: Path) -> None:
    runner = SystemRunner()
    answer = runner.ask([sys.executable, "-c", "print('x'); raise SystemExit(5)"], {}, 20.0)
    assert answer is not None
    assert (answer.code, answer.text) == (5, "x\n")
    assert runner.ask([str(tmp_path / "nothing")], {}, 5.0) is None
    assert runner.ask([sys.executable, "-c", "import time; time.sleep(60)"], {}, 0.3) is None
