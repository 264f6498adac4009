"""Frames in and out of the two ROUTER sockets: limits, who sent them, what to do with unreadable ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import zmq

from backend.server.limits import FloodGuard
from blender_addon.protocol import (
    MAGIC,
    MAX_FRAMES,
    MAX_HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    PROTOCOL,
    Buffer,
    Event,
    Failure,
    Goodbye,
    Problem,
    ProtocolError,
    Reply,
    Request,
    decode_request,
    encode,
)

logger = logging.getLogger(__name__)

_OWN_IDENTITY_BYTES = 5  # what ROUTER gives to a connection: a zero byte and a number


@dataclass(frozen=True)
class Received:
    """A message with its sender."""

    identity: bytes
    owner: str
    frames: list[Buffer]


class _Envelope(msgspec.Struct):
    """What any version's request has; other fields are passed over."""

    type: str
    id: int = 0
    protocol: int | None = None


_envelope_decoder = msgspec.msgpack.Decoder(_Envelope)


class Port:
    """One ROUTER socket. Nothing that a peer sends raises out of here."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self._flood = FloodGuard(logger)

    def receive(self) -> Received | None:
        """The next message that is within the limits; None when none waits. Never blocks."""
        while True:
            try:
                first = self.socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return None
            kept: list[zmq.Frame] = [first]
            count = total = 0
            last = first
            while last.more:
                last = self.socket.recv(copy=False)
                count += 1
                total += last.buffer.nbytes
                if count <= MAX_FRAMES and total <= MAX_MESSAGE_BYTES:
                    kept.append(last)
            received = self._checked(kept, count, total)
            if received is not None:
                return received

    def _checked(self, kept: list[zmq.Frame], count: int, total: int) -> Received | None:
        identity = kept[0].bytes
        if count > MAX_FRAMES or total > MAX_MESSAGE_BYTES:
            self._flood.warning("a message of %d frames and %d bytes was refused", count, total)
            return None
        if not count or len(identity) != _OWN_IDENTITY_BYTES or identity[0] != 0:
            # A name that a client chose for itself could be another's: replies might go astray.
            self._flood.warning("a message from a client with a routing id of its own was refused")
            return None
        try:
            owner = str(kept[-1].get("User-Id"))  # type: ignore[arg-type]
        except zmq.ZMQError:
            self._flood.warning("a message without an authenticated sender was refused")
            return None
        return Received(identity, owner, [frame.buffer for frame in kept[1:]])

    def decode(self, received: Received) -> tuple[Request, list[Buffer]] | Failure:
        """The request, or the Failure to answer with."""
        try:
            return decode_request(received.frames)
        except ProtocolError as error:
            self._flood.warning("a message was refused: %s", str(error)[:200])
            envelope = _envelope_of(received.frames)
            if envelope is not None and envelope.protocol not in (None, PROTOCOL):
                problem = version_problem(envelope.protocol or 0)
            else:
                problem = Problem(code="protocol", message=f"the message was refused: {str(error)[:300]}")
            return Failure(id=envelope.id if envelope else 0, problem=problem)

    def send(self, identity: bytes, message: Reply | Event | Goodbye, bulk: Sequence[Buffer] = ()) -> bool:
        """Send without waiting. False when the client is gone or leaves too much unread."""
        try:
            frames = encode(message, bulk)
        except ProtocolError:
            logger.exception("a message to a client is over the limits")
            problem = Problem(code="bug", message="the backend's answer is too large to be sent")
            frames = encode(Failure(id=getattr(message, "id", 0), problem=problem))
        try:
            self.socket.send_multipart([identity, *frames], zmq.NOBLOCK, copy=False)
        except (zmq.Again, zmq.ZMQError) as error:
            self._flood.warning("a message to a client was dropped (%s)", error)
            return False
        return True


def version_problem(protocol: int) -> Problem:
    """What a client of another protocol version is told."""
    side = "the backend" if protocol > PROTOCOL else "the add-on (or this client)"
    return Problem(
        code="protocol",
        message=f"this client speaks protocol {protocol}, the backend {PROTOCOL}; update {side}",
    )


def _envelope_of(frames: Sequence[Buffer]) -> _Envelope | None:
    if len(frames) < 2 or bytes(frames[0][:3]) != MAGIC[:3] or len(frames[1]) > MAX_HEADER_BYTES:
        return None
    try:
        envelope = _envelope_decoder.decode(frames[1])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    # Only Hello says a version; another message with a field of that name is just wrong.
    return envelope if envelope.type == "hello" else msgspec.structs.replace(envelope, protocol=None)
