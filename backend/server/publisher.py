"""Events to the clients that listen."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from backend.server.sessions import Session, Sessions
from backend.server.wire import Port
from blender_addon.protocol import Event, Goodbye, StageProgress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publisher:
    """Sends events to sessions; one that does not take them ends, so that its client attaches anew."""

    port: Port
    sessions: Sessions

    def publish(self, owner: str, event: Event, preview: bytes | None) -> None:
        """Send an event to every session of ``owner``."""
        for session in self.sessions.listeners(owner):
            self.send(session, event, preview)

    def send(self, session: Session, event: Event, preview: bytes | None) -> None:
        """Send an event to one session, if it listens."""
        if session.events_identity is None:
            return
        sent = self.port.send(session.events_identity, event, () if preview is None else (preview,))
        if not sent and not isinstance(event, StageProgress):
            # It would miss something: its next request is answered with "say hello", then it attaches.
            logger.warning("%r does not take its events; its session ends", session.client)
            self.sessions.close(session)

    def goodbye(self, reason: str) -> None:
        """Tell every listener that the server stops."""
        for session in self.sessions.listeners():
            if session.events_identity is not None:
                self.port.send(session.events_identity, Goodbye(reason=reason))
