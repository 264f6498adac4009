"""Who may connect: ZeroMQ's authentication protocol (ZAP, RFC 27) over an allow-list of CURVE keys.

Without a ZAP handler, CURVE lets in everybody who knows the server's public key, so one is always bound
before the first socket. It is answered in the server's own loop: no thread that could die unseen.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from backend.server.keys import PUBLIC_SUFFIX, is_public_key
from backend.server.limits import MESSAGES_PER_TURN, FloodGuard

LOCAL = "local"  # the owner of everything that clients on this machine submit
ZAP_DOMAIN = b"likeness"

# What ZeroMQ tells of a peer over ipc: "localhost:uid:gid:pid" on Linux, less or nothing elsewhere.
_IPC_PEER = re.compile(r"(localhost)?(:\d+:\d+:\d+)?")
_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_REREAD_SECONDS = 2.0
_MAX_KEY_FILE_BYTES = 4096

logger = logging.getLogger(__name__)


@dataclass
class AllowList:
    """Keys that may connect: this machine's own, and one file per remote client in ``folder``.

    The folder is looked at again every few seconds: a file put there lets its client in, a file removed
    shuts it out, also where it is connected.
    """

    local_key: str
    folder: Path | None = None
    _remote: dict[str, str] = field(default_factory=dict, init=False)  # public key to client name
    _read_at: float = field(default=float("-inf"), init=False)
    _changed_ns: int = field(default=-1, init=False)  # the folder's time of change at that read

    def refresh(self) -> None:
        """Read the folder again if the last time is long enough ago."""
        if self.folder is not None and time.monotonic() - self._read_at >= _REREAD_SECONDS:
            self._read(self.folder)

    def _read(self, folder: Path) -> None:
        self._read_at, self._changed_ns = time.monotonic(), _changed_ns(folder)
        found = _read_public_keys(folder)
        for key in self._remote.keys() - found.keys():
            logger.info("client '%s' is no longer authorized", self._remote[key])
        self._remote = found

    def owner_of(self, key: str, address: str) -> str | None:
        """The owner name of the client with public ``key``, None when it may not connect.

        This machine's own key is good from this machine only. ``address`` is what ZeroMQ tells of the peer.
        """
        if key == self.local_key:
            return LOCAL if _is_loopback(address) else None
        self.refresh()
        if key not in self._remote and self.folder and _changed_ns(self.folder) != self._changed_ns:
            self._read(self.folder)  # just made: a client that is turned away does not try again
        return key if key in self._remote else None

    def allows(self, owner: str) -> bool:
        """Whether a connected client may still be served."""
        return owner == LOCAL or owner in self._remote

    def name_of(self, owner: str) -> str:
        """For the log."""
        return self._remote.get(owner, owner)


def _is_loopback(address: str) -> bool:
    if _IPC_PEER.fullmatch(address):
        return True
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return -1


def _read_public_keys(folder: Path) -> dict[str, str]:
    keys: dict[str, str] = {}
    try:
        paths = sorted(folder.glob(f"*{PUBLIC_SUFFIX}"))
    except OSError as error:
        logger.error("the folder of authorized clients cannot be read (%s)", error)
        return keys
    for path in paths:
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_KEY_FILE_BYTES).decode("ascii", "replace").strip()
        except OSError as error:
            logger.warning("the public key %s cannot be read (%s)", path.name, error)
            continue
        if is_public_key(text):
            keys[text] = path.stem
        else:
            logger.warning("%s is not a public key of `likeness serve keys`", path.name)
    return keys


class ZapHandler:
    """Answers the authentication requests of this context's sockets."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], allowed: AllowList) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.bind(_ZAP_ENDPOINT)
        self._allowed = allowed
        self._flood = FloodGuard(logger)

    def answer_pending(self) -> None:
        """Answer what waits, never blocking."""
        for _ in range(MESSAGES_PER_TURN):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # Envelope up to the empty frame, then: version, request id, domain, address, routing id,
            # mechanism, credentials.
            split = frames.index(b"") + 1 if b"" in frames else len(frames)
            envelope, request = frames[:split], frames[split:]
            if len(request) < 2:
                self._flood.warning("an authentication request of %d frames was dropped", len(request))
                continue
            status, text, owner = self._judge(request)
            reply = [b"1.0", request[1], status, text, owner, b""]
            self.socket.send_multipart([*envelope, *reply])

    def _judge(self, request: list[bytes]) -> tuple[bytes, bytes, bytes]:
        if len(request) != 7 or request[0] != b"1.0":
            return b"500", b"not understood", b""
        _, _, domain, address, _, mechanism, credential = request
        if mechanism != b"CURVE" or domain != ZAP_DOMAIN or len(credential) != 32:
            return b"400", b"only CURVE", b""
        key = str(z85.encode(credential), "ascii")  # type: ignore[no-untyped-call]
        owner = self._allowed.owner_of(key, address.decode("ascii", "replace"))
        if owner is None:
            self._flood.warning("a client with a key that is not authorized was turned away")
            return b"400", b"this key is not authorized", b""
        return b"200", b"OK", owner.encode("ascii")

    def close(self) -> None:
        self.socket.close()
