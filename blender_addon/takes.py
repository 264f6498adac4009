"""Keyframes that the backend made, put on their heads: on the ticker, or at once where there is no window."""

from __future__ import annotations

from typing import Any

import bpy

from . import waiting
from .drive_file import DriveFileError, read_drive
from .operators.base import Refusal
from .runtime import Runtime, Take
from .scene.drive import Placed, Placing, apply_take
from .view import Notice, sentence


def apply_next(current: Runtime, scene: Any) -> str | None:
    """Put the take that waits longest on its head; the undo step's name, None where nothing came of it."""
    take = current.takes.pop(0)
    try:
        fit_timeline(scene, _applied(take, scene))
    except (DriveFileError, LookupError) as error:
        current.view.notice = Notice(sentence(str(error)))
        current.view.touch()
        return None
    current.view.touch()
    return f"Drive by {take.name}"


def wait_for_take(current: Runtime) -> None:
    """Without a window: wait until the video is solved, and put it on its head. Raises: Refusal."""
    if current.view.backend.state != "ready":
        waiting.until_ready(current)
    before = set(current.heads)
    waiting.until(current, lambda: bool(set(current.heads) - before) or bool(current.takes))
    own = set(current.heads) - before

    def ended() -> bool:
        known = [current.view.jobs.get(job) for job in own]
        return bool(current.takes) or all(job is not None and not job.is_active for job in known)

    waiting.until(current, ended)
    if not current.takes:
        problem = next((current.view.jobs[job].problem for job in own), None)
        raise Refusal(problem.message if problem is not None else "The video was not solved")
    take = current.takes.pop(0)
    try:
        fit_timeline(bpy.context.scene, _applied(take, bpy.context.scene))
    except DriveFileError as error:
        raise Refusal(str(error)) from error


def fit_timeline(scene: Any, placed: Placed) -> None:
    """Let the scene last as long as the take, where it is shorter."""
    scene.frame_start = min(scene.frame_start, placed.first_frame)
    scene.frame_end = max(scene.frame_end, placed.last_frame)


def _applied(take: Take, scene: Any) -> Placed:
    return apply_take(take.head, read_drive(take.file), Placing(start_frame=scene.frame_start), scene)
