"""Fixtures of the add-on's tests: a fake server, clients that are in a hurry, Blender with the add-on on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_server import HURRIED, FakeServer
from synthetic_avatar import make_reconstruction

from backend.export.bundle_writer import write_bundle
from blender_addon.client import Client, Pace


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    fake = FakeServer(tmp_path)
    yield fake
    fake.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Opens clients of a connection file and closes them at the end."""
    clients: list[Client] = []

    def open_client(connection_file: Path, pace: Pace = HURRIED) -> Client:
        clients.append(Client(connection_file, "test 0", pace))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def _blender(tmp_path_factory):
    os.environ.setdefault("BLENDER_USER_RESOURCES", str(tmp_path_factory.mktemp("blender")))
    return pytest.importorskip("bpy", reason="needs Blender's module (extra `blend`)")


@pytest.fixture
def bpy(_blender):
    """The bpy module with an empty scene."""
    _blender.ops.wm.read_factory_settings(use_empty=True)
    return _blender


@pytest.fixture
def addon(bpy, tmp_path, monkeypatch):
    """The add-on switched on, with folders of its own; switched off again afterwards."""
    import addon_utils

    from blender_addon import paths, registration

    def folder(name):
        made = tmp_path / "user" / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    for module in (paths, registration):
        monkeypatch.setattr(module, "user_folder", folder)
    monkeypatch.setattr("blender_addon.operators.base.user_folder", folder)
    addon_utils.enable("blender_addon", default_set=True)
    from blender_addon import runtime

    yield runtime.get()
    addon_utils.disable("blender_addon", default_set=True)


@pytest.fixture(scope="session")
def avatar_folder(tmp_path_factory):
    """The synthetic egg as an avatar folder."""
    return write_bundle(make_reconstruction(), tmp_path_factory.mktemp("avatar") / "portrait")


@pytest.fixture
def backend(addon, monkeypatch):
    """The add-on with this environment's ``likeness`` as its installed backend."""
    from blender_addon import waiting
    from blender_addon.environment_control import EnvironmentControl

    program = Path(sys.executable).parent / "likeness"
    monkeypatch.setattr(EnvironmentControl, "program", lambda self: program)
    yield addon
    if addon.view.backend.state not in ("stopped", "absent"):
        addon.stop_backend()
        waiting.until(addon, lambda: addon.view.backend.state in ("stopped", "absent", "failed"))
