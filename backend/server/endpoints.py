"""The two server sockets and where they are bound."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import zmq

from backend.errors import Missing
from backend.server.auth import ZAP_DOMAIN
from backend.server.data_folder import DataFolder
from backend.server.keys import KeyPair, remote_endpoints
from backend.server.limits import EVENT_QUEUE, RECEIVE_QUEUE, REPLY_QUEUE
from blender_addon.protocol import MAX_FRAME_BYTES

_IPC_PATH_LIMIT = 100  # bytes; macOS allows 103, Linux 107


@dataclass(frozen=True)
class Endpoints:
    """Where the sockets listen for clients on this machine; ``folder`` goes when the server stops."""

    commands: str
    events: str
    folder: Path | None


def make_socket(context: zmq.Context[zmq.Socket[bytes]], keys: KeyPair, send_queue: int) -> zmq.Socket[bytes]:
    """A ROUTER that speaks CURVE only, with the limits of this server."""
    socket = context.socket(zmq.ROUTER)
    socket.curve_server = True
    socket.curve_publickey = keys.public.encode("ascii")
    socket.curve_secretkey = keys.secret.encode("ascii")
    socket.zap_domain = ZAP_DOMAIN
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a client that is gone or does not read is told apart
    socket.setsockopt(zmq.HANDSHAKE_IVL, 10_000)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 10_000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 60_000)
    socket.rcvhwm = RECEIVE_QUEUE
    socket.sndhwm = send_queue
    socket.linger = 1000
    return socket


def make_sockets(
    context: zmq.Context[zmq.Socket[bytes]], keys: KeyPair
) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """The command and the event socket."""
    return make_socket(context, keys, REPLY_QUEUE), make_socket(context, keys, EVENT_QUEUE)


def bind_local(
    commands: zmq.Socket[bytes], events: zmq.Socket[bytes], data: DataFolder, *, ipc: bool | None = None
) -> Endpoints:
    """Bind both sockets for this machine: ipc in a private folder, or a free port of 127.0.0.1.

    ``ipc`` None: where the platform has it. Raises: Missing.
    """
    if ipc is None:
        ipc = sys.platform != "win32" and zmq.has("ipc")
    try:
        if not ipc:
            names = []
            for socket in (commands, events):
                socket.bind("tcp://127.0.0.1:*")
                names.append(socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"))
            return Endpoints(names[0], names[1], None)
        folder = _socket_folder(data)
        names = [f"ipc://{folder / name}" for name in ("commands", "events")]
        for socket, name in zip((commands, events), names, strict=True):
            socket.bind(name)
        return Endpoints(names[0], names[1], folder)
    except (zmq.ZMQError, OSError) as error:
        raise Missing(f"no socket can be made on this machine ({error}); check its permissions") from error


def bind_remote(commands: zmq.Socket[bytes], events: zmq.Socket[bytes], address: str) -> None:
    """Bind both sockets for other machines; events use the next port. Raises: BadInput, Missing."""
    for socket, endpoint in zip((commands, events), remote_endpoints(address), strict=True):
        socket.ipv6 = "[" in endpoint
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE:
                raise Missing(
                    f"the port of {endpoint} is taken by another program; "
                    "stop that one, or give another port with --bind"
                ) from error
            raise Missing(
                f"{endpoint} cannot be bound ({error}); give an address of this machine with --bind"
            ) from error


def _socket_folder(data: DataFolder) -> Path:
    """A private folder with a short path. Its name follows from the data folder, so that a server that
    was killed leaves nothing that the next one does not take over."""
    name = f"likeness-{hashlib.sha256(os.fsencode(data.root)).hexdigest()[:12]}"
    places = [Path(os.environ.get("XDG_RUNTIME_DIR", "")), Path(tempfile.gettempdir()), Path("/tmp")]
    for place in places:
        folder = place / name
        if not place.is_absolute() or not place.is_dir() or len(os.fsencode(folder)) > _IPC_PATH_LIMIT - 10:
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
        except OSError:  # not ours to write; the next place
            continue
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
            folder.chmod(0o700)
            return folder
    raise Missing("there is no private folder for the server's sockets; set XDG_RUNTIME_DIR to one")
