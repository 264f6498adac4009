"""CURVE key pairs and the files that carry them: the server's own, clients' public keys, connection files."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq

from backend import __version__
from backend.errors import BadInput, Missing
from backend.server.data_folder import DataFolder
from blender_addon.connection import Connection
from blender_addon.protocol import PROTOCOL

PUBLIC_SUFFIX = ".pub"  # a client's public key: one line of Z85 text
SERVER_NAME = f"likeness {__version__}"

_Z85_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_CLIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class KeyPair:
    """Z85 text, 40 characters each."""

    public: str
    secret: str


def new_key_pair() -> KeyPair:
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode("ascii"), secret.decode("ascii"))


def is_public_key(text: str) -> bool:
    """Whether ``text`` is a key in Z85."""
    return _Z85_KEY.fullmatch(text) is not None


def server_keys(data: DataFolder) -> KeyPair:
    """The server's own pair, made once: connection files handed to artists stay valid. Raises: Missing."""
    path = data.keys / "server.json"
    try:
        if not path.exists():
            pair = new_key_pair()
            write_private(path, msgspec.json.encode({"public": pair.public, "secret": pair.secret}))
        kept = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        pair = KeyPair(kept["public"], kept["secret"])
        if zmq.curve_public(pair.secret.encode("ascii")).decode("ascii") != pair.public:
            raise ValueError("the two keys do not belong together")
    except OSError as error:
        raise Missing(f"the server's keys '{path}' cannot be used ({error.strerror or error})") from error
    except (msgspec.MsgspecError, KeyError, ValueError, zmq.ZMQError) as error:
        raise Missing(
            f"the server's keys '{path}' are damaged; remove the file (connection files that were handed "
            "out must then be made again)"
        ) from error
    return pair


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 in one step. Raises: OSError; nothing half-written stays."""
    handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)  # mkstemp: 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_connection(
    path: Path, *, commands: str, events: str, server_public: str, client: KeyPair, pid: int | None
) -> None:
    """Write a connection file. Raises: OSError."""
    connection = Connection(
        protocol=PROTOCOL,
        server=SERVER_NAME,
        pid=pid,
        commands=commands,
        events=events,
        server_public_key=server_public,
        client_public_key=client.public,
        client_secret_key=client.secret,
    )
    write_private(path, msgspec.json.format(msgspec.json.encode(connection), indent=2) + b"\n")


def remote_endpoints(address: str) -> tuple[str, str]:
    """The command and event endpoints of ``tcp://HOST:PORT``: events use the next port. Raises: BadInput."""
    match = re.fullmatch(r"tcp://(\S+):(\d{1,5})", address)
    port = int(match[2]) if match else 0
    if not match or not 1 <= port <= 65534:
        raise BadInput(f"'{address}' is not an address; write tcp://HOST:PORT with a port of 1 to 65534")
    return f"tcp://{match[1]}:{port}", f"tcp://{match[1]}:{port + 1}"


def make_client(data: DataFolder, folder: Path, name: str, address: str) -> tuple[Path, Path]:
    """Make a key pair for the artist ``name``: the public key to authorize, the connection file to hand over.

    ``address`` is where the artist's machine reaches the server. Returns both paths.
    Raises: BadInput, Missing.
    """
    if not _CLIENT_NAME.fullmatch(name):
        raise BadInput(f"'{name}' cannot be a client's name; use letters, digits, '-', '_' and '.'")
    commands, events = remote_endpoints(address)
    public, connection = folder / f"{name}{PUBLIC_SUFFIX}", folder / f"{name}.connection.json"
    for path in (public, connection):
        if path.exists():
            raise BadInput(f"'{path}' is there already; remove it to give '{name}' a new key")
    keys, server = new_key_pair(), server_keys(data)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_connection(
            connection, commands=commands, events=events, server_public=server.public, client=keys, pid=None
        )
        write_private(public, keys.public.encode("ascii") + b"\n")
    except OSError as error:
        raise Missing(f"'{folder}' cannot be written ({error.strerror}); choose another folder") from error
    return public, connection
