"""Fixtures: Blenders as processes, servers on data folders, small disks. All are ended after the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults_kit import FAKE_WORKER, HERE, LIKENESS, Addon, Blender, end_server, wait_until

from blender_addon.client import Client
from blender_addon.connection import CONNECTION_NAME
from blender_addon.environment_control import EnvironmentControl


@pytest.fixture
def blender(tmp_path: Path) -> Iterator[Any]:
    """``blender()`` starts one; all share a user folder, and so a server, unless told otherwise."""
    started: list[Blender] = []

    def start(resources: Path | None = None, program: Path = LIKENESS) -> Blender:
        pytest.importorskip("bpy", reason="needs Blender's module (extra `blend`)")
        folder = resources or tmp_path / "user"
        folder.mkdir(exist_ok=True)
        started.append(Blender(folder, program))
        return started[-1]

    yield start
    for one in started:
        one.kill()
    for data in {one.data for one in started}:
        end_server(data)


@pytest.fixture
def observer() -> Iterator[Any]:
    """``observer(data)`` gives a client of the server there, which it waits for."""
    clients: list[Client] = []

    def connect(data: Path) -> Client:
        clients.append(Client(data / CONNECTION_NAME, "observer"))
        wait_until(lambda: clients[-1].connected)
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cached stages of the portrait, so that a later job takes seconds."""
    folder = tmp_path_factory.mktemp("warm")
    blender = Blender(folder)
    try:
        blender.reconstruct()
        assert "ok" in (answer := blender.answer()), answer
        blender.quit()
    finally:
        blender.kill()
        end_server(blender.data)
    return blender.data / "cache"


@pytest.fixture
def warm(stages: Path) -> Any:
    """``warm(data)`` puts the portrait's stages into the cache of a data folder."""

    def copy(data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copytree(stages, data / "cache", dirs_exist_ok=True)

    return copy


@pytest.fixture
def addon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``addon(program, …)`` gives one whose backend is ``program``."""
    made: list[Addon] = []

    def make(
        program: Path, *, folder: Path = tmp_path, data: Path | None = None, remote: Path | None = None
    ) -> Addon:
        monkeypatch.setattr(EnvironmentControl, "program", lambda self: program)
        own = data or tmp_path / "data"
        own.mkdir(exist_ok=True)
        made.append(Addon(folder, own, remote))
        return made[-1]

    yield make
    for one in made:
        one.runtime.close()
        end_server(one.data)


@pytest.fixture
def pretending(tmp_path: Path) -> Any:
    """``pretending(code)`` gives a backend command: the real server with workers that only pretend.

    ``code`` runs in the server's process before it starts.
    """

    def make(code: str = "") -> Path:
        program = tmp_path / "likeness-pretending"
        worker = [sys.executable, str(FAKE_WORKER)]
        program.write_text(
            f"#!{sys.executable}\n"
            "import sys\n"
            f"sys.path[:0] = [{str(HERE.parents[1])!r}]\n"
            f"{code}\n"
            "import backend.cli, backend.server.pool as pool\n"
            f"pool.worker_command = lambda data: lambda device: [*{worker!r},"
            " '--device', device, '--data', str(data)]\n"
            "sys.exit(backend.cli.main())\n"
        )
        program.chmod(0o700)
        return program

    return make


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Any]:
    """``disk(name, size)`` is a folder on a disk of its own; ``disk.change(folder, options)`` remounts it."""
    mounted: list[Path] = []

    class Disk:
        def __call__(self, name: str, size: str) -> Path:
            folder = tmp_path / name
            folder.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
            if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
                pytest.skip("disks of a given size can be made by root only")
            mounted.append(folder)
            return folder

        def change(self, folder: Path, options: str) -> None:
            subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    yield Disk()
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
