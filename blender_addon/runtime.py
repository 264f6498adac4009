"""What lives as long as the add-on is switched on, and what can be asked of it. No Blender.

Requests go out through ``Runtime.ask``; their answers, the server's events and the installer's news come
in through ``Runtime.drain``, which the ticker calls on Blender's main thread.
"""

from __future__ import annotations

import logging
import queue
import time
import uuid as uuids
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from . import protocol
from .backend_control import BackendControl
from .checks import Check
from .client import Answer, Client, Connected, NoAnswer, Received, RequestError
from .disk import disk_sentence
from .download import bring_job, bring_part, forget_job, forget_part
from .drive_file import TAKE_NAME
from .environment_control import in_thread
from .importer import HeadImport, ImportQueue
from .pin_edit import PinEdit
from .protocol import Corrections, Options, Pin
from .remedies import remedy_of
from .splat_bake import SplatBake
from .submission import Submission
from .view import Arrived, Notice, View, apply_event, apply_state, sentence

log = logging.getLogger(__name__)

STATE_SECONDS = 5.0  # between two looks at the server's memory and cache
ANSWER_SECONDS = 30.0  # for a reply
KEPT_TICKS = 8192


@dataclass
class _Pending:
    future: Future[Any]
    then: Callable[[Any], None]
    failed: Callable[[Exception], None]


@dataclass(frozen=True)
class Take:
    """Keyframes that a video gave, for a head."""

    head: str  # UUID
    file: Path
    name: str  # of the video


@dataclass
class Runtime:
    """One per registered add-on."""

    control: BackendControl
    imports: ImportQueue
    view: View = field(default_factory=View)
    outbox: list[Submission] = field(default_factory=list)
    heads: dict[str, str] = field(default_factory=dict)  # job: UUID of the head that it makes
    corrected: dict[str, tuple[Pin, ...]] = field(default_factory=dict)  # head: pins placed so far
    edit: PinEdit | None = None
    server: protocol.State | None = None  # as it was told last
    last_slip: str = ""  # our last mistake in a tick, so that it is reported once
    import_note: str = ""  # why an import waits
    drain_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_TICKS))
    import_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_TICKS))
    bake: SplatBake | None = None  # decoded frames on their way
    takes: list[Take] = field(default_factory=list)  # keyframes that wait to be put on their heads
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)  # time.monotonic(), work
    _pending: list[_Pending] = field(default_factory=list)
    _state_asked: float = float("-inf")

    @property
    def client(self) -> Client | None:
        """The connection, while one is wanted."""
        return self.control.client

    # --------------------------------------------------------------------------------- coming in

    def drain(self, deadline: float) -> None:
        """Take in what has arrived until ``time.perf_counter()`` reaches ``deadline``; the rest waits."""
        self.control.poll(self.view)
        for pending in [p for p in self._pending if p.future.done()]:
            self._pending.remove(pending)
            self._settle(pending)
            if time.perf_counter() >= deadline:
                return
        while self.client is not None and time.perf_counter() < deadline:
            try:
                happening = self.client.events.get_nowait()
            except queue.Empty:
                break
            if isinstance(happening, Connected):
                self._connected(happening.welcome)
            elif isinstance(happening, Received):  # Lost is seen by ``control.poll``
                arrived = apply_event(self.view, happening.event, happening.bulk)
                if arrived is not None:
                    self._arrived(arrived)
                elif isinstance(happening.event, protocol.Forgotten):
                    forget_job(self.control.downloads, happening.event.job)
        if self.view.backend.state == "ready" and time.monotonic() - self._state_asked > STATE_SECONDS:
            self.refresh()

    def _connected(self, welcome: protocol.Welcome) -> None:
        backend = self.view.backend
        backend.server, backend.same_machine = welcome.server, welcome.same_machine
        self.view.touch()
        self.refresh()
        waiting, self.outbox = self.outbox, []
        for submission in waiting:
            self._send(submission)

    def _settle(self, pending: _Pending) -> None:
        try:
            answer = pending.future.result()
        except (RequestError, OSError) as error:
            pending.failed(error)
        else:
            pending.then(answer)
        self.view.touch()

    def _arrived(self, arrived: Arrived) -> None:
        head = self.heads.get(arrived.job)
        if head is None:
            return  # another window's; it waits in the history
        directory = arrived.folder
        if directory is not None:
            self._take_in(head, arrived.job, directory, arrived.complete)
        elif arrived.complete:
            self._download(arrived.job)
        else:
            self._download_part(arrived)

    def _take_in(self, head: str, job: str, folder: Path, complete: bool) -> None:
        """Let a result in ``folder`` into the scene: a head is built, a take is put on its head."""
        known = self.view.jobs.get(job)
        if known is not None and known.is_take:
            self.takes.append(Take(head, folder / TAKE_NAME, known.name))
            self.view.touch()
        else:
            self.imports.want(HeadImport(head, job, folder, complete))

    def _download(self, job: str) -> None:
        """Bring a finished job's folder from another machine, then import it."""
        known, client = self.view.jobs.get(job), self.client
        if client is None or known is None or known.info is None:
            return
        info = known.info
        future = in_thread(lambda: bring_job(client, info, self.control.downloads))

        def arrived(folder: Path) -> None:
            known.directory = folder
            if job in self.heads:
                self._take_in(self.heads[job], job, folder, True)

        self._pending.append(_Pending(future, arrived, self._told_failure))

    def _download_part(self, part: Arrived) -> None:
        """Bring what is new of a growing folder. One that fails is left for the finished folder."""
        client = self.client
        if client is None:
            return
        downloads = self.control.downloads

        def arrived(folder: Path) -> None:
            known = self.view.jobs.get(part.job)
            if known is None or not known.is_active:
                forget_part(downloads, part.job)
            elif part.job in self.heads:
                self.imports.want(HeadImport(self.heads[part.job], part.job, folder, False))

        future = in_thread(lambda: bring_part(client, part.job, part.files, downloads))
        self._pending.append(_Pending(future, arrived, lambda error: log.info("partial result: %s", error)))

    # --------------------------------------------------------------------------------- going out

    def ask(
        self,
        message: protocol.Request,
        then: Callable[[Answer], None],
        bulk: Sequence[bytes] = (),
        failed: Callable[[Exception], None] | None = None,
        timeout_s: float = ANSWER_SECONDS,
    ) -> None:
        """Send a request; ``then`` or ``failed`` is called on a later tick."""
        if self.client is None:
            self.view.notice = Notice("The backend is not running", "start")
            self.view.touch()
            return
        future = self.client.request(message, bulk, timeout_s)
        self._pending.append(_Pending(future, then, failed or self._told_failure))

    def _told_failure(self, error: Exception) -> None:
        if isinstance(error, NoAnswer) and self.view.backend.state in ("stopping", "stopped", "absent"):
            return  # the artist stopped it
        if isinstance(error, RequestError):
            self.view.notice = Notice(sentence(error.problem.message), remedy_of(error.problem))
        elif isinstance(error, OSError):
            self.view.notice = Notice(disk_sentence(error))
        else:
            self.view.notice = Notice(sentence(str(error)), "log")
        self.view.touch()

    def refresh(self) -> None:
        """Ask for workers, memory, cache and jobs."""
        self._state_asked = time.monotonic()
        known = set(self.view.jobs)

        def take(answer: Answer) -> None:
            if isinstance(answer.reply, protocol.State):
                self.server = answer.reply
                apply_state(self.view, answer.reply, known)

        self.ask(protocol.List(id=0), take, failed=lambda error: None)  # asked again soon

    def submit_photo(self, photo: Path, options: Options) -> None:
        """Reconstruct a photo; starts the backend first when it is not running. Raises: OSError."""
        self._submit(photo, photo.stem, options)

    def drive_video(self, head: str, avatar: str, video: Path, face: int | None) -> None:
        """Let ``video`` drive the head ``head``, whose ``avatar`` is a job or a folder of this machine."""
        self._submit(video, video.stem, Options(face=face), head=head, avatar=avatar)

    def vary(self, job: str, *, maps: int | None = None, seed: int | None = None) -> None:
        """The photo of ``job`` again with other options, as a new head."""
        known = self.view.jobs[job]
        options = msgspec.structs.replace(
            known.options,
            maps=maps or known.options.maps,
            seed=known.options.seed if seed is None else seed,
        )
        self._submit(None, known.name, options, parent=job)

    def correct(self, head: str, job: str, pins: tuple[Pin, ...], exclude_png: bytes | None) -> None:
        """The photo of ``job`` again with corrections; the result replaces ``head``."""
        known = self.view.jobs[job]
        corrections = Corrections(pins=pins, exclude_frame=None if exclude_png is None else 0)
        bulk = () if exclude_png is None else (exclude_png,)
        self._submit(None, known.name, known.options, corrections, bulk, parent=job, head=head)

    def _submit(
        self,
        photo: Path | None,
        name: str,
        options: Options,
        corrections: Corrections | None = None,
        bulk: tuple[bytes, ...] = (),
        *,
        parent: str | None = None,
        head: str | None = None,
        avatar: str | None = None,
    ) -> None:
        message = protocol.Submit(
            id=0, name=name, options=options, corrections=corrections, parent=parent, avatar=avatar
        )
        submission = Submission(message, bulk, photo, head)
        self.view.notice = None
        if self.view.backend.state == "ready":
            self._send(submission)
        else:
            self.outbox.append(submission)
            self.start_backend()
        self.view.touch()

    def _send(self, submission: Submission) -> None:
        try:
            message, bulk = submission.on_the_wire(same_machine=self.view.backend.same_machine)
        except OSError as error:
            self._told_failure(error)
            return
        self.ask(message, lambda answer: self._accepted(answer, submission), bulk)

    def _accepted(self, answer: Answer, submission: Submission) -> None:
        if isinstance(answer.reply, protocol.Accepted):
            self.heads[answer.reply.job] = submission.head or answer.reply.job
            job = self.view.jobs.get(answer.reply.job)
            if job is None or job.is_active:
                return
            # It was done before its acceptance was read here (everything lay in the cache).
            self.import_job(answer.reply.job)

    def cancel(self, job: str) -> None:
        """Stop a job."""
        self.ask(protocol.Cancel(id=0, job=job), lambda answer: None)

    def rerun(self, job: str) -> None:
        """Run an interrupted, failed or cancelled job again."""
        self.heads.setdefault(job, job)
        self.ask(protocol.Rerun(id=0, job=job), lambda answer: self.refresh())

    def forget(self, photo_sha256: str) -> None:
        """Delete everything that the backend keeps of a photo."""
        self.ask(protocol.Forget(id=0, photo_sha256=photo_sha256), lambda answer: self.refresh())

    def free_memory(self) -> None:
        """Let idle workers drop their models."""
        self.ask(protocol.FreeMemory(id=0), lambda answer: self.refresh())

    def refine(self, now_s: float) -> None:
        """Send the pins being edited when it is their time; the result waits in ``edit.shape``."""
        edit = self.edit
        if edit is not None and edit.board.due(now_s):
            message = protocol.Refine(id=0, job=edit.job, pins=edit.board.send(now_s))
            self.ask(message, lambda answer: edit.take(answer.reply, answer.bulk), failed=edit.failed)

    def import_job(self, job: str, head: str | None = None) -> None:
        """Build the head of a finished job, or build it anew."""
        known = self.view.jobs[job]
        uuid = head or self.heads.setdefault(job, job)
        if known.directory is not None:
            self._take_in(uuid, job, known.directory, True)
        else:
            self.heads[job] = uuid
            self._download(job)

    def import_folder(self, directory: Path) -> str:
        """Build a head from an avatar folder; returns its UUID."""
        uuid = str(uuids.uuid4())
        self.imports.want(HeadImport(uuid, "", directory, True))
        return uuid

    def after(self, seconds: float, work: Callable[[], None]) -> None:
        """Do ``work`` on a tick to come: what needs Blender to have drawn something new before."""
        self.later.append((time.monotonic() + seconds, work))

    def do_later(self) -> None:
        """Do what is due of ``later``."""
        now = time.monotonic()
        due = [work for when, work in self.later if when <= now]
        self.later = [(when, work) for when, work in self.later if when > now]
        for work in due:
            work()

    def dismiss(self, job: str | None = None) -> None:
        """Close the message at the top, or a failed job's."""
        if job is None:
            self.view.notice = None
        elif job in self.view.jobs:
            self.view.jobs[job].dismissed = True
        self.view.touch()

    def file_loaded(self, present: set[str]) -> None:
        """Another file is open that has the heads ``present``; the others' results wait in the history."""
        self.heads = {job: head for job, head in self.heads.items() if head in present}
        for head in [h for h in self.imports.heads() if h not in present]:
            self.imports.forget(head)
        self.imports.restart()
        self.edit = self.bake = None
        self.view.touch()

    def start_backend(self) -> None:
        """Start the backend, or connect to the one elsewhere."""
        self.control.start()
        self.control.poll(self.view)

    def stop_backend(self) -> None:
        """Stop the backend; photos that wait for it are dropped."""
        self.outbox.clear()
        self.control.stop()
        self.control.poll(self.view)

    def restart_backend(self) -> None:
        """Stop the backend and start it again."""
        self.control.restart()
        self.control.poll(self.view)

    def location_changed(self) -> None:
        """The preferences name another backend; its jobs are other ones."""
        self.control.disconnect()
        self.server = None
        self.view.jobs.clear()
        self.view.notice = None
        self.control.poll(self.view)
        self.view.touch()

    def run_checks(self, *, online: bool) -> None:
        """Run the doctor; its lines come into the view later."""
        backend = self.view.backend
        backend.checking = True
        self.view.touch()

        def examined(checks: list[Check]) -> None:
            backend.checks, backend.checking = checks, False

        def failed(error: Exception) -> None:
            backend.checking = False
            self._told_failure(error)

        future = self.control.examine(online=online, server=self.server)
        self._pending.append(_Pending(future, examined, failed))

    def close(self) -> None:
        """End threads and connection; a server of this machine ends when its queue is empty."""
        self.control.close()
        self._pending.clear()


_runtime: Runtime | None = None


def get() -> Runtime:
    """The runtime of the add-on that is switched on."""
    if _runtime is None:
        raise RuntimeError("the add-on is switched off")
    return _runtime


def open_runtime(runtime: Runtime) -> None:
    """Make ``runtime`` the one that ``get`` gives."""
    global _runtime
    _runtime = runtime


def close_runtime() -> None:
    """End it."""
    global _runtime
    if _runtime is not None:
        _runtime.close()
        _runtime = None
