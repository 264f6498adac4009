"""Forgetting a photograph: its bytes, cached stages, results and journal rows. It is biometric data."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass, field

from backend.server import storage
from backend.server.asks import Answer, Asks
from backend.server.data_folder import DataFolder
from backend.server.jobs import Jobs
from backend.server.journal import Record
from backend.server.problems import storage_problem
from blender_addon.protocol import Failure, Forget

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Wish:
    owner: str
    request: Forget
    answer: Answer


@dataclass
class Forgetting:
    """Wishes to forget that wait until no job of the photograph runs any more."""

    data: DataFolder
    jobs: Jobs
    asks: Asks
    _wishes: list[_Wish] = field(default_factory=list, init=False)

    def add(self, owner: str, request: Forget, answer: Answer, now: float) -> None:
        """Cancel what runs of the photograph; ``tick`` deletes it once that has stopped."""
        self._wishes.append(_Wish(owner, request, answer))
        self.tick(now)

    def tick(self, now: float) -> None:
        """Carry out the wishes whose jobs have ended."""
        for wish in list(self._wishes):
            own = self._jobs_of(wish)
            running = [record for record in own if record.state == "running"]
            for record in running:
                self.jobs.cancel(record, now)
            if not running:
                self._wishes.remove(wish)
                self._carry_out(wish, own, now)

    def _jobs_of(self, wish: _Wish) -> list[Record]:
        photo = wish.request.photo_sha256
        return [record for record in self.jobs.of_owner(wish.owner) if record.photo_sha256 == photo]

    def _carry_out(self, wish: _Wish, own: list[Record], now: float) -> None:
        names = {record.job for record in own}
        self.asks.drop(lambda ask: ask.avatar in names, "its photo is being forgotten")
        photo = wish.request.photo_sha256
        try:
            freed = self.jobs.remove(own)
            # Another client's jobs of the same photograph are its own to forget.
            if not any(record.photo_sha256 == photo for record in self.jobs.records.values()):
                freed += storage.forget_photo(self.data, photo)
        except (OSError, sqlite3.Error) as error:
            problem = storage_problem(error, show_paths=False)
            logger.error("forgetting failed: %s", error)
            wish.answer(Failure(id=wish.request.id, problem=problem), ())
            return
        self.asks.pool.forget_photos()  # what they hold in memory goes too
        self.asks.free_memory(wish.request.id, wish.answer, freed, now)
