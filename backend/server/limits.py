"""The server's own limits beside those of ``blender_addon.protocol``, and a log that cannot be flooded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_PHOTO_BYTES = 1 << 30  # of a file given by path; over the wire a frame's limit holds
MAX_QUEUED_JOBS = 1000  # per owner
MAX_PENDING_REQUESTS = 64  # per owner: refine, drive and decode that wait for a worker
MAX_SESSIONS = 64  # per owner
MAX_NAME_CHARACTERS = 200

RECEIVE_QUEUE = 16  # messages that ZeroMQ holds per client before it stops reading from it
REPLY_QUEUE = 64  # replies that a client may leave unread
EVENT_QUEUE = 2000  # events that a client may leave unread
MESSAGES_PER_TURN = 64  # of one socket, before the others have their turn

SESSION_SECONDS = 120.0  # a client not heard for so long is gone
QUIET_SECONDS = 30.0  # without any client, after every parent process is gone: then the server stops


@dataclass
class FloodGuard:
    """Logs at most ``burst`` lines per ``period_s`` and then how many were left out."""

    logger: logging.Logger
    burst: int = 10
    period_s: float = 10.0
    clock: Callable[[], float] = time.monotonic
    _since: float = field(default=float("-inf"), init=False)
    _count: int = field(default=0, init=False)

    def warning(self, message: str, *arguments: object) -> None:
        """Log like ``Logger.warning``, or count."""
        now = self.clock()
        if now - self._since >= self.period_s:
            if self._count > self.burst:
                self.logger.warning("%d more lines like the above were left out", self._count - self.burst)
            self._since, self._count = now, 0
        self._count += 1
        if self._count <= self.burst:
            self.logger.warning(message, *arguments)
