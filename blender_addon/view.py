"""What the panels show, as plain data, and how the server's events change it. No Blender.

Data flows one way: events and replies come in through the functions here, panels only read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from . import protocol
from .checks import Check
from .protocol import JobInfo, JobState, Options, Problem

BackendState = Literal[
    "absent",  # not installed
    "installing",
    "removing",
    "stopped",
    "starting",
    "ready",
    "stopping",
    "lost",  # was ready and does not answer; the supervisor or the client tries again
    "failed",  # ``message`` says why and what to do
]

# What an artist reads while a stage works; a stage that is not named here shows its own name.
STAGE_LABELS = {
    "photo": "Reading the photo",
    "observation": "Finding the face",
    "head fit": "Fitting the head",
    "partial UV": "Unwrapping the photo",
    "complete UV": "Filling in unseen skin",
    "even-lit UV": "Taking the light off the skin",
    "description": "Describing the face",
    "delivered head": "Laying the head over the result",
    "materials": "Making the skin maps",
    "splats": "Growing splats and hair",
    "faces": "Following the face",
    "calibration": "Trying out the head's expressions",
    "expression": "Solving the expressions",
    "preview": "Rendering the preview",
    "export": "Saving the avatar",
    "blender": "Saving the avatar",
}
PRESETS: tuple[tuple[str, str, int], ...] = (
    ("PREVIEW", "Preview", 512),
    ("STANDARD", "Standard", 2048),
    ("FULL", "4K", 4096),
)


@dataclass
class JobView:
    """One reconstruction as the panels show it."""

    job: str  # UUID
    name: str
    state: JobState
    options: Options = field(default_factory=Options)
    photo_sha256: str = ""
    stage: str | None = None
    stage_index: int = 0
    stage_count: int = 0
    fraction: float = 0.0
    position: int = 0
    parent: str | None = None
    problem: Problem | None = None
    directory: Path | None = None  # the avatar folder on this machine, once it is whole
    warnings: tuple[str, ...] = ()
    submitted_s: float = 0.0
    finished_s: float | None = None
    preview: bytes | None = None  # PNG or JPEG of the last stage that showed one
    preview_number: int = 0
    seen: int = 0  # number of the last event, for Attach
    cached_stages: int = 0
    dismissed: bool = False  # its problem was read
    info: JobInfo | None = None  # as the server told it last

    @property
    def is_take(self) -> bool:
        """Whether this is a video that drives a head, not a reconstruction."""
        return self.info is not None and self.info.avatar is not None

    @property
    def is_active(self) -> bool:
        return self.state in ("queued", "running")


@dataclass
class BackendView:
    """The backend as the panels show it."""

    state: BackendState = "stopped"
    message: str = ""  # one line: why it failed, what it waits for
    remedy: str | None = None
    server: str = ""  # "likeness 0.1.0"
    device: str = ""
    memory_mb: float | None = None  # server and workers together
    worker: str = ""  # state of the workers in a word or two
    last_exit: str | None = None
    cache_bytes: int = 0
    cache_cap_bytes: int = 0
    networked: bool = False
    same_machine: bool = True
    step: str = ""  # of installing or removing
    step_fraction: float | None = None  # of the whole installation, in [0, 1]
    log_line: str = ""
    installed_bytes: int | None = None  # what Uninstall would free, once it was measured
    checks: list[Check] = field(default_factory=list)
    checking: bool = False

    @property
    def left_this_machine(self) -> bool:
        """Whether photos may go, or have gone, elsewhere."""
        return not self.same_machine or self.networked


@dataclass(frozen=True)
class Notice:
    """One sentence for the artist with the button that helps."""

    text: str
    remedy: str | None = None
    job: str | None = None


@dataclass
class View:
    """Everything that the panels read. ``revision`` grows with every visible change."""

    backend: BackendView = field(default_factory=BackendView)
    jobs: dict[str, JobView] = field(default_factory=dict)
    notice: Notice | None = None
    revision: int = 0

    def touch(self) -> None:
        self.revision += 1

    def queue(self) -> list[JobView]:
        """Running first, then queued by place."""
        active = [job for job in self.jobs.values() if job.is_active]
        return sorted(active, key=lambda j: (j.state != "running", j.position, j.submitted_s))

    def history(self) -> list[JobView]:
        """Finished jobs, the newest first."""
        ended = [job for job in self.jobs.values() if not job.is_active]
        return sorted(ended, key=lambda j: j.finished_s or j.submitted_s, reverse=True)


@dataclass(frozen=True)
class Arrived:
    """Something of a job's result can be imported now."""

    job: str
    complete: bool
    files: tuple[protocol.FileRef, ...]
    info: JobInfo | None = None

    @property
    def folder(self) -> Path | None:
        """The avatar folder, if it lies on this machine."""
        if self.info is not None and self.info.directory is not None:
            return Path(self.info.directory)
        for file in self.files:
            if file.path is not None:
                return Path(file.path).parents[file.name.count("/")]
        return None


def stage_label(stage: str | None) -> str:
    """What an artist reads for the stage called ``stage``."""
    if not stage:
        return "Starting"
    return STAGE_LABELS.get(stage, stage[:1].upper() + stage[1:])


def preset_label(maps: int) -> str:
    """The preset of ``maps`` texels a side, or the number itself."""
    return next((label for _, label, size in PRESETS if size == maps), f"{maps} px")


def sentence(text: str) -> str:
    """``text`` with a capital letter: the backend's lines begin with small ones."""
    return text[:1].upper() + text[1:]


def size_label(count: int) -> str:
    """Bytes as an artist reads them."""
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1e6:.0f} MB" if count < 1_000_000_000 else f"{count / 1e9:.1f} GB"


def apply_info(view: View, info: JobInfo) -> JobView:
    """Take a journal line over into the view."""
    job = view.jobs.get(info.job)
    if job is None:
        job = view.jobs[info.job] = JobView(info.job, info.photo_name, info.state)
    job.name, job.state, job.options = info.photo_name, info.state, info.options
    job.photo_sha256, job.fraction, job.position = info.photo_sha256, info.fraction, info.position
    job.stage, job.parent, job.problem = info.stage or job.stage, info.parent, info.problem
    job.submitted_s, job.finished_s, job.warnings = info.submitted_s, info.finished_s, info.warnings
    job.info = info
    if job.is_active:
        job.dismissed = False
    if info.directory is not None and info.state == "done":
        job.directory = Path(info.directory)
    view.touch()
    return job


def apply_state(view: View, state: protocol.State, known_before: Collection[str] = ()) -> None:
    """Take the server's account over: workers, memory, cache, jobs.

    Events may have overtaken it: a job that ended stays ended, and only jobs of ``known_before`` (known
    when it was asked for) that the server no longer has vanish.
    """
    backend = view.backend
    backend.server, backend.networked = state.server, state.networked
    backend.cache_bytes, backend.cache_cap_bytes = state.cache_bytes, state.cache_cap_bytes
    backend.device = ", ".join(dict.fromkeys(w.device for w in state.workers))
    backend.worker = ", ".join(w.state for w in state.workers)
    backend.last_exit = next((w.last_exit for w in state.workers if w.last_exit), None)
    known = [m for m in (state.rss_mb, *(w.rss_mb for w in state.workers)) if m is not None]
    backend.memory_mb = sum(known) if known else None
    listed = {info.job for info in state.jobs}
    for job in [job for job in known_before if job not in listed]:
        view.jobs.pop(job, None)
    for info in state.jobs:
        shown = view.jobs.get(info.job)
        if shown is not None and not shown.is_active and info.state in ("queued", "running"):
            continue
        fraction = shown.fraction if shown is not None and shown.is_active else 0.0
        job_view = apply_info(view, info)
        job_view.fraction = max(job_view.fraction, fraction)
    view.touch()


def apply_event(view: View, event: protocol.Event, bulk: Sequence[bytes]) -> Arrived | None:
    """Change ``view`` by one event; tells when something can be imported.

    An event of a job that the view does not know is its first sight of it (another window's, or one
    submitted before Blender was started); only ``Queued`` and the final ones bring enough to show it.
    """
    if isinstance(event, protocol.Listening):
        return None
    if isinstance(event, protocol.Goodbye):
        view.backend.state, view.backend.message = "stopped", event.reason
        view.touch()
        return None
    if isinstance(event, protocol.Queued | protocol.Done | protocol.Failed | protocol.Cancelled):
        job = apply_info(view, event.info)
        job.seen = max(job.seen, event.number)
        if isinstance(event, protocol.Done):
            job.fraction = 1.0
            return Arrived(event.job, True, event.info.files, event.info)
        return None
    known = view.jobs.get(event.job)
    if known is None:
        return None
    known.seen = max(known.seen, event.number)
    view.touch()
    if isinstance(event, protocol.Forgotten):
        del view.jobs[event.job]
    elif isinstance(event, protocol.Partial):
        return Arrived(event.job, False, event.files)
    elif known.is_active:
        _apply_stage(known, event, bulk)
    return None


def _apply_stage(
    job: JobView,
    event: protocol.StageStarted | protocol.StageProgress | protocol.StageFinished,
    bulk: Sequence[bytes],
) -> None:
    job.state, job.position, job.stage = "running", 0, event.stage
    if isinstance(event, protocol.StageStarted):
        job.stage_index, job.stage_count = event.index, event.count
        job.fraction = max(job.fraction, event.index / max(event.count, 1) if event.index else 0.0)
    elif isinstance(event, protocol.StageProgress):
        job.fraction = max(job.fraction, min(event.job_fraction, 1.0))  # a late one never goes back
    else:
        job.cached_stages += event.cached
    if isinstance(event, protocol.StageStarted) or event.preview_frame is None:
        return
    if event.preview_frame < len(bulk):
        job.preview = bytes(bulk[event.preview_frame])
        job.preview_number += 1
