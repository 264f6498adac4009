"""Short requests that a worker answers, also while a job runs: refine, drive, decode, free memory."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from backend.server import worker_protocol as worker
from backend.server.limits import MAX_PENDING_REQUESTS
from backend.server.pool import Died, Pool, Worker
from backend.server.problems import Refusal
from blender_addon.protocol import (
    MAX_FRAME_BYTES,
    Buffer,
    Decode,
    Decoded,
    Drive,
    Driven,
    Failure,
    Freed,
    Problem,
    Refine,
    Refined,
    Reply,
)

Answer = Callable[[Reply, Sequence[Buffer]], None]

FREE_SECONDS = 10.0  # a worker that has not answered by then is not waited for

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ask:
    """A request that waits for a worker or is worked on."""

    owner: str
    request: Refine | Drive | Decode
    data: bytes  # weights of Drive, vertices of Decode
    directory: str
    head: str  # Options.head of the job
    answer: Answer

    @property
    def avatar(self) -> str:
        """The job, or the folder of this machine, that is asked about."""
        return self.request.avatar if isinstance(self.request, Decode) else self.request.job

    def fail(self, problem: Problem) -> None:
        self.answer(Failure(id=self.request.id, problem=problem), ())


@dataclass
class _Freeing:
    id: int
    answer: Answer | None  # None: nobody waits for the figure
    outstanding: int
    until: float
    freed: int


@dataclass
class Asks:
    """What waits and what workers are at."""

    pool: Pool
    waiting: list[Ask] = field(default_factory=list, init=False)
    _at_work: dict[str, tuple[int, Ask]] = field(default_factory=dict, init=False)  # by device
    _freeing: list[_Freeing] = field(default_factory=list, init=False)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1), init=False)

    def add(self, ask: Ask) -> None:
        """Queue a request. A newer Refine of the same job takes the place of one that still waits.

        Raises: Refusal when too many wait.
        """
        if isinstance(ask.request, Refine):
            self.drop(
                lambda other: (
                    isinstance(other.request, Refine)
                    and (other.owner, other.avatar) == (ask.owner, ask.avatar)
                ),
                "a newer correction took its place",
            )
        if sum(other.owner == ask.owner for other in self.waiting) >= MAX_PENDING_REQUESTS:
            raise Refusal("refused", "too many requests wait already; wait for their answers")
        self.waiting.append(ask)

    def drop(self, which: Callable[[Ask], bool], reason: str) -> None:
        """Answer waiting requests as cancelled."""
        dropped = [ask for ask in self.waiting if which(ask)]
        self.waiting = [ask for ask in self.waiting if not which(ask)]
        for ask in dropped:
            ask.fail(Problem(code="cancelled", message=reason))

    def dispatch(self, now: float) -> None:
        """Hand waiting requests to workers, one at a time each."""
        while self.waiting and (free := self.pool.worker_for_aside()) is not None:
            ask = self.waiting.pop(0)
            number = next(self._numbers)
            self._at_work[free.device] = (number, ask)
            message: worker.ToWorker
            if isinstance(ask.request, Refine):
                message = worker.RunRefine(
                    request=number, directory=ask.directory, head=ask.head, pins=ask.request.pins
                )
            elif isinstance(ask.request, Decode):
                message = worker.RunDecode(request=number, directory=ask.directory, vertices=ask.data)
            else:
                message = worker.RunDrive(
                    request=number,
                    directory=ask.directory,
                    frames=ask.request.frames,
                    weights=ask.data,
                )
            self.pool.hand_aside(free, message, now)

    def on_message(
        self,
        source: Worker,
        message: worker.RefineDone | worker.DriveDone | worker.DecodeDone | worker.RequestFailed,
        now: float,
    ) -> None:
        """Answer the client whose request this is."""
        number, ask = self._at_work.get(source.device, (None, None))
        if ask is None or number != message.request:
            logger.warning("worker %s answered a request that it was not given", source.device)
            return
        del self._at_work[source.device]
        self.pool.aside_finished(source, now)
        match message:
            case worker.RequestFailed(problem=problem):
                ask.fail(problem)
            case worker.RefineDone():
                reply = Refined(
                    id=ask.request.id,
                    vertices=message.vertices,
                    seconds=message.seconds,
                    landmark_error_px=message.landmark_error_px,
                )
                ask.answer(reply, (message.neutral, message.expressed, message.landmarks))
            case worker.DriveDone(vertices=vertices, data=data):
                if len(data) > MAX_FRAME_BYTES:
                    ask.fail(Problem(code="refused", message="the answer is too large; ask for fewer frames"))
                else:
                    ask.answer(Driven(id=ask.request.id, vertices=vertices), (data,))
            case worker.DecodeDone(splats=splats, data=data):
                ask.answer(Decoded(id=ask.request.id, splats=splats), (data,))

    def on_died(self, source: Worker, died: Died) -> None:
        """The worker ended: its request fails with the reason."""
        _, ask = self._at_work.pop(source.device, (0, None))
        if ask is not None:
            ask.fail(Problem(code="worker_died", message=f"the worker process {died.reason}; try again"))

    def fail_waiting(self, reason: str) -> None:
        """No worker can be had."""
        problem = Problem(
            code="worker_died",
            message=f"no worker process can be started: it {reason}; run the doctor",
        )
        while self.waiting:
            self.waiting.pop(0).fail(problem)

    # ------------------------------------------------------------------------------------ memory

    def free_memory(self, id: int, answer: Answer | None, already: int, now: float) -> None:
        """Let idle workers drop their models; ``answer`` gets Freed with ``already`` added."""
        asked = self.pool.free_memory()
        self._freeing.append(_Freeing(id, answer, asked, now + FREE_SECONDS, already))
        self.tick(now)

    def on_freed(self, message: worker.Freed, now: float) -> None:
        """A worker has dropped its models."""
        pending = next((freeing for freeing in self._freeing if freeing.outstanding), None)
        if pending is not None:
            pending.outstanding -= 1
            pending.freed += message.bytes
        self.tick(now)

    def tick(self, now: float) -> None:
        """Answer what is complete or has waited long enough."""
        for freeing in [f for f in self._freeing if not f.outstanding or now >= f.until]:
            self._freeing.remove(freeing)
            if freeing.answer is not None:
                freeing.answer(Freed(id=freeing.id, freed_bytes=freeing.freed), ())

    def next_deadline(self) -> float | None:
        return min((freeing.until for freeing in self._freeing), default=None)
