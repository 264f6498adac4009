"""Which heads wait to be built in the scene, one short step at a time. No Blender; steps are handed in.

Undo, a file load, edit mode or a render may come between any two steps, so nothing here points at
Blender's data: a head is its UUID and the folder that it is built from, and building is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class HeadImport:
    """A head to build or bring up to date."""

    uuid: str  # of its collection
    job: str  # the job that made the folder; "" for a folder opened by hand
    directory: Path
    complete: bool  # the folder is finished


class ImportFailed(Exception):
    """A finished head cannot be built; ``__cause__`` says why."""

    def __init__(self, head: HeadImport) -> None:
        super().__init__(f"the head of '{head.directory.name}' cannot be imported")
        self.head = head


@dataclass
class ImportQueue:
    """Heads in the order of their first request; a newer state of a head replaces an older one."""

    make_steps: Callable[[HeadImport], Iterator[str]]
    waiting: dict[str, HeadImport] = field(default_factory=dict)
    current: HeadImport | None = None
    last_step: str = ""
    _steps: Iterator[str] | None = None

    def __bool__(self) -> bool:
        return self.current is not None or bool(self.waiting)

    def want(self, head: HeadImport) -> None:
        """Build ``head`` in its turn. A finished folder takes over at once from its unfinished self."""
        held = self.waiting.get(head.uuid)
        if held is not None and held.complete and held.job == head.job and not head.complete:
            return  # an old event that comes late
        self.waiting[head.uuid] = head
        current = self.current
        if current is not None and current.uuid == head.uuid and head.complete and not current.complete:
            self._drop_current()

    def heads(self) -> list[str]:
        """UUIDs of all heads that wait or are at work."""
        own = [] if self.current is None else [self.current.uuid]
        return list(dict.fromkeys(own + list(self.waiting)))

    def forget(self, uuid: str) -> None:
        """Do not build the head ``uuid`` (any more)."""
        self.waiting.pop(uuid, None)
        if self.current is not None and self.current.uuid == uuid:
            self._drop_current()

    def restart(self) -> None:
        """Begin the head at work anew: Blender's data changed under it (undo, file load)."""
        if self.current is not None:
            current = self.current
            self._drop_current()
            self.waiting = {current.uuid: current} | self.waiting

    def advance(self) -> HeadImport | None:
        """Do one step; returns the head whose last step this was.

        Raises: ImportFailed for a finished folder. An unfinished one may move or change while it is
        read; then it is left for its next event.
        """
        if self._steps is None:
            if not self.waiting:
                return None
            self.current = self.waiting.pop(next(iter(self.waiting)))
            self._steps = self.make_steps(self.current)
        head = self.current
        assert head is not None
        try:
            self.last_step = next(self._steps)
        except StopIteration:
            self._steps = self.current = None
            return head
        except Exception as error:
            self._steps = self.current = None
            if head.complete:
                raise ImportFailed(head) from error
            return None
        return None

    def _drop_current(self) -> None:
        close = getattr(self._steps, "close", None)
        if close is not None:
            close()
        self._steps = self.current = None
