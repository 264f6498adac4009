"""Fixtures: a server with fake workers and clients of it, all ended after the test."""

from __future__ import annotations

import contextlib

import pytest
from harness import Client, Server


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def start(data):
    """``start(*arguments)`` gives a server process."""
    with contextlib.ExitStack() as stack:

        def run(*arguments: str, folder=data, wait: bool = True) -> Server:
            server = Server(folder, *arguments, wait=wait)
            stack.callback(server.stop)
            return server

        yield run


@pytest.fixture
def server(start):
    return start()


@pytest.fixture
def connect():
    """``connect(server)`` gives a client that has said Hello."""
    with contextlib.ExitStack() as stack:

        def run(server: Server, connection=None, hello: bool = True) -> Client:
            client = Client(connection or server.connection)
            stack.callback(client.close)
            if hello:
                client.hello()
            return client

        yield run


@pytest.fixture
def client(server, connect):
    return connect(server)
