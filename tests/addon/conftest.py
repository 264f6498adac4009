"""Fixtures of the add-on's tests: a fake server, and clients that are in a hurry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_server import HURRIED, FakeServer

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
