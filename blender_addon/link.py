"""The two CURVE sockets of one connection, with what ZeroMQ knows of their fate. No Blender.

Belongs to one thread. A link never reconnects by itself: when either socket is gone, so is the link.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from . import protocol
from .connection import Connection
from .zeromq import recv_monitor_message, zmq

_BACKLOG = 20_000  # messages that may wait in a socket before more are dropped

_ENDS = {
    zmq.Event.CLOSED: "nothing listens there",
    zmq.Event.DISCONNECTED: "the connection was cut",
    zmq.Event.HANDSHAKE_FAILED_AUTH: "it does not accept this client's key",
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL: "it does not speak this protocol",
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL: "its key is not the one in the connection file",
}


@dataclass(frozen=True)
class Ended:
    """The link is of no use any more; ``reason`` completes "the backend cannot be reached: …"."""

    reason: str
    refused: bool  # the other side answers, but not to us


@dataclass(frozen=True)
class Message:
    source: Literal["commands", "events"]
    frames: list[memoryview]


class Link:
    """Raises: zmq.ZMQError or ValueError when ``connection`` names no usable endpoint or key."""

    def __init__(self, context: zmq.Context[Any], connection: Connection, wake: socket.socket) -> None:
        self._sockets: list[zmq.Socket[Any]] = []
        self._wake = wake
        self._poller = zmq.Poller()
        self._poller.register(wake.fileno(), zmq.POLLIN)
        try:
            self._commands, self._commands_fate = self._open(context, connection, connection.commands)
            self._events, self._events_fate = self._open(context, connection, connection.events)
        except BaseException:
            self.close()
            raise

    def _open(
        self, context: zmq.Context[Any], connection: Connection, endpoint: str
    ) -> tuple[zmq.Socket[Any], zmq.Socket[Any]]:
        opened = context.socket(zmq.DEALER)
        self._sockets.append(opened)
        opened.linger = 0
        opened.reconnect_ivl = -1
        opened.sndhwm = opened.rcvhwm = _BACKLOG
        opened.maxmsgsize = protocol.MAX_FRAME_BYTES
        opened.ipv6 = True
        opened.curve_serverkey = connection.server_public_key.encode()
        opened.curve_publickey = connection.client_public_key.encode()
        opened.curve_secretkey = connection.client_secret_key.encode()
        fate = opened.get_monitor_socket(sum(_ENDS))
        fate.linger = 0
        opened.connect(endpoint)
        self._poller.register(opened, zmq.POLLIN)
        self._poller.register(fate, zmq.POLLIN)
        return opened, fate

    def send_command(self, frames: Sequence[protocol.Buffer]) -> None:
        self._commands.send_multipart(frames, flags=zmq.NOBLOCK, copy=False)

    def send_event(self, frames: Sequence[protocol.Buffer]) -> None:
        self._events.send_multipart(frames, flags=zmq.NOBLOCK)

    def receive(self, timeout_s: float) -> Iterator[Message | Ended]:
        """What arrives within ``timeout_s``, or nothing; returns early when the wake socket has a byte.

        Messages that were received before the end come before it.
        """
        ready = dict(self._poller.poll(max(0, int(timeout_s * 1000))))
        if self._wake.fileno() in ready:
            self._wake.recv(4096)
        if self._commands in ready:
            yield from self._messages(self._commands, "commands")
        if self._events in ready:
            yield from self._messages(self._events, "events")
        for fate in (self._commands_fate, self._events_fate):
            if fate in ready:
                event = zmq.Event(recv_monitor_message(fate)["event"])
                refused = event not in (zmq.Event.CLOSED, zmq.Event.DISCONNECTED)
                yield Ended(_ENDS[event], refused)

    @staticmethod
    def _messages(source: zmq.Socket[Any], name: Literal["commands", "events"]) -> Iterator[Message]:
        for _ in range(256):  # so that a flood on one socket does not starve the other
            try:
                frames = source.recv_multipart(flags=zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            yield Message(name, [frame.buffer for frame in frames])

    def close(self) -> None:
        for opened in self._sockets:
            opened.disable_monitor()
            opened.close(linger=0)
        self._sockets.clear()
