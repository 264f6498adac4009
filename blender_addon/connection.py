"""The connection file: where a running server listens and the keys to talk to it. No Blender, no backend.

The server writes it (mode 0600, atomically) and removes it when it stops; clients only read it. For a
server on another machine an artist gets such a file by hand (docs/remote.md).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

ALREADY_RUNS = "already runs on"  # in the last words of a server that found another one on its data folder
CONNECTION_NAME = "connection.json"  # in the server's data folder


class ConnectionFileError(ValueError):
    """The connection file is missing or unusable; the text is one line for the user."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a client needs. Keys are Z85 text of 40 characters."""

    protocol: int
    server: str  # "likeness 0.1.0"
    pid: int | None  # of the server; None when it runs on another machine
    commands: str  # ZeroMQ endpoint
    events: str  # ZeroMQ endpoint
    server_public_key: str
    client_public_key: str
    client_secret_key: str


def read_connection(path: Path) -> Connection:
    """Read and check a connection file. Raises: ConnectionFileError."""
    try:
        connection = msgspec.json.decode(path.read_bytes(), type=Connection)
    except FileNotFoundError as error:
        raise ConnectionFileError(f"no backend is running ('{path}' is not there); start it") from error
    except OSError as error:
        raise ConnectionFileError(
            f"'{path}' cannot be read ({error.strerror}); check its permissions"
        ) from error
    except msgspec.MsgspecError as error:
        raise ConnectionFileError(
            f"'{path}' is not a connection file ({error}); start the backend again, "
            "or have the file made again where it runs elsewhere"
        ) from error
    keys = (connection.server_public_key, connection.client_public_key, connection.client_secret_key)
    if any(len(key) != 40 for key in keys):
        raise ConnectionFileError(f"'{path}' has a damaged key; start the backend again")
    return connection
