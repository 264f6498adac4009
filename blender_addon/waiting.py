"""Operators without a window wait: Blender's timers never fire there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from . import heads
from .checks import Check
from .importer import ImportFailed
from .operators.base import Refusal
from .protocol import Options
from .runtime import Runtime
from .view import JobView

PAUSE_SECONDS = 0.02
DRAIN_SECONDS = 0.1


def until(current: Runtime, condition: Callable[[], bool]) -> None:
    """Take news in until ``condition`` holds. A message for the artist ends it. Raises: Refusal."""
    while not condition():
        current.drain(time.perf_counter() + DRAIN_SECONDS)
        if current.view.notice is not None:
            text, current.view.notice = current.view.notice.text, None
            raise Refusal(text)
        time.sleep(PAUSE_SECONDS)


def until_ready(current: Runtime) -> None:
    """Wait for the backend. Raises: Refusal when it is not installed or cannot be had."""
    backend = current.view.backend

    def settled() -> bool:
        return backend.state in ("ready", "absent", "failed", "stopped")

    until(current, settled)
    if backend.state == "absent":
        raise Refusal("The backend is not installed; run bpy.ops.likeness.install_backend() first")
    if backend.state != "ready":
        raise Refusal(backend.message or "The backend does not start; run bpy.ops.likeness.doctor()")


def until_installed(current: Runtime) -> None:
    """Wait for the end of an installation or removal. Raises: Refusal when it failed."""
    until(current, lambda: not current.control.busy)
    if current.control.environment.problem is not None:
        raise Refusal(current.control.environment.problem)


def until_checked(current: Runtime) -> list[Check]:
    """Wait for the doctor; returns its lines."""
    backend = current.view.backend
    until(current, lambda: not backend.checking)
    return backend.checks


def reconstruct(current: Runtime, photos: list[Path], options: Options) -> list[JobView]:
    """Reconstruct ``photos`` and import their heads; the jobs. Raises: Refusal with the first problem."""
    current.drain(time.perf_counter() + DRAIN_SECONDS)
    if current.view.backend.state != "ready":
        if current.view.backend.state != "absent":
            current.start_backend()
        until_ready(current)
    before = set(current.heads)
    for photo in photos:
        current.submit_photo(photo, options)
    until(current, lambda: len(set(current.heads) - before) == len(photos))
    own = [job for job in current.heads if job not in before]

    def ended() -> bool:
        known = [current.view.jobs.get(job) for job in own]
        alive = current.view.backend.state
        if alive in ("failed", "stopped"):
            raise Refusal(current.view.backend.message or "The backend stopped")
        return all(job is not None and not job.is_active for job in known)

    until(current, ended)
    jobs = [current.view.jobs[job] for job in own]
    for job in jobs:
        if job.state != "done":
            reason = job.problem.message if job.problem is not None else f"it was {job.state}"
            raise Refusal(f"{job.name}: {reason}")
    until(current, lambda: all(job.directory is not None for job in jobs))
    import_all(current)
    return jobs


def import_all(current: Runtime) -> None:
    """Do every waiting import now. Raises: what the builders raise."""
    while current.imports:
        try:
            finished = current.imports.advance()
        except ImportFailed as failure:
            raise (failure.__cause__ or failure) from None
        if finished is not None:
            heads.note_job(finished.uuid, finished.job)
