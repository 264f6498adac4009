"""A job's event numbers: what to deliver, what is a repetition, which gap must be closed. No Blender."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from . import protocol

Verdict = Literal["deliver", "repeated", "gap"]

RETRY_S = 2.0  # after which a gap that is still open is asked for again
ATTEMPTS = 5  # after which the stream goes on behind the gap

_FINAL = (protocol.Done, protocol.Failed, protocol.Cancelled)


@dataclass
class _Track:
    last: int  # number of the last event delivered
    finished: bool = False
    asked_at: float | None = None  # when the missing events were last asked for
    attempts: int = 0


@dataclass
class EventOrder:
    """Keeps every job's events in order and complete.

    The server numbers a job's kept events from 1 and repeats them from any number on (Attach).
    """

    _tracks: dict[str, _Track] = field(default_factory=dict)

    def track(self, job: str, after: int, now: float) -> None:
        """The events of ``job`` from ``after + 1`` on were asked for just now."""
        self._tracks[job] = _Track(last=after, asked_at=now)

    def expect(self, job: str) -> None:
        """A job was accepted: follow it from its first event on, unless it is followed already."""
        self._tracks.setdefault(job, _Track(last=0))

    def judge(self, event: protocol.JobEvent) -> Verdict:
        """What to do with ``event``; one that is delivered counts as seen."""
        if isinstance(event, protocol.Forgotten):
            self._tracks.pop(event.job, None)
            return "deliver"
        track = self._tracks.setdefault(event.job, _Track(last=0))
        if isinstance(event, protocol.StageProgress):
            if event.number == track.last:
                return "deliver"
            return "repeated" if event.number < track.last else "gap"
        if event.number <= track.last:
            return "repeated"
        if event.number > track.last + 1 and track.attempts < ATTEMPTS:
            return "gap"
        track.last = event.number
        track.asked_at, track.attempts = None, 0
        track.finished = isinstance(event, _FINAL)
        return "deliver"

    def ask(self, job: str, now: float) -> int | None:
        """The ``after`` to attach with when the gap of ``job`` must be asked for now, else None."""
        track = self._tracks[job]
        if track.asked_at is not None and now - track.asked_at < RETRY_S:
            return None
        track.asked_at = now
        track.attempts += 1
        return track.last

    def attached(self, info: protocol.JobInfo) -> None:
        """The server answered an Attach: a job that ended elsewhere without an event is closed."""
        track = self._tracks.get(info.job)
        if track is not None and info.state == "interrupted":
            track.finished, track.asked_at = True, None
        elif track is not None and info.state in ("queued", "running"):
            track.asked_at = None  # nothing is owed; a gap that remains shows itself with the next event

    def overdue(self, now: float) -> list[str]:
        """Jobs whose missing events were asked for and have not come."""
        return [
            job
            for job, track in self._tracks.items()
            if track.asked_at is not None and now - track.asked_at >= RETRY_S and track.attempts < ATTEMPTS
        ]

    def unfinished(self) -> list[tuple[str, int]]:
        """Jobs to attach to on a new connection, each with the number of its last event seen."""
        return [(job, track.last) for job, track in self._tracks.items() if not track.finished]

    def drop(self, job: str) -> int:
        """Stop following ``job``; returns the number of its last event seen."""
        track = self._tracks.pop(job, None)
        return track.last if track else 0
