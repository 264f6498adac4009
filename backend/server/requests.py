"""What each request does. Replies at once, or later where a worker has to answer first."""

from __future__ import annotations

import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from backend.server import storage
from backend.server.asks import Answer, Ask, Asks
from backend.server.auth import LOCAL
from backend.server.data_folder import DataFolder, is_sha256
from backend.server.forget import Forgetting
from backend.server.jobs import Jobs
from backend.server.journal import Record
from backend.server.keys import SERVER_NAME
from backend.server.limits import MAX_NAME_CHARACTERS
from backend.server.pool import Pool
from backend.server.problems import Refusal, storage_problem
from blender_addon.protocol import (
    CHUNK_BYTES,
    MAX_HEADER_BYTES,
    Accepted,
    Attach,
    Buffer,
    Cancel,
    Chunk,
    Decode,
    Drive,
    Event,
    Failure,
    Fetch,
    Forget,
    FreeMemory,
    Job,
    JobInfo,
    List,
    Ok,
    Options,
    Ping,
    Refine,
    Request,
    Rerun,
    Shutdown,
    State,
    Submit,
)

_CACHE_SIZE_SECONDS = 2.0  # how long a measured size of the data folder is good


@dataclass(frozen=True)
class Caller:
    """Who asks, and how to reach this one client."""

    owner: str
    answer: Answer
    send_event: Callable[[Event, bytes | None], None]

    @property
    def local(self) -> bool:
        return self.owner == LOCAL


@dataclass
class Desk:
    """Carries out requests of clients that have said Hello."""

    data: DataFolder
    jobs: Jobs
    asks: Asks
    forgetting: Forgetting
    pool: Pool
    networked: bool
    cache_cap_bytes: int
    stop: Callable[[str], None]
    started_at: float  # monotonic
    _kept_bytes: int = 0
    _measured_at: float = float("-inf")

    def handle(self, caller: Caller, request: Request, bulk: Sequence[Buffer]) -> None:
        """Carry out ``request``; whatever goes wrong becomes a Failure."""
        id = getattr(request, "id", 0)
        try:
            self._carry_out(caller, request, bulk)
        except Refusal as refusal:
            caller.answer(Failure(id=id, problem=refusal.problem), ())
        except (OSError, sqlite3.Error) as error:
            problem = storage_problem(error, show_paths=caller.local)
            caller.answer(Failure(id=id, problem=problem), ())

    def _carry_out(self, caller: Caller, request: Request, bulk: Sequence[Buffer]) -> None:
        now = time.monotonic()
        id = getattr(request, "id", 0)
        match request:
            case Ping():
                caller.answer(Ok(id=id), ())
            case Submit():
                record = self._submit(caller, request, bulk)
                caller.answer(Accepted(id=id, job=record.job, photo_sha256=record.photo_sha256), ())
            case Cancel(job=job):
                self.jobs.cancel(self.jobs.find(caller.owner, job), now)
                caller.answer(Ok(id=id), ())
            case Rerun(job=job):
                record = self.jobs.find(caller.owner, job)
                self.jobs.rerun(record)
                caller.answer(Accepted(id=id, job=job, photo_sha256=record.photo_sha256), ())
            case List():
                caller.answer(self._state(caller, id, now), ())
            case Attach(job=job, after=after):
                record = self.jobs.find(caller.owner, job)
                kept = list(self.jobs.kept_events(record, after))
                caller.answer(Job(id=id, info=self.jobs.info(record)), ())
                for event, preview in kept:
                    caller.send_event(event, preview)
            case Fetch():
                self._fetch(caller, request)
            case Refine() | Drive():
                self._ask(caller, request, bulk)
            case Decode():
                self._ask_frame(caller, request, bulk)
            case FreeMemory():
                self.asks.free_memory(id, caller.answer, 0, now)
            case Forget(photo_sha256=sha256):
                if not is_sha256(sha256):
                    raise Refusal("refused", "photo_sha256 is not a SHA-256 in lower-case hexadecimal")
                self.forgetting.add(caller.owner, request, caller.answer, now)
            case Shutdown():
                if not caller.local:
                    raise Refusal("refused", "only a client on the server's machine can stop it")
                caller.answer(Ok(id=id), ())
                self.stop("a client stopped the backend")
            case _:
                raise Refusal("refused", "this request does not belong on the command socket")

    # ------------------------------------------------------------------------------------ submit

    def _submit(self, caller: Caller, request: Submit, bulk: Sequence[Buffer]) -> Record:
        _check_options(caller, request.options)
        if request.avatar is not None and (request.corrections is not None or request.parent is not None):
            raise Refusal("refused", "a video that drives an avatar has neither corrections nor a parent")
        self.jobs.check_room(caller.owner)
        parent = self.jobs.find(caller.owner, request.parent) if request.parent is not None else None
        corrections = request.corrections
        frames = [request.photo_frame]
        mask: Buffer | None = None
        if corrections is not None and corrections.exclude_frame is not None:
            mask = _frame(bulk, corrections.exclude_frame)
            frames.append(corrections.exclude_frame)
        if len(bulk) != sum(frame is not None for frame in frames) or len(set(frames)) != len(frames):
            raise Refusal("refused", "the bulk frames are not those that the header names")
        avatar = None if request.avatar is None else self._avatar(caller, request.avatar)
        photo = self._keep_photo(caller, request, bulk, parent)
        try:
            mask_sha256 = None
            if mask is not None:
                mask_sha256 = storage.sha256_of(mask)
                storage.keep_bytes(self.data.exclude_mask(photo, mask_sha256), mask)
            record = Record(
                job=str(uuid.uuid4()),
                owner=caller.owner,
                state="queued",
                photo_name=_clean_name(request.name),
                photo_sha256=photo,
                options=request.options,
                pins=corrections.pins if corrections is not None else (),
                mask_sha256=mask_sha256,
                submitted_s=time.time(),
                parent=request.parent,
                avatar=avatar,
            )
            self.jobs.submit(record)
        except BaseException:
            if not any(other.photo_sha256 == photo for other in self.jobs.records.values()):
                storage.forget_photo(self.data, photo)
            raise
        return record

    def _avatar(self, caller: Caller, avatar: str) -> str:
        """``avatar`` if it is this caller's: a folder of this machine, or a finished job. Raises: Refusal."""
        if caller.local and Path(avatar).is_absolute():
            if not Path(avatar, "avatar.json").is_file():
                raise Refusal("bad_input", f"'{avatar[:200]}' is no avatar folder; choose another")
            return avatar
        record = self.jobs.find(caller.owner, avatar)
        if record.state != "done" or record.avatar is not None:
            raise Refusal("refused", "only the avatar of a finished reconstruction can be driven")
        return record.job

    def _keep_photo(
        self, caller: Caller, request: Submit, bulk: Sequence[Buffer], parent: Record | None
    ) -> str:
        if request.path is not None and request.photo_frame is not None:
            raise Refusal("refused", "give the photo's path or its bytes, not both")
        if request.photo_frame is not None:
            photo = _frame(bulk, request.photo_frame)
            sha256 = storage.sha256_of(photo)
            storage.keep_bytes(self.data.photo(sha256), photo)
            return sha256
        if request.path is not None:
            if not caller.local:
                raise Refusal("refused", "this server is on another machine; send the photo's bytes")
            path = Path(request.path)
            if not path.is_absolute():
                raise Refusal("bad_input", f"'{request.path[:200]}' is not an absolute path")
            return storage.keep_file(self.data, path)
        if parent is None:
            raise Refusal("refused", "there is no photo: give its path, its bytes, or a parent job")
        if not self.data.photo(parent.photo_sha256).exists():
            raise Refusal("missing", "the parent's photo is not kept any more; choose the photo again")
        return parent.photo_sha256

    # ------------------------------------------------------------------------------------ results

    def _fetch(self, caller: Caller, request: Fetch) -> None:
        record = self.jobs.find(caller.owner, request.job)
        # Only names that the server itself announced: no path can lead out of the job's folder.
        if request.name not in self.jobs.files(record):
            raise Refusal("missing", f"this job has no file '{request.name[:200]}'; list its files again")
        done = record.state == "done"
        folder = self.data.job(record.job) if done else self.data.partial(record.job)
        piece, total = storage.read_chunk(folder / request.name, request.offset, CHUNK_BYTES, whole=done)
        caller.answer(Chunk(id=request.id, offset=request.offset, total_bytes=total), (piece,))

    def _ask(self, caller: Caller, request: Refine | Drive, bulk: Sequence[Buffer]) -> None:
        record = self.jobs.find(caller.owner, request.job)
        if record.state != "done":
            raise Refusal("refused", f"this job is {record.state}; only a finished one can be posed")
        weights = b""
        if isinstance(request, Drive):
            weights = bytes(_frame(bulk, 0))
            if request.frames < 1 or not weights or len(weights) % (4 * request.frames):
                raise Refusal("refused", "bulk frame 0 is not float32 (frames, expressions)")
        self.asks.add(
            Ask(
                caller.owner,
                request,
                weights,
                str(self.data.job(record.job)),
                record.options.head,
                caller.answer,
            )
        )

    def _ask_frame(self, caller: Caller, request: Decode, bulk: Sequence[Buffer]) -> None:
        avatar = self._avatar(caller, request.avatar)
        directory = avatar if Path(avatar).is_absolute() else str(self.data.job(avatar))
        vertices = bytes(_frame(bulk, 0))
        if not vertices or len(vertices) % 12:
            raise Refusal("refused", "bulk frame 0 is not float32 (vertices, 3)")
        self.asks.add(Ask(caller.owner, request, vertices, directory, "", caller.answer))

    def _state(self, caller: Caller, id: int, now: float) -> State:
        if now - self._measured_at > _CACHE_SIZE_SECONDS:
            self._kept_bytes, self._measured_at = storage.kept_bytes(self.data), now
        return State(
            id=id,
            server=SERVER_NAME,
            uptime_s=now - self.started_at,
            rss_mb=_resident_mb(),
            cache_bytes=self._kept_bytes,
            cache_cap_bytes=self.cache_cap_bytes,
            workers=self.pool.infos(lambda job: self._owns(caller.owner, job)),
            jobs=_fitting([self.jobs.info(record) for record in self.jobs.of_owner(caller.owner)]),
            networked=self.networked,
        )

    def _owns(self, owner: str, job: str) -> bool:
        record = self.jobs.records.get(job)
        return record is not None and record.owner == owner


def _fitting(infos: list[JobInfo]) -> tuple[JobInfo, ...]:
    """As many as a header holds: where room gets short, first without their files, then the oldest not."""
    room = MAX_HEADER_BYTES - 65536  # for the rest of State
    kept: list[JobInfo] = []
    for info in infos:
        if room < MAX_HEADER_BYTES // 2:
            info = msgspec.structs.replace(info, files=())
        room -= len(msgspec.msgpack.encode(info))
        if room < 0:
            break
        kept.append(info)
    return tuple(kept)


def _frame(bulk: Sequence[Buffer], index: int) -> Buffer:
    if not 0 <= index < len(bulk):
        raise Refusal("refused", f"bulk frame {index} is missing")
    return bulk[index]


def _check_options(caller: Caller, options: Options) -> None:
    if max(len(options.engine), len(options.head)) > 4096:
        raise Refusal("bad_input", "the engine or head has too long a name")
    if not caller.local and ":" in options.head:
        raise Refusal(
            "refused", "a head given by its path lies on the server's machine; from here use 'open'"
        )


def _clean_name(name: str) -> str:
    """A display name without folders and control characters; it never becomes a path."""
    kept = "".join(" " if not c.isprintable() or c in "/\\" else c for c in name).strip()
    return kept[:MAX_NAME_CHARACTERS] or "photo"


def _resident_mb() -> float | None:
    """This process's resident memory in MiB, where the system tells it."""
    if not sys.platform.startswith("linux"):
        return None
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
