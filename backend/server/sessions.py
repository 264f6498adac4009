"""Clients that have said Hello: which event socket is theirs, and when they were last heard."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from backend.server.limits import MAX_SESSIONS, SESSION_SECONDS
from backend.server.problems import Refusal


@dataclass
class Session:
    """One connection of a client."""

    token: str
    owner: str
    identity: bytes  # of its command socket
    client: str  # as it calls itself
    heard_at: float
    events_identity: bytes | None = None  # of its event socket, once it has sent Listen


@dataclass
class Sessions:
    """All sessions, by the identity of the command socket."""

    _by_identity: dict[bytes, Session] = field(default_factory=dict, init=False)

    def open(self, identity: bytes, owner: str, client: str, now: float) -> Session:
        """A new session in place of the connection's old one. Raises: Refusal when there are too many."""
        own = sum(session.owner == owner for session in self._by_identity.values())
        if identity not in self._by_identity and own >= MAX_SESSIONS:
            raise Refusal("refused", f"{MAX_SESSIONS} clients use this key already; close some")
        session = Session(secrets.token_hex(16), owner, identity, client, now)
        self._by_identity[identity] = session
        return session

    def heard(self, identity: bytes, owner: str, now: float) -> Session | None:
        """The session of this connection, None when it has not said Hello."""
        session = self._by_identity.get(identity)
        if session is None or session.owner != owner:
            return None
        session.heard_at = now
        return session

    def listen(self, token: str, owner: str, identity: bytes) -> bool:
        """Send this session's events to ``identity`` from now on. False where there is no such session."""
        for session in self._by_identity.values():
            if secrets.compare_digest(session.token.encode(), token.encode()) and session.owner == owner:
                session.events_identity = identity
                return True
        return False

    def listeners(self, owner: str | None = None) -> list[Session]:
        """Sessions that take events, of ``owner`` or of all."""
        return [
            session
            for session in self._by_identity.values()
            if session.events_identity is not None and owner in (None, session.owner)
        ]

    def close(self, session: Session) -> None:
        self._by_identity.pop(session.identity, None)

    def expire(self, now: float) -> list[Session]:
        """End sessions that were not heard for SESSION_SECONDS."""
        gone = [s for s in self._by_identity.values() if now - s.heard_at > SESSION_SECONDS]
        for session in gone:
            self.close(session)
        return gone

    def owners(self) -> set[str]:
        return {session.owner for session in self._by_identity.values()}

    def close_owner(self, owner: str) -> None:
        """End all sessions of a client that may not connect any more."""
        for session in [s for s in self._by_identity.values() if s.owner == owner]:
            self.close(session)

    def last_heard(self) -> float:
        """When any client was heard last; minus infinity when there is none."""
        return max((s.heard_at for s in self._by_identity.values()), default=float("-inf"))

    def __len__(self) -> int:
        return len(self._by_identity)
